"""Examples -> fingerprints of their pictures, in a stream; and evaluation sets, ready to be compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.recfunctions import repack_fields
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.datasets.example import Example, Medium, Member, Streamed
from coca_cli.datasets.picture_sets import PictureSet
from coca_cli.errors import BadExample, MissingFile
from coca_cli.media.batches import Skipped, decoded
from coca_cli.media.hashes import EVALUATION_LOOKS, Look, fingerprint, fingerprint_type
from coca_cli.media.images import ImageSettings, read_image
from coca_cli.model.placement import Placed
from coca_cli.progress import Reporter
from coca_cli.tasks.embedding import embed_pixels
from coca_cli.tasks.near_duplicates import EvaluationPictures

BLOCKS_AHEAD = 2

Block = list[tuple[Example, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class FingerprintReader:
    """Reads pictures by threads.

    Attributes:
        block_size: Examples in a block.
        threads: Threads that decode; 0 decodes in the calling thread.
        placed: A model that embeds the pictures, too; None for none.
    """

    block_size: int
    threads: int
    placed: Placed | None = None

    def read(
        self, examples: Iterable[Example], looks: Sequence[Look], skipped: Skipped, border: int = 0
    ) -> Iterator[tuple[Example, NDArray[Any]]]:
        """Each example with the records of its pictures, or with none where one of them cannot be read.

        Args:
            examples: What to read.
            looks: The parts of each picture to hash.
            skipped: Takes note of what cannot be read.
            border: Pixels to cut from each side of every picture.

        Raises:
            BadExample: In strict mode at the first unreadable picture; otherwise when more than 5 % are unreadable.
        """
        model = self.placed.image if self.placed else None
        kind = fingerprint_type(len(looks), model.size if model else 0)
        decode = partial(_decode, looks=looks, border=border, model=model)
        for example, outcome in decoded(examples, decode, self.threads, BLOCKS_AHEAD * self.block_size):
            skipped.seen += 1
            if isinstance(outcome, BadExample):
                skipped.add(example.id, outcome)
                skipped.check(final=False)
                yield example, np.empty(0, kind)
            else:
                yield example, outcome.view(kind)
        skipped.check(final=True)

    def blocks(self, stream: Iterable[tuple[Example, NDArray[Any]]]) -> Iterator[Block]:
        """The stream in blocks, all full but the last."""
        iterator = iter(stream)
        while block := list(islice(iterator, self.block_size)):
            yield block

    def embed(self, records: NDArray[Any]) -> Tensor | None:
        """The embeddings (B, D) of B records; None without a model."""
        if self.placed is None:
            return None
        return embed_pixels(self.placed, torch.from_numpy(np.ascontiguousarray(records["pixels"])))


class Known(NamedTuple):
    """Where an evaluation picture comes from.

    Attributes:
        set_number: Which of the sets.
        example_id: Its first example with that picture.
        medium: The picture; None where it passed by in a stream and is not kept.
        border: Pixels to cut from each of its sides.
    """

    set_number: int
    example_id: str
    medium: Medium | None
    border: int


class Library(NamedTuple):
    """The evaluation sets, read.

    Attributes:
        names: Of the sets.
        known: One entry for each different picture of each set.
        pictures: The same pictures, to be compared with.
    """

    names: list[str]
    known: list[Known]
    pictures: EvaluationPictures


def read_library(
    sets: Sequence[PictureSet], reader: FingerprintReader, least_cosine: float, strict: bool, reporter: Reporter
) -> Library:
    """Read all evaluation sets.

    Args:
        sets: Where their pictures are.
        reader: Reads them.
        least_cosine: From which cosine on two pictures are taken for one.
        strict: Stop at the first unreadable picture.
        reporter: Shows progress and says what could not be read.

    Raises:
        MissingFile: A set has no picture.
        BadExample: More than 5 % of a set are unreadable, or any in strict mode.
    """
    known: list[Known] = []
    records: list[NDArray[Any]] = []
    embeddings: list[Tensor] = []
    for number, each in enumerate(sets):
        before, skipped, seen = len(known), Skipped(strict=strict), set[bytes]()
        examples, total = _counted(_distinct(each.read()))
        stream = reader.read(examples, EVALUATION_LOOKS, skipped, each.border)
        for block in reader.blocks(reporter.track(stream, total=total, label=each.name)):
            new, rows = _take_new(block, seen)
            known += (Known(number, example_id, medium, each.border) for example_id, medium in new)
            if len(rows) and (part := reader.embed(rows)) is not None:
                embeddings.append(part)
            records.append(repack_fields(rows[["hashes", "digest", "thumbnail"]]))
        if len(known) == before:
            raise MissingFile(f"no picture to compare with in {each.name}; check where it lies")
        skipped.tell(reporter.warn, "not compared, so its copies stay in the training data")
    vectors = torch.cat(embeddings) if embeddings else None
    pictures = EvaluationPictures(np.concatenate(records), vectors, least_cosine, reader.threads)
    if pictures.flat:
        reporter.notice(f"nearly flat evaluation pictures, of which only exact copies are found: {pictures.flat:,}")
    return Library([each.name for each in sets], known, pictures)


def _take_new(block: Block, seen: set[bytes]) -> tuple[list[tuple[str, Medium | None]], NDArray[Any]]:
    """The pictures of a block whose pixels have not been seen yet, and their records."""
    pictures = [(example.id, _remembered(m)) for example, rows in block for m in (example.media if len(rows) else ())]
    records = np.concatenate([rows for _, rows in block])
    new = []
    for place, digest in enumerate(records["digest"]):
        if digest.tobytes() not in seen:
            seen.add(digest.tobytes())
            new.append(place)
    return [pictures[place] for place in new], records[new]


def _remembered(medium: Medium) -> Medium | None:
    return None if isinstance(medium, Streamed) else medium


def _distinct(examples: Iterable[Example]) -> Iterator[Example]:
    """Without further examples of the same files, such as the other questions about a picture."""
    seen: set[tuple[Medium, ...]] = set()
    for example in examples:
        if example.media not in seen:
            if all(isinstance(medium, Path | Member) for medium in example.media):
                seen.add(example.media)
            yield example


def _counted(examples: Iterator[Example]) -> tuple[Iterable[Example], int | None]:
    """The examples and how many there are; where they hold their pictures in memory they are not collected."""
    first = next(examples, None)
    if first is None:
        return (), 0
    if any(isinstance(medium, Streamed) for medium in first.media):
        return chain([first], examples), None
    listed = [first, *examples]
    return listed, len(listed)


def _decode(example: Example, looks: Sequence[Look], border: int, model: ImageSettings | None) -> NDArray[np.uint8]:
    return np.concatenate([fingerprint(read_image(medium, border), looks, model) for medium in example.media])
