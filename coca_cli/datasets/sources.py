"""What training reads: a dataset, a table, tar shards or a folder, found from what the user typed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from coca_cli.datasets import DATASETS, find_dataset
from coca_cli.datasets.example import Dataset, Example, Scheme
from coca_cli.datasets.image_folder import list_pictures
from coca_cli.datasets.pairs import FOLDER_LAYOUT, TABLE_SUFFIXES, read_folder_pairs, read_table
from coca_cli.datasets.wds import SPLIT_WORDS, TRAIN_SPLITS, open_shards
from coca_cli.errors import CocaError, MissingFile, UnknownName
from coca_cli.registry import unknown_name

LOOKED_AT = 1000  # examples, to tell captions from classes

ACCEPTED = """\
training reads
  a dataset or scheme by name, as `coca data list` shows them
  a table (.csv, .tsv, .jsonl) with an image and a caption column
  tar shards: a .tar, a pattern such as 'train-{0000..0008}.tar' or 'train-*.tar', or their folder
  a folder of pictures with a .txt of captions beside each
  a folder with one folder of pictures per class"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Examples to train on.

    Attributes:
        name: What the user typed.
        kind: Pairs of pictures and captions, or pictures with a class label.
        read: Yields the examples in the same order every time: pairs with at least one caption, labels with a label.
        class_names: One name per class index; () for pairs.
        templates: Sentences with `{c}` where the class name goes; () for pairs.
    """

    name: str
    kind: Literal["pairs", "labels"]
    read: Callable[[], Iterator[Example]]
    class_names: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()


def find_source(text: str, root: Path) -> Source:
    """The training data that the user named; of several splits only the one for training.

    Args:
        text: A dataset's name, a scheme with its path, a table, shards or a folder.
        root: The data root, below which named datasets lie.

    Raises:
        UnknownName: There is no such dataset, and it does not look like a path.
        MissingFile: No such path, or nothing to train on in it.
        BadExample: The first examples cannot be read.
        CocaError: There is no split to train on.
    """
    word = text.partition(":")[0]
    if word in DATASETS.names():
        return _from_dataset(text, find_dataset(text), root)
    path = Path(text).expanduser()
    if path.suffix.lower() == ".tar" or _holds_shards(path):
        return _from_dataset(text, open_shards(text), root)
    if path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        return _from_table(text, path)
    if path.is_dir():
        return _from_folder(text, path, root)
    raise _nothing_named(text, path)


def _holds_shards(folder: Path) -> bool:
    return folder.is_dir() and any(itertools.chain(folder.glob("*.tar"), folder.glob("*/*.tar")))


def _from_dataset(text: str, dataset: Dataset, root: Path) -> Source:
    split = _train_split(text, dataset)
    read = partial(dataset.read, root, split)
    looked_at, labelled = 0, False
    for example in itertools.islice(read(), LOOKED_AT):
        if example.texts:
            return Source(name=text, kind="pairs", read=partial(_captioned, read))
        looked_at, labelled = looked_at + 1, labelled or example.label is not None
    if not looked_at:
        raise MissingFile(f"nothing to train on in {text}: its split {split} has no pictures; check where it lies")
    if dataset.prompts is None or not labelled:
        raise MissingFile(
            f"nothing to train on in {text}: the first {looked_at:,} pictures of its split {split} have neither "
            "captions nor classes"
        )
    class_names, templates = dataset.prompts(root)
    return Source(name=text, kind="labels", read=partial(_labelled, read), class_names=class_names, templates=templates)


def _train_split(text: str, dataset: Dataset) -> str:
    for split in dataset.splits:
        if split.lower() in TRAIN_SPLITS or len(dataset.splits) == 1:
            return split
    raise CocaError(
        f"{text} has the splits {', '.join(dataset.splits)} and none named train, so it is not trained on: "
        "give the folder or the shards that are meant for training"
    )


def _from_table(text: str, path: Path) -> Source:
    read = partial(_captioned, partial(read_table, path))
    looked_at = [medium for example in itertools.islice(read(), LOOKED_AT) for medium in example.media]
    if not looked_at:
        raise MissingFile(f"nothing to train on in {text}: the table has no row with a picture and a caption")
    if not any(isinstance(medium, Path) and medium.is_file() for medium in looked_at):
        raise MissingFile(
            f"none of the first {len(looked_at):,} pictures that {text} names is there, such as {looked_at[0]}: "
            f"paths count from the table's folder, {path.parent}"
        )
    return Source(name=text, kind="pairs", read=read)


def _from_folder(text: str, path: Path, root: Path) -> Source:
    if not list_pictures(path, FOLDER_LAYOUT):
        raise MissingFile(f"no pictures in the folder {path} or below it; {ACCEPTED}")
    if next(read_folder_pairs(path), None) is None:
        return _from_class_folders(text, path, root)
    read = partial(_captioned, partial(read_folder_pairs, _train_folder(path)))
    if next(read(), None) is None:
        raise MissingFile(f"no captions in {_train_folder(path)}: every .txt beside a picture is empty or missing")
    return Source(name=text, kind="pairs", read=read)


def _from_class_folders(text: str, path: Path, root: Path) -> Source:
    try:
        return _from_dataset(text, find_dataset(f"folder:{path}"), root)
    except MissingFile as error:
        raise MissingFile(
            f"{path} has pictures, but neither captions beside them nor one folder per class; {ACCEPTED}"
        ) from error


def _train_folder(path: Path) -> Path:
    """The folder's own train folder where there is one for evaluation beside it, so that no such picture is learnt."""
    below = {folder.name.lower(): folder for folder in path.iterdir() if folder.is_dir()}
    train = next((below[name] for name in TRAIN_SPLITS if name in below), None)
    return train if train and any(name in below for name in SPLIT_WORDS.difference(TRAIN_SPLITS)) else path


def _captioned(read: Callable[[], Iterator[Example]]) -> Iterator[Example]:
    return (example for example in read() if example.texts)


def _labelled(read: Callable[[], Iterator[Example]]) -> Iterator[Example]:
    return (example for example in read() if example.label is not None)


def _nothing_named(text: str, path: Path) -> CocaError:
    if path.exists():
        return MissingFile(f"{path} is no training data; {ACCEPTED}")
    if len(path.parts) > 1 or path.suffix.lower() in TABLE_SUFFIXES:
        return MissingFile(f"there is no {path}; {ACCEPTED}")
    shown = [
        f"{entry.name}:{entry.argument}" if isinstance(entry, Scheme) else entry.name for entry in DATASETS.entries()
    ]
    return UnknownName(f"{unknown_name('training data', text, shown)}\nOr a path: {ACCEPTED}")
