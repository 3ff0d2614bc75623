"""What a dataset is and what it yields: files on disk, before any tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Task = Literal["classification", "captions", "questions", "entailment", "reasoning"]
MediaKind = Literal["image", "video"]


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside an uncompressed tar shard, found by its place, so that it is read without unpacking.

    Attributes:
        tar: The shard.
        name: The member's name, for messages; never used as a path.
        offset: Where its bytes begin in the shard.
        size: How many bytes it has.
    """

    tar: Path
    name: str
    offset: int
    size: int

    def read_bytes(self) -> bytes:
        """The member's bytes; fewer than `size` where the shard was cut off."""
        with self.tar.open("rb") as shard:
            shard.seek(self.offset)
            return shard.read(self.size)

    def __str__(self) -> str:
        return f"{self.tar}:{self.name}"


@dataclass(frozen=True, slots=True)
class Streamed:
    """A file whose bytes passed by and are held, because they cannot be found again by their place.

    Attributes:
        data: Its bytes.
        name: Where they came from, for messages.
    """

    data: bytes
    name: str

    def read_bytes(self) -> bytes:
        """The bytes."""
        return self.data

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """A picture or a clip drawn by a built-in set.

    Attributes:
        drawn: Its array, or what draws it whenever it is looked at, so that thousands of clips take no memory.
        name: What it is called in messages.
    """

    drawn: NDArray[np.uint8] | Callable[[], NDArray[np.uint8]]
    name: str

    @property
    def array(self) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 RGB of a picture, (frames, height, width, 3) of a clip."""
        return self.drawn() if callable(self.drawn) else self.drawn

    def __str__(self) -> str:
        return self.name


Medium = Path | Member | Streamed | Pixels


@dataclass(frozen=True, slots=True)
class Example:
    """One thing on disk, before any tensor.

    Attributes:
        id: Unique within the split, the same on every machine (a relative path, a key, a number).
        media: A picture, a clip, a pair.
        label: Class index into the dataset's class names, or None where there is no class.
        texts: Captions, references, or the answers that people gave to the question.
        question: VQA question, hypothesis or statement.
        answer: The one answer that the question counts for, where there are several.
        group: The part of the split that it belongs to and that is scored by itself, too, such as a domain.
        kind: What it has in common with others that are looked at together: VQA's type of question, NLVR2's statement.
    """

    id: str
    media: tuple[Medium, ...]
    label: int | None = None
    texts: tuple[str, ...] = ()
    question: str = ""
    answer: str = ""
    group: str = ""
    kind: str = ""


class Prompts(NamedTuple):
    """The words of a zero-shot classifier.

    Attributes:
        class_names: One name per class index.
        templates: Sentences with `{c}` where the class name goes.
    """

    class_names: tuple[str, ...]
    templates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way in which papers measure retrieval on a set, by its usual name.

    Attributes:
        name: Such as 5k or 1k-a.
        split: The split that it takes.
        folds: In how many parts of equal size, in the split's order, the search is made; scores are their means.
    """

    name: str
    split: str
    folds: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A benchmark: where its files lie and how they become examples.

    Attributes:
        name: What the user types after `--dataset`.
        task: What its examples are for.
        media: Pictures or clips.
        splits: The splits it has; the first is the one that is evaluated unless the user names another.
        source: Where it comes from (paper or site).
        licence: The terms it is handed out under, or "see source".
        version: Raised whenever a change here moves a score.
        layout: The files expected below the data root, one a line.
        read: `read(root, split)` yields the examples, in the same order every time. Raises MissingFile, BadExample.
        prompts: `prompts(root)` gives class names and templates, for sets with classes.
        built_in: True when it needs no files.
        border: Pixels to cut from each side of every picture before anything else is done with it.
        protocols: For retrieval; the first is taken unless the user names another.
        answers: What a statement can be, such as entailment, in the order of the labels; open questions have none.
        pictures: How many pictures or clips an example has.
        overlaps: Pairs of splits that have examples in common.
    """

    name: str
    task: Task
    media: MediaKind = "image"
    splits: tuple[str, ...]
    source: str
    licence: str
    version: int = 1
    layout: str
    read: Callable[[Path, str], Iterator[Example]]
    prompts: Callable[[Path], Prompts] | None = None
    built_in: bool = False
    border: int = 0
    protocols: tuple[Protocol, ...] = ()
    answers: tuple[str, ...] = ()
    pictures: int = 1
    overlaps: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A family of datasets that the user opens by a path, such as `folder:PATH`.

    Attributes:
        name: The word before the colon.
        argument: What follows it, as shown to the user.
        description: One line for `coca data list`.
        layout: The files expected at the path, one a line.
        open: Makes the dataset from what follows the colon.
    """

    name: str
    argument: str
    description: str
    layout: str
    open: Callable[[str], Dataset]
