"""What training reads: a dataset, a table, tar shards or a folder, found from what the user typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from coca_cli.datasets.example import Example
from coca_cli.datasets.pairs import Kind
from coca_cli.datasets.readings import NOUNS, Read, Readings, look
from coca_cli.errors import CocaError, MissingFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Examples to train on.

    Attributes:
        name: What the user typed.
        kind: Pairs of pictures and captions, or pictures with class labels.
        read: Yields the examples in the same order every time. The texts, at least one, are the captions of pairs and
            the names of a labelled picture's classes; the class index is kept where there is one.
        templates: Sentences with `{c}` where the class names go; () for pairs.
        streams: Shards that can only be read from front to back; () where pictures are read by their place.
        read_stream: Yields the examples of one of `streams`, their pictures held in memory; None without streams.
    """

    name: str
    kind: Kind
    read: Read
    templates: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    read_stream: Callable[[str], Iterator[Example]] | None = None


def find_source(text: str, root: Path) -> Source:
    """The training data that the user named; of several splits only the one for training.

    Args:
        text: A dataset's name, a scheme with its path, a table, a caption file, shards, streams or a folder; with
            `pairs:` or `labels:` before it, what is read where both are there, else captions.
        root: The data root, below which named datasets lie.

    Raises:
        UnknownName: There is no such dataset, and it does not look like a path.
        MissingFile: No such path, or nothing to train on in it, or nothing of the kind that is asked for.
        BadExample: The first examples cannot be read.
        CocaError: There is no split to train on.
    """
    word, colon, rest = text.partition(":")
    if colon and word in NOUNS:
        if not rest:
            raise CocaError(f"{text} names no data: write what to read behind the colon, such as {text}FOLDER")
        wanted: Kind = "pairs" if word == "pairs" else "labels"
        return _choose(text, look(rest, root), (wanted,))
    return _choose(text, look(text, root), ("pairs", "labels"))


def _choose(text: str, found: Readings, kinds: Sequence[Kind]) -> Source:
    looked_at = 0
    for kind in (kind for kind in kinds if kind in found.read):
        for number, example in enumerate(found.first(kind), start=1):
            looked_at = max(looked_at, number)
            if example.texts:
                return _make_source(text, found, kind)
    for other in (kind for kind in found.read if kind not in kinds):
        if any(example.texts for example in found.first(other)):
            raise MissingFile(
                f"{text} asks for {NOUNS[kinds[0]]}, but {found.place} has {NOUNS[other]} alone: write {other}: instead"
            )
    if not looked_at:
        raise MissingFile(f"nothing to train on in {text}: {found.place} has no pictures; check where it lies")
    missing = " and no ".join(NOUNS[kind] for kind in kinds if kind in found.read or len(kinds) == 1)
    raise MissingFile(
        f"nothing to train on in {text}: the first {looked_at:,} pictures of {found.place} have no {missing}; "
        "check where it lies and how its texts are written"
    )


def _make_source(text: str, found: Readings, kind: Kind) -> Source:
    by_stream = found.read_stream.get(kind)
    return Source(
        name=text,
        kind=kind,
        read=partial(_with_texts, found.read[kind]),
        templates=found.templates() if kind == "labels" else (),
        streams=found.streams,
        read_stream=None if by_stream is None else partial(_with_texts, by_stream),
    )


def _with_texts(read: Callable[..., Iterator[Example]], *stream: str) -> Iterator[Example]:
    return (example for example in read(*stream) if example.texts)
