"""MSVD, the Microsoft Video Description corpus, with the test split of 670 clips that papers share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from coca_cli.datasets.example import Dataset, Example, Protocol
from coca_cli.datasets.image_folder import check_split, find_beside, locate, missing
from coca_cli.datasets.video_files import find_videos, is_video
from coca_cli.errors import BadExample

SPLITS = ("test", "val", "train")
CAPTIONS = "AllVideoDescriptions.txt"
PLACES = ("", "msvd_data", "annotation", "annotations")
LAYOUT = """\
msvd/AllVideoDescriptions.txt      (CLIP CAPTION on each line; # begins a remark; here or in msvd_data/)
msvd/test_list.txt, val_list.txt, train_list.txt      (one CLIP a line; here or in msvd_data/)
msvd/YouTubeClips/CLIP.avi      (or in videos/, or right here)"""


def _read(root: Path, split: str) -> Iterator[Example]:
    check_split("msvd", split, SPLITS)
    folder = locate(root, ("msvd",), lambda place: find_beside(place, PLACES, CAPTIONS) is not None, LAYOUT)
    captions = _captions_of(folder, _clips_in(_find(folder, f"{split}_list.txt")))
    videos = find_videos(folder, list(captions), LAYOUT)
    for clip, texts in captions.items():
        yield Example(id=clip, media=(videos[clip],), texts=tuple(texts))


def _clips_in(path: Path) -> list[str]:
    """The names in a list, without the endings that some copies of it have."""
    clips: list[str] = []
    for line in _lines(path):
        name, dot, ending = line.rpartition(".")
        clips.append(name if is_video(dot + ending) else line)
    if not clips:
        raise BadExample(f"{path} lists no clip: write one name a line, or fetch it again")
    if len(set(clips)) != len(clips):
        twice = next(clip for number, clip in enumerate(clips) if clip in clips[:number])
        raise BadExample(f"{path} lists the clip {twice} twice: drop one of the lines")
    return clips


def _captions_of(folder: Path, clips: list[str]) -> dict[str, list[str]]:
    path = _find(folder, CAPTIONS)
    captions: dict[str, list[str]] = {clip: [] for clip in clips}
    for line in _lines(path):
        clip, *caption = line.split(maxsplit=1)
        if clip in captions:
            captions[clip] += caption
    bare = [clip for clip, texts in captions.items() if not texts]
    if bare:
        raise BadExample(f"{path} has no caption for {len(bare):,} clips such as {bare[0]}: fetch the file again")
    return captions


def _find(folder: Path, name: str) -> Path:
    path = find_beside(folder, PLACES, name)
    if path is None:
        raise missing(f"{folder} has no {name}", LAYOUT)
    return path


def _lines(path: Path) -> list[str]:
    """The lines with something on them but for remarks, ended by line breaks only."""
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise missing(f"cannot read {path}: {error.strerror}", LAYOUT) from error
    texts = (_decode(line).strip() for line in lines)
    return [text for text in texts if text and not text.startswith("#")]


def _decode(line: bytes) -> str:
    # Copies of the captions mix encodings: what is not UTF-8 was typed on Windows, mostly curly apostrophes.
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace")


MSVD = Dataset(
    name="msvd",
    task="captions",
    media="video",
    splits=SPLITS,
    source="Chen and Dolan 2011, https://www.cs.utexas.edu/~ml/clamp/videoDescription",
    licence="see source",
    layout=LAYOUT,
    read=_read,
    protocols=(Protocol("670", "test"),),
)
