"""The user's own captioned pictures and clips: `captions:FILE` and `videos:FILE`.

The clips of a table can have classes too, in a column of their own; `videos:FOLDER` has one folder per class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from coca_cli.datasets.action_prompts import KINETICS_TEMPLATES
from coca_cli.datasets.caption_json import PICTURE_FOLDERS, TRAIN_SPLITS, present_splits, read_captioned
from coca_cli.datasets.example import Dataset, Example, MediaKind, Prompts, Scheme
from coca_cli.datasets.folder import CLIP_TREE, SPLIT_NAMES, open_folder
from coca_cli.datasets.image_folder import check_split, is_there
from coca_cli.datasets.pairs import (
    CAPTION_COLUMNS,
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    SPLIT_COLUMNS,
    VIDEO_COLUMNS,
    find_table_columns,
    holds_pictures,
    read_table,
    read_video_table,
    splits_of_clips,
    video_classes,
)
from coca_cli.datasets.tables import TABLE_SUFFIXES
from coca_cli.datasets.video_files import FOLDERS, video_folders
from coca_cli.errors import CocaError, MissingFile

EVALUATED = ("test", "val")
"""Of a file with splits, the first of these that is there is evaluated."""
TRAIN = "train"
ALL = "all"
PICTURES_LAYOUT = f"""\
FILE.csv, .tsv, .jsonl, .parquet  (columns {IMAGE_COLUMNS[0]}, {CAPTION_COLUMNS[0]}; several lines may name a picture)
or FILE.json                      (as COCO or Karpathy write it)
the pictures where FILE says, as seen from its folder, or in {PICTURE_FOLDERS[0]}/ beside it"""
CLIPS_LAYOUT = f"""\
FILE.csv, .tsv, .jsonl, .parquet  (columns {VIDEO_COLUMNS[0]}, {CAPTION_COLUMNS[0]}, {LABEL_COLUMNS[0]}; or one \
of the last two; {SPLIT_COLUMNS[0]}, if you like; several lines may name a clip)
the clips where FILE says, as seen from its folder, or in {FOLDERS[0]}/ or clips/ beside it
or FOLDER/CLASS/*.mp4, FOLDER/SPLIT/CLASS/*.mp4"""


class _Table(NamedTuple):
    path: Path
    noun: str
    read: Callable[[Path], Iterator[Example]]
    folders: Callable[[Path], Sequence[Path]]  # where the files may lie that are not where the table says
    layout: str


def open_captions(name: str) -> Dataset:
    """The pictures of a caption file or a table.

    Raises:
        MissingFile: There is no such file.
        BadExample: A caption file cannot be read.
        CocaError: The table has the pictures in it.
    """
    path = Path(name).expanduser()
    if path.suffix.lower() == ".json" and path.is_file():
        return _dataset(f"captions:{name}", "image", _splits(path), PICTURES_LAYOUT, partial(_read_json, path))
    _check(path, PICTURES_LAYOUT)
    if holds_pictures(path):
        raise CocaError(
            f"{path} has its pictures in it, which cannot be read one by one: make shards of it with `coca data pack` "
            "and give wds:FOLDER"
        )
    table = _Table(path, "pictures", read_table, _picture_folders, PICTURES_LAYOUT)
    return _dataset(f"captions:{name}", "image", (ALL,), PICTURES_LAYOUT, partial(_read_table, table))


def open_videos(name: str) -> Dataset:
    """The clips of a table, with captions, classes or both; or of a folder with a folder per class.

    Raises:
        MissingFile: There is no such file.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return open_folder(name, CLIP_TREE)
    _check(path, CLIPS_LAYOUT)
    table = _Table(path, "clips", read_video_table, partial(video_folders, layout=CLIPS_LAYOUT), CLIPS_LAYOUT)
    splits = splits_of_clips(path)
    present = set(splits.values())
    order = (*SPLIT_NAMES, *sorted(present.difference(SPLIT_NAMES)))
    chosen = tuple(split for split in order if split in present) or (ALL,)
    dataset = _dataset(f"videos:{name}", "video", chosen, CLIPS_LAYOUT, partial(_read_part, table, splits))
    if "labels" not in find_table_columns(path):
        return dataset
    return replace(dataset, prompts=lambda root: Prompts(video_classes(path), KINETICS_TEMPLATES))


def _dataset(
    name: str, media: MediaKind, splits: tuple[str, ...], layout: str, read: Callable[[str], Iterator[Example]]
) -> Dataset:
    def read_split(root: Path, split: str) -> Iterator[Example]:
        check_split(name, split, splits)
        return read(split)

    return Dataset(
        name=name,
        task="captions",
        media=media,
        splits=splits,
        source="the user's own",
        licence="see source",
        layout=layout,
        read=read_split,
    )


def _splits(path: Path) -> tuple[str, ...]:
    """The file's splits, Karpathy's parts for training as one; the one that is evaluated first, training last."""
    present = present_splits(path)
    kept = [split for split in present if split not in TRAIN_SPLITS]
    first = [split for split in EVALUATED if split in kept]
    train = [TRAIN] if len(kept) < len(present) else []
    return (*first, *(split for split in kept if split not in first), *train) or (ALL,)


def _check(path: Path, layout: str) -> None:
    if not path.is_file() or path.suffix.lower() not in TABLE_SUFFIXES:
        problem = "a file of another kind" if path.exists() else "nothing"
        raise MissingFile(f"{problem} lies at {path}, not captions that can be read. Give\n{layout}")


def _picture_folders(folder: Path) -> list[Path]:
    return [folder / name for name in PICTURE_FOLDERS]


def _read_json(path: Path, split: str) -> Iterator[Example]:
    return read_captioned(path, {ALL: None, TRAIN: TRAIN_SPLITS}.get(split, (split,)))


def _read_table(table: _Table, split: str) -> Iterator[Example]:
    """All examples of the table; files that are nowhere keep the place that the table gives."""
    here = table.path.parent
    folders = table.folders(here)
    placed: list[Example] = []
    present = 0
    for example in table.read(table.path):
        (file,) = example.media
        assert isinstance(file, Path)  # such tables name files
        places = (file, *(folder / file.relative_to(here) for folder in folders if file.is_relative_to(here)))
        found = next((place for place in places if is_there(place)), None)
        present += found is not None
        placed.append(replace(example, media=(found or file,)))
    if not placed:
        raise MissingFile(f"{table.path} has no lines below its header: name {table.noun} in it. Give\n{table.layout}")
    if not present:
        raise MissingFile(
            f"none of the {len(placed):,} {table.noun} that {table.path} names is there, such as {placed[0].id}. Give\n"
            f"{table.layout}"
        )
    yield from placed


def _read_part(table: _Table, splits: dict[str, str], split: str) -> Iterator[Example]:
    """The examples of one split of a table; all of them where it has no splits."""
    return (clip for clip in _read_table(table, split) if splits.get(clip.id, split) == split)


CAPTIONS = Scheme(
    name="captions",
    argument="FILE",
    description="captioned pictures in a table or a caption file",
    layout=PICTURES_LAYOUT,
    open=open_captions,
)
VIDEOS = Scheme(
    name="videos",
    argument="FILE|FOLDER",
    description="clips in a table with captions or classes, or in a folder per class",
    layout=CLIPS_LAYOUT,
    open=open_videos,
)
