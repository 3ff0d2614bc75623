"""MSR-VTT: the whole test split with all captions, and the 1k-A part with one caption each."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coca_cli.datasets.example import Dataset, Example, Protocol
from coca_cli.datasets.image_folder import check_split, find_beside, locate, missing
from coca_cli.datasets.video_files import find_videos
from coca_cli.errors import BadExample
from coca_cli.json_text import parse_json

NAMES = ("msrvtt", "msr-vtt", "msr_vtt")
SPLITS = {"test": ("test",), "val": ("validate", "val"), "train": ("train",)}
"""What the annotation files call each split."""
_KNOWN = tuple(name for names in SPLITS.values() for name in names)
TEST_1K_A = "test-1k-a"
CAPTIONS = ("MSRVTT_data.json", "test_videodatainfo.json", "train_val_videodatainfo.json")
LIST_1K_A = "MSRVTT_JSFUSION_test.csv"
PLACES = ("", "annotation", "annotations", "msrvtt_data", "train_val_annotation")
LAYOUT = """\
msrvtt/MSRVTT_data.json      (or test_videodatainfo.json, train_val_videodatainfo.json; here or in annotation/)
msrvtt/MSRVTT_JSFUSION_test.csv      (for 1k-a)
msrvtt/videos/video7010.mp4 ...      (or in videos/all/, MSRVTT/videos/all/, TestVideo/, or right here)"""


def _read(root: Path, split: str) -> Iterator[Example]:
    check_split("msrvtt", split, (*SPLITS, TEST_1K_A))
    folder = locate(root, NAMES, _fits, LAYOUT)
    if not _fits(folder) and _fits(root):  # the archive of clips alone has an MSRVTT/ too
        folder = root
    captions = _read_1k_a(folder) if split == TEST_1K_A else _read_part(folder, split)
    videos = find_videos(folder, list(captions), LAYOUT)
    for video, texts in captions.items():
        yield Example(id=video, media=(videos[video],), texts=tuple(texts))


def _fits(folder: Path) -> bool:
    return any(find_beside(folder, PLACES, name) for name in (*CAPTIONS, LIST_1K_A))


def _read_1k_a(folder: Path) -> dict[str, list[str]]:
    path = find_beside(folder, PLACES, LIST_1K_A)
    if path is None:
        raise missing(f"{folder} has no {LIST_1K_A}, the list of 1k-a", LAYOUT)
    found: dict[str, list[str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file, strict=True):
                video, sentence = ((row.get(key) or "").strip() for key in ("video_id", "sentence"))
                if not video or not sentence:
                    raise BadExample(f"{path}: each line needs a video_id and a sentence, found {str(dict(row))[:80]}")
                if video in found:
                    raise BadExample(f"{path} lists {video:.60} twice: in 1k-a each video has one sentence")
                found[video] = [sentence]
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadExample(f"{path} is no table in UTF-8 ({error}): fetch it again") from error
    except OSError as error:
        raise missing(f"cannot read {path}: {error.strerror}", LAYOUT) from error
    if not found:
        raise BadExample(f"{path} lists no video: fetch it again")
    return found


def _read_part(folder: Path, split: str) -> dict[str, list[str]]:
    """Captions by video, in the order of the first annotation file that has videos of the split."""
    paths = [path for name in CAPTIONS if (path := find_beside(folder, PLACES, name))]
    if not paths:
        raise missing(f"{folder} has none of {', '.join(CAPTIONS)}", LAYOUT)
    for path in paths:
        found = _captions_in(path, SPLITS[split])
        bare = [video for video, texts in found.items() if not texts]
        if bare:
            raise BadExample(f"{path} has no caption for {len(bare):,} videos such as {bare[0]:.60}: fetch it again")
        if found:
            return found
    raise missing(f"no video of the split {split} is named in {', '.join(map(str, paths))}", LAYOUT)


def _captions_in(path: Path, splits: tuple[str, ...]) -> dict[str, list[str]]:
    content = _load(path)
    seen: set[str] = set()
    found: dict[str, list[str]] = {}
    for number, video in enumerate(content["videos"]):
        place = f"{path}, videos[{number}]"
        name = _word(place, video, "video_id")
        if name in seen:
            raise BadExample(f"{place} is {name:.60} once more: each video must be listed once")
        seen.add(name)
        split = _word(place, video, "split")
        if split not in _KNOWN:
            raise BadExample(
                f"{place} is of the split {split!r:.60}, none of {', '.join(_KNOWN)}: fetch the file again"
            )
        if split in splits:
            found[name] = []
    for number, sentence in enumerate(content["sentences"]):
        place = f"{path}, sentences[{number}]"
        name, caption = _word(place, sentence, "video_id"), _word(place, sentence, "caption")
        if name in found and caption:
            found[name].append(caption)
    return found


def _load(path: Path) -> dict[str, list[Any]]:
    try:
        content = parse_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise missing(f"cannot read {path}: {error.strerror}", LAYOUT) from error
    except ValueError as error:
        raise BadExample(f"{path} holds no JSON in UTF-8 ({error}): fetch it again") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in ("videos", "sentences")):
        raise BadExample(
            f'{path} is not the annotation file of MSR-VTT: it has no lists "videos" and "sentences"; fetch it again'
        )
    return content


def _word(place: str, record: Any, key: str) -> str:
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, str):
        raise BadExample(f"{place} has no text {key!r} ({str(record)[:80]}): fetch the file again")
    return value.strip()


MSRVTT = Dataset(
    name="msrvtt",
    task="captions",
    media="video",
    splits=(*SPLITS, TEST_1K_A),
    source="Xu et al. 2016; 1k-A: Yu et al. 2018",
    licence="see source",
    layout=LAYOUT,
    read=_read,
    protocols=(Protocol("full", "test"), Protocol("1k-a", TEST_1K_A)),
)
