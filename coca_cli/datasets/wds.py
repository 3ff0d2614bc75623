"""Labelled or captioned tar shards at a path that the user names: `wds:PATH`."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from coca_cli.datasets.entries import MEMBERS, captions_of, class_of, labels_of, picture_of, record_of
from coca_cli.datasets.example import Dataset, Example, Member, Prompts, Scheme, Streamed, Task
from coca_cli.datasets.image_folder import check_split
from coca_cli.datasets.prompt_files import read_lines, read_templates
from coca_cli.datasets.shards import Entry, expand_shards, is_visible, natural_order, read_shard
from coca_cli.datasets.split_names import rank_split
from coca_cli.errors import BadExample, MissingFile

CLASS_NAMES_FILE = "classnames.txt"
TEMPLATES_FILE = "zeroshot_classification_templates.txt"
SHARD_COUNT_FILE = "nshards.txt"
TRAIN_SPLITS = ("train", "training")
EVALUATION_SPLITS = ("test", "val", "validation")
SPLIT_WORDS = frozenset({*TRAIN_SPLITS, *EVALUATION_SPLITS, "valid", "dev", "eval", "trainval", "minival", "holdout"})
LOOKED_AT = 200  # examples, to tell captions from classes

LAYOUT = f"""\
PATH/{CLASS_NAMES_FILE} (one class name a line; not needed where each KEY.json has "class": "name")
PATH/{TEMPLATES_FILE} (optional; one a line, {{c}} for the class)
PATH/SPLIT/0.tar, 1.tar ... (with {SHARD_COUNT_FILE} or without), or PATH/SPLIT-0000.tar ..., or PATH/*.tar
{MEMBERS}"""


@dataclass(frozen=True, slots=True)
class Shards:
    """Tar shards by split.

    Attributes:
        name: What the user typed, for messages.
        folder: Where the class names and templates lie; the shards are below it.
        splits: (split, its shards in reading order), the split that is evaluated first.
    """

    name: str
    folder: Path
    splits: tuple[tuple[str, tuple[Path, ...]], ...]

    def of(self, split: str) -> tuple[Path, ...]:
        """The shards of one split; raises UnknownName."""
        found = dict(self.splits)
        check_split(self.name, split, tuple(found))
        return found[split]


def open_shards(path: str) -> Dataset:
    """The dataset in a folder of shards, in one shard, or in the shards that a glob or a brace pattern names.

    Raises:
        MissingFile: There are no shards, or fewer than nshards.txt says.
        BadExample: nshards.txt or a first shard cannot be read.
    """
    shards = find_shards(path)
    return Dataset(
        name=f"wds:{path}",
        task=_guess_task(shards),
        splits=tuple(split for split, _ in shards.splits),
        source="the user's own shards",
        licence="see source",
        layout=LAYOUT,
        read=partial(_read, shards),
        prompts=partial(_prompts, shards),
    )


def find_shards(path: str) -> Shards:
    """The shards of each split, told by folders and file names; see `open_shards`."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        inside = [below for below in sorted(folder.iterdir()) if below.is_dir() and is_visible(below)]
        found = [shard for place in (folder, *inside) for shard in _shards_of_folder(place)]
        if not found:
            raise MissingFile(f"no tar shards in {folder} or in the folders right below it. Expected:\n{LAYOUT}")
    else:
        found = expand_shards(path)
        folder = Path(os.path.commonpath([shard.parent for shard in found]))
    return Shards(path, folder, group_by_split(found, folder))


def group_by_split(files: Sequence[Path], folder: Path) -> tuple[tuple[str, tuple[Path, ...]], ...]:
    """The files of each split, told by their names or by the folders that they lie in.

    Args:
        files: What to sort, in reading order.
        folder: What the user named, above all of them.

    Returns:
        (split, its files); what is evaluated by default comes first.
    """
    named = {file.parent for file in files if _split_words(file)}
    splits: dict[str, list[Path]] = {}
    for file in files:
        splits.setdefault(_split_of(file, folder, named), []).append(file)
    ordered = sorted(splits.items(), key=lambda item: rank_split(item[0]))
    return tuple((split, tuple(found)) for split, found in ordered)


def _shards_of_folder(folder: Path) -> list[Path]:
    counted = folder / SHARD_COUNT_FILE
    if not counted.is_file():
        return sorted(filter(is_visible, folder.glob("*.tar")), key=natural_order)
    text = counted.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise BadExample(f"{counted} holds {text[:40]!r}: it must hold the number of shards and nothing else")
    shards = [folder / f"{number}.tar" for number in range(int(text))]
    for shard in shards:
        if not shard.is_file():
            raise MissingFile(f"{shard} is missing: {counted} counts {text} shards, from 0.tar on")
    return shards


def _split_of(shard: Path, folder: Path, named: Collection[Path]) -> str:
    """The split of a shard: told by its name (cc3m-train-0001.tar), else by its folder, else "all".

    Args:
        shard: The shard.
        folder: What the user named; its own name tells nothing.
        named: The folders in which a name tells a split: there every other name is a split of its own.
    """
    below = shard.parent.name if shard.parent != folder else ""
    if below.lower() not in SPLIT_WORDS and shard.parent in named:
        return next(iter(_split_words(shard)), "") or re.sub(r"[-_.]*\d*$", "", shard.stem) or "all"
    return below or "all"


def _split_words(shard: Path) -> list[str]:
    return [word for word in re.split(r"[-_.\d]+", shard.stem.lower()) if word in SPLIT_WORDS]


def _guess_task(shards: Shards) -> Task:
    """Classification unless the first examples have captions and no class."""
    _, first = shards.splits[0]
    looked_at = list(itertools.islice((entry for shard in first for entry in read_shard(shard)), LOOKED_AT))
    labelled = any(class_of(entry, record_of(entry), listed=True) is not None for entry in looked_at)
    captioned = any(captions_of(entry, record_of(entry)) for entry in looked_at)
    return "captions" if captioned and not labelled else "classification"


def _read(shards: Shards, root: Path, split: str) -> Iterator[Example]:
    """The examples of one split; `root` is not looked at, since the user named a path."""
    return read_captions(shards, split)


def read_captions(shards: Shards, split: str) -> Iterator[Example]:
    """The examples of one split with their captions as texts; raises as `read_labels` does."""
    for example, entry, record in _labelled(shards, split):
        yield replace(example, texts=captions_of(entry, record))


def read_labels(shards: Shards, split: str) -> Iterator[Example]:
    """The examples of one split with the names of their classes as texts.

    Raises:
        UnknownName: There is no such split.
        MissingFile: A shard cannot be opened, or there are class indices and no names for them.
        BadExample: A shard or what it says cannot be read.
    """
    listed = read_lines(_beside(shards, CLASS_NAMES_FILE))
    for example, entry, record in _labelled(shards, split):
        texts = labels_of(entry, record)
        if not texts and example.label is not None:
            name = listed[example.label] if listed else class_of(entry, record, listed=False)
            if not isinstance(name, str):
                raise _no_class_names(shards)
            texts = (name,)
        yield replace(example, texts=texts)


def _labelled(shards: Shards, split: str) -> Iterator[tuple[Example, Entry, dict[str, Any]]]:
    """Every picture with its class index, and the entry and the record that its texts are in."""
    listed = read_lines(_beside(shards, CLASS_NAMES_FILE))
    classes = _Classes(shards, listed)
    for shard in shards.of(split):
        place = shard.relative_to(shards.folder).as_posix()
        for entry in read_shard(shard):
            picture = picture_of(entry)
            if picture is None:
                continue
            record = record_of(entry)
            value = class_of(entry, record, listed=bool(listed))
            label = None if value is None else classes.index(value, picture)
            yield Example(f"{place}:{entry.key}", (picture,), label), entry, record


class _Classes:
    """Turns what the shards say about a class into an index.

    Args:
        shards: Where to look for class names, once a name is met and none are listed.
        listed: The names in classnames.txt, or () where there is no such file.
    """

    def __init__(self, shards: Shards, listed: tuple[str, ...]) -> None:
        self._shards, self._listed = shards, bool(listed)
        self._positions = {name: index for index, name in enumerate(listed)}
        self._count = len(listed)
        self._kinds: set[type] = set()

    def index(self, value: int | str, picture: Member | Streamed) -> int:
        """The class index of a picture; raises BadExample where the class names do not cover it."""
        self._kinds.add(type(value))
        if not self._listed and len(self._kinds) > 1:
            raise BadExample(
                f"{picture} is labelled in another way than the examples before it (a class index here, a name there): "
                f"write {_beside(self._shards, CLASS_NAMES_FILE)}, one name a line, in the order of the indices"
            )
        if isinstance(value, int):
            if value < 0 or (self._listed and value >= self._count):
                known = f"{CLASS_NAMES_FILE} has {self._count} names" if self._listed else "it must be 0 or more"
                raise BadExample(f"{picture} has the class index {value}, which no class has: {known}")
            return value
        if not self._listed and not self._positions:
            self._positions = {name: index for index, name in enumerate(_scan_class_names(self._shards))}
        if value not in self._positions:
            raise BadExample(f"{picture} has the class {value!r}, which is not in {CLASS_NAMES_FILE}: add it there")
        return self._positions[value]


def _prompts(shards: Shards, root: Path) -> Prompts:
    """Class names and templates, from the files beside the shards or from the shards; `root` is not looked at."""
    return Prompts(_class_names(shards), read_label_templates(shards))


def read_label_templates(shards: Shards) -> tuple[str, ...]:
    """The templates beside the shards, or the general ones; raises BadExample where one has no place for the class."""
    return read_templates(_beside(shards, TEMPLATES_FILE))


def _class_names(shards: Shards) -> tuple[str, ...]:
    names = read_lines(_beside(shards, CLASS_NAMES_FILE)) or _scan_class_names(shards)
    if not names:
        raise _no_class_names(shards)
    return names


def _no_class_names(shards: Shards) -> MissingFile:
    return MissingFile(
        f"{_beside(shards, CLASS_NAMES_FILE)} is missing or empty, and no KEY.json in the shards names a class: "
        "write it, one class name a line in the order of the class indices, or pass --classnames FILE"
    )


def _beside(shards: Shards, name: str) -> Path:
    """Where a file about all splits lies: with the shards, or above when the user named one split's folder."""
    inside = shards.folder / name
    above = shards.folder.parent / name
    return above if shards.folder.name in SPLIT_WORDS and not inside.is_file() and above.is_file() else inside


def _scan_class_names(shards: Shards) -> tuple[str, ...]:
    """The sorted class names in the .json members of all splits."""
    every = sorted({shard for _, found in shards.splits for shard in found})
    return _scan(tuple((shard, shard.stat().st_size, shard.stat().st_mtime_ns) for shard in every))


@lru_cache(maxsize=16)
def _scan(stamped: tuple[tuple[Path, int, int], ...]) -> tuple[str, ...]:
    names: set[str] = set()
    for shard, _, _ in stamped:
        for entry in read_shard(shard, texts=("json",)):
            found = class_of(entry, record_of(entry), listed=False)
            if isinstance(found, str):
                names.add(found)
    return tuple(sorted(names))


WDS = Scheme(
    name="wds",
    argument="PATH",
    description="any tar shards with classes or captions (WebDataset), read in place",
    layout=LAYOUT,
    open=open_shards,
)
