"""What is there to train on in the place that the user named, and who reads it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from coca_cli.datasets import DATASETS, find_dataset
from coca_cli.datasets.caption_json import TRAIN_SPLITS as TRAIN_PARTS
from coca_cli.datasets.caption_json import read_captioned
from coca_cli.datasets.example import Dataset, Example, Scheme
from coca_cli.datasets.image_folder import is_there, list_pictures
from coca_cli.datasets.pairs import (
    CAPTION_COLUMNS,
    FOLDER_LAYOUT,
    LABEL_COLUMNS,
    Kind,
    find_table_columns,
    folder_above,
    holds_pictures,
    read_folder_pairs,
    read_picture_table,
    read_tables,
)
from coca_cli.datasets.parquet import PARQUET, list_parquet
from coca_cli.datasets.streams import expand_streams, is_stream, read_stream
from coca_cli.datasets.tables import TABLE_SUFFIXES
from coca_cli.datasets.templates import GENERAL_TEMPLATES
from coca_cli.datasets.wds import (
    SPLIT_WORDS,
    TRAIN_SPLITS,
    WDS,
    find_shards,
    group_by_split,
    read_captions,
    read_label_templates,
    read_labels,
)
from coca_cli.errors import CocaError, MissingFile, UnknownName
from coca_cli.registry import unknown_name

LOOKED_AT = 1000  # examples, to tell captions from classes

LOOKED_AT_STREAMED = 50  # examples of a stream, whose pictures are fetched with them

ACCEPTED = """\
training reads
  a dataset or scheme by name, as `coca data list` shows them
  a table (.csv, .tsv, .jsonl, .parquet) with an image column and a caption or label column
  a .json of captions as COCO or Karpathy write it
  tar shards: a .tar, a pattern such as 'train-{0000..0008}.tar' or 'train-*.tar', or their folder
  tar shards that stream by: 'pipe:COMMAND', or an address that begins with http:// or https://
  a folder of pictures with a .txt of captions beside each
  a folder with one folder of pictures per class
and pairs: or labels: before any of them, where it has both captions and class names"""

NOUNS: dict[Kind, str] = {"pairs": "captions", "labels": "class names"}

Read = Callable[[], Iterator[Example]]


class Readings(NamedTuple):
    """What could be trained on in a place: readers of all its pictures, also of those without texts.

    Attributes:
        place: The part that is looked at, for messages.
        read: Kind -> a reader of the pictures with texts of that kind.
        templates: Gives the sentences for class names.
        looked_at: So many pictures show which kinds there are.
        peek: Readers that give at least those pictures, where that is quicker than `read`.
        streams: See `Source`.
        read_stream: Kind -> a reader of one of `streams`.
    """

    place: str
    read: dict[Kind, Read]
    templates: Callable[[], tuple[str, ...]] = lambda: GENERAL_TEMPLATES
    looked_at: int = LOOKED_AT
    peek: dict[Kind, Read] = {}  # noqa: RUF012 - never written to
    streams: tuple[str, ...] = ()
    read_stream: dict[Kind, Callable[[str], Iterator[Example]]] = {}  # noqa: RUF012 - never written to

    def first(self, kind: Kind) -> Iterator[Example]:
        """The pictures that show whether there are texts of that kind."""
        return itertools.islice(self.peek.get(kind, self.read[kind])(), self.looked_at)


def look(text: str, root: Path) -> Readings:
    """The readers for a dataset, a table, a caption file, shards, streams or a folder.

    Args:
        text: What the user typed, without a word for the kind.
        root: The data root, below which named datasets lie.

    Raises:
        UnknownName: There is no such dataset, and it does not look like a path.
        MissingFile: No such path, or nothing in it that is known.
        BadExample: What is looked at cannot be read.
        CocaError: There is no split to train on.
    """
    if is_stream(text):
        return _in_streams("the stream", expand_streams(text), {k: partial(read_stream, k) for k in NOUNS})
    word, _, argument = text.partition(":")
    if word == WDS.name and argument:
        return _in_shards(argument)
    if word in DATASETS.names():
        return _in_dataset(text, find_dataset(text), root)
    path = Path(text).expanduser()
    suffix = path.suffix.lower()
    if suffix == ".tar" or _holds(path, "*.tar"):
        return _in_shards(text)
    if suffix == PARQUET or _holds(path, f"*{PARQUET}"):
        return _in_parquet(text, path)
    if suffix in TABLE_SUFFIXES and path.is_file():
        return _in_tables(text, (path,))
    if suffix == ".json" and path.is_file():
        return Readings("the file", {"pairs": partial(read_captioned, path, TRAIN_PARTS)})
    if path.is_dir():
        return _in_folder(path, root)
    raise _nothing_named(text, path)


def _holds(folder: Path, pattern: str) -> bool:
    return folder.is_dir() and any(itertools.chain(folder.glob(pattern), folder.glob(f"*/{pattern}")))


def _in_dataset(text: str, dataset: Dataset, root: Path) -> Readings:
    if dataset.media != "image":
        raise CocaError(f"{text} holds clips, and a CoCa is trained on pictures: name data that hold pictures")
    if dataset.answers:
        raise CocaError(f"{text} holds statements that are true or false of its pictures, no captions: name others")
    split = _train_split(text, dataset.splits)
    captioned = partial(_spoken, dataset) if dataset.task == "questions" else dataset.read
    read: dict[Kind, Read] = {"pairs": partial(captioned, root, split)}
    if dataset.prompts is None:
        return Readings(f"its split {split}", read)
    read["labels"] = partial(_named, dataset, root, split)
    return Readings(f"its split {split}", read, lambda: dataset.prompts(root).templates if dataset.prompts else ())


def _spoken(dataset: Dataset, root: Path, split: str) -> Iterator[Example]:
    """The pictures of a set of questions, each with all that is asked about it, the answers behind their questions."""
    pictures: dict[object, tuple[Example, list[str]]] = {}
    for example in dataset.read(root, split):
        _, texts = pictures.setdefault(example.media, (example, []))
        texts += dict.fromkeys(f"{example.question} {answer}" for answer in example.texts)
    for example, texts in pictures.values():
        yield replace(example, texts=tuple(texts), question="", answer="", kind="")


def _named(dataset: Dataset, root: Path, split: str) -> Iterator[Example]:
    """The pictures of a dataset with the names of their classes, which are looked for once a picture has a class."""
    assert dataset.prompts is not None
    names: tuple[str, ...] = ()
    for example in dataset.read(root, split):
        if example.label is not None:
            names = names or dataset.prompts(root).class_names
        yield replace(example, texts=() if example.label is None else (names[example.label],))


def _in_shards(path: str) -> Readings:
    shards = find_shards(path)
    split = _train_split(path, tuple(split for split, _ in shards.splits))
    read: dict[Kind, Read] = {
        "pairs": partial(read_captions, shards, split),
        "labels": partial(read_labels, shards, split),
    }
    return Readings(f"its split {split}", read, partial(read_label_templates, shards))


def _train_split(text: str, splits: Sequence[str]) -> str:
    for split in splits:
        if split.lower() in TRAIN_SPLITS or len(splits) == 1:
            return split
    raise CocaError(
        f"{text} has the splits {', '.join(splits)} and none named train, so it is not trained on: "
        "give the folder or the shards that are meant for training"
    )


def _in_streams(
    place: str, streams: tuple[str, ...], read_stream: dict[Kind, Callable[[str], Iterator[Example]]]
) -> Readings:
    read: dict[Kind, Read] = {kind: partial(_read_all, by_stream, streams) for kind, by_stream in read_stream.items()}
    return Readings(place, read, looked_at=LOOKED_AT_STREAMED, streams=streams, read_stream=read_stream)


def _read_all(read: Callable[[str], Iterator[Example]], streams: Sequence[str]) -> Iterator[Example]:
    return itertools.chain.from_iterable(map(read, streams))


def _in_parquet(text: str, path: Path) -> Readings:
    found = list_parquet(text)
    folder = path if path.is_dir() else folder_above(found)
    splits = dict(group_by_split(found, folder))
    files = splits[_train_split(text, tuple(splits))]
    if not holds_pictures(files[0]):
        return _in_tables(text, files)
    kinds = _kinds_of(files[0])
    return _in_streams("the table", tuple(map(str, files)), {k: partial(read_picture_table, k, folder) for k in kinds})


def _in_tables(text: str, paths: Sequence[Path]) -> Readings:
    kinds = _kinds_of(paths[0])
    found = Readings(
        "the table",
        {kind: partial(read_tables, kind, paths) for kind in kinds},
        peek={kind: partial(read_tables, kind, paths, LOOKED_AT) for kind in kinds},
    )
    looked_at = [medium for example in found.first(kinds[0]) for medium in example.media]
    if looked_at and not any(isinstance(medium, Path) and is_there(medium) for medium in looked_at):
        raise MissingFile(
            f"none of the first {len(looked_at):,} pictures that {text} names is there, such as {looked_at[0]}: "
            f"paths count from the table's folder, {paths[0].parent}"
        )
    return found


def _kinds_of(table: Path) -> tuple[Kind, ...]:
    """The kinds of text that a table has columns for; raises CocaError where it has pictures and neither."""
    columns = find_table_columns(table)
    kinds = tuple(kind for kind in NOUNS if kind in columns)
    if not kinds and "image" in columns:
        raise CocaError(
            f"{table} has a column of pictures, {columns['image']}, but none of captions "
            f"({', '.join(CAPTION_COLUMNS)}) or class names ({', '.join(LABEL_COLUMNS)}): rename the one that has them"
        )
    return kinds or ("pairs",)  # reading says what else is missing


def _in_folder(path: Path, root: Path) -> Readings:
    if not list_pictures(path, FOLDER_LAYOUT):
        raise MissingFile(f"no pictures in the folder {path} or below it; {ACCEPTED}")
    read: dict[Kind, Read] = {}
    if next(read_folder_pairs(path), None) is not None:
        read["pairs"] = partial(read_folder_pairs, _train_folder(path))
    try:
        classes = _in_dataset(str(path), find_dataset(f"folder:{path}"), root)
    except CocaError as error:
        if read:
            return Readings("the folder", read)
        if not isinstance(error, MissingFile):
            raise
        raise MissingFile(
            f"{path} has pictures, but neither captions beside them nor one folder per class; {ACCEPTED}"
        ) from error
    return classes._replace(place="the folder", read={**read, "labels": classes.read["labels"]})


def _train_folder(path: Path) -> Path:
    """The folder's own train folder where there is one for evaluation beside it, so that no such picture is learnt."""
    below = {folder.name.lower(): folder for folder in path.iterdir() if folder.is_dir()}
    train = next((below[name] for name in TRAIN_SPLITS if name in below), None)
    return train if train and any(name in below for name in SPLIT_WORDS.difference(TRAIN_SPLITS)) else path


def _nothing_named(text: str, path: Path) -> CocaError:
    if path.exists():
        return MissingFile(f"{path} is no training data; {ACCEPTED}")
    if len(path.parts) > 1 or path.suffix.lower() in TABLE_SUFFIXES:
        return MissingFile(f"there is no {path}; {ACCEPTED}")
    shown = [
        f"{entry.name}:{entry.argument}" if isinstance(entry, Scheme) else entry.name for entry in DATASETS.entries()
    ]
    return UnknownName(f"{unknown_name('training data', text, shown)}\nOr a path: {ACCEPTED}")
