"""The pictures of an evaluation set, as training data are compared with them: found from what the user typed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from coca_cli.datasets import DATASETS, find_dataset
from coca_cli.datasets.example import Dataset, Example, Scheme
from coca_cli.datasets.image_folder import check_split, list_pictures
from coca_cli.datasets.pairs import FOLDER_LAYOUT, read_table
from coca_cli.datasets.tables import TABLE_SUFFIXES
from coca_cli.datasets.wds import SPLIT_WORDS, TRAIN_SPLITS, open_shards
from coca_cli.errors import CocaError, MissingFile, UnknownName
from coca_cli.registry import unknown_name

ACCEPTED = """\
give
  a dataset by name, such as imagenet (its evaluated split) or imagenet@val
  folder:PATH or wds:PATH, or the path of tar shards: every split but the one for training, or PATH@SPLIT
  a table of pictures with captions (.csv, .tsv, .jsonl, .parquet), or a folder: all pictures"""


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Pictures that no training data may show.

    Attributes:
        name: The set and its split, as the user is told of it.
        read: Yields its examples, whatever else is known of them.
        border: Pixels to cut from each side of every picture.
    """

    name: str
    read: Callable[[], Iterator[Example]]
    border: int = 0


def find_picture_sets(text: str, root: Path) -> list[PictureSet]:
    """What the user named, one entry per split.

    A registered dataset gives the split that papers evaluate; a scheme or shards at a path give every split but the one
    for training, or all where there is no other; `NAME@SPLIT` gives that split. A table or a folder gives all its
    pictures, of a folder with `train` beside `val` or `test` those outside `train`.

    Args:
        text: A dataset's name, a scheme with its path, shards, a table or a folder, and perhaps `@SPLIT`.
        root: The data root, below which named datasets lie.

    Raises:
        UnknownName: No such dataset or split.
        MissingFile: No such path, or no picture in it.
        BadExample: A table or a shard cannot be read.
        CocaError: It holds no pictures but clips, or has no splits to choose from.
    """
    name, split = _take_split(text)
    word = name.partition(":")[0]
    if word in DATASETS.names():
        whole = isinstance(DATASETS.get(word), Scheme)
        return _splits(name, find_dataset(name), split, root, every=whole)
    path = Path(name).expanduser()
    if path.suffix.lower() == ".tar" or holds_shards(path):
        return _splits(name, open_shards(name), split, root, every=True)
    if split is not None:
        raise CocaError(f"{text}: only datasets and tar shards have splits to choose with @; leave out @{split}")
    if path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        return [PictureSet(name, partial(read_table, path))]
    if path.is_dir():
        return [_folder(name, path)]
    raise _nothing_named(name, path)


def _take_split(text: str) -> tuple[str, str | None]:
    """What stands before and after the last @; a path that is there may have one in its name."""
    name, at, split = text.rpartition("@")
    if not at or not name or "/" in split or Path(text.partition(":")[2] or text).expanduser().exists():
        return text, None
    return name, split


def _splits(name: str, dataset: Dataset, split: str | None, root: Path, *, every: bool) -> list[PictureSet]:
    if dataset.media != "image":
        raise CocaError(f"{name} holds clips, and only pictures are compared; leave out --against {name}")
    if split is not None:
        check_split(name, split, dataset.splits)
        chosen = [split]
    elif every:
        chosen = [each for each in dataset.splits if each.lower() not in TRAIN_SPLITS] or list(dataset.splits)
    else:
        chosen = [dataset.splits[0]]
    return [PictureSet(f"{name} {each}", partial(dataset.read, root, each), dataset.border) for each in chosen]


def holds_shards(folder: Path) -> bool:
    """Whether tar files lie in a folder or right below it."""
    return folder.is_dir() and any(itertools.chain(folder.glob("*.tar"), folder.glob("*/*.tar")))


def _folder(name: str, folder: Path) -> PictureSet:
    pictures = list_pictures(folder, FOLDER_LAYOUT)
    tops = {picture.split("/")[0].lower() for picture in pictures if "/" in picture}
    if tops & SPLIT_WORDS.difference(TRAIN_SPLITS):
        pictures = [picture for picture in pictures if picture.split("/")[0].lower() not in TRAIN_SPLITS]
    if not pictures:
        raise MissingFile(f"no pictures to compare with in the folder {folder} or below it; {ACCEPTED}")
    return PictureSet(name, partial(_read_pictures, folder, pictures))


def _read_pictures(folder: Path, pictures: list[str]) -> Iterator[Example]:
    return (Example(id=picture, media=(folder / picture,)) for picture in pictures)


def _nothing_named(name: str, path: Path) -> CocaError:
    if path.exists():
        return MissingFile(f"{path} is no evaluation set; {ACCEPTED}")
    if len(path.parts) > 1 or path.suffix.lower() in TABLE_SUFFIXES:
        return MissingFile(f"there is no {path} to compare with; {ACCEPTED}")
    shown = [f"{e.name}:{e.argument}" if isinstance(e, Scheme) else e.name for e in DATASETS.entries()]
    return UnknownName(f"{unknown_name('evaluation set', name, shown)}\nOr a path: {ACCEPTED}")
