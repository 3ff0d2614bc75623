"""Training batches: a process's share of each batch, decoded ahead of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.datasets.example import Example
from coca_cli.errors import BadExample
from coca_cli.media.batches import default_workers
from coca_cli.training.augment import View
from coca_cli.training.mixture import Draw, Mixture
from coca_cli.training.word_dropout import draw_hidden
from coca_cli.world import SINGLE, World

BATCHES_AHEAD = 3
SUBSTITUTES = 20
"""Pictures that are tried in the place of one that cannot be read."""


class Position(NamedTuple):
    """Where the data stands after a batch, for going on later.

    Attributes:
        taken: Examples that each source has given.
        batches: Batches given.
    """

    taken: list[int]
    batches: int


class TrainingBatch(NamedTuple):
    """Pictures or clips and one text each.

    Attributes:
        pixels: (B, 3, size, size) uint8 of pictures, (B, F, 3, size, size) of clips.
        captions: B texts.
        examples: What was drawn.
        names: B names of source and example, for messages.
        position: Where the data stands after this batch.
        unreadable: Names of the pictures that should have stood here and could not be read, with the reasons.
        hidden: (B, positions) places of words that the model does not get to read; None without word dropout.
    """

    pixels: Tensor
    captions: list[str]
    examples: list[Example]
    names: list[str]
    position: Position
    unreadable: dict[str, str]
    hidden: Tensor | None = None


class WordDropout(NamedTuple):
    """How many words are hidden.

    Attributes:
        rate: Part of them.
        positions: Of a text.
    """

    rate: float = 0.0
    positions: int = 0


NO_WORD_DROPOUT = WordDropout()


class _Row(NamedTuple):
    draw: Draw
    pixels: NDArray[Any]
    unreadable: dict[str, str]
    hidden: NDArray[np.bool_]


def training_batches(
    mixture: Mixture,
    view: View,
    *,
    batch_size: int,
    word_dropout: WordDropout = NO_WORD_DROPOUT,
    workers: int | None = None,
    world: World = SINGLE,
) -> Generator[TrainingBatch, None, None]:
    """This process's rows of full batches without end.

    What a batch holds depends on the seed and its number alone, not on the number of processes or on an earlier stop.
    A picture that cannot be read is replaced by another of its source, and named; `checked_batches` counts them.

    Args:
        mixture: The sources; moved on.
        view: How an example is seen, each time in another way.
        batch_size: Rows of all processes together.
        word_dropout: How many words are hidden.
        workers: Decoding threads.
        world: The processes.

    Raises:
        BadExample: A picture cannot be read, and neither can those that were tried in its place.
    """
    threads = default_workers() if workers is None else workers
    rows = batch_size // world.size

    def read(draw: Draw) -> _Row:
        return _read(draw, view, word_dropout)

    def submitted(pool: ThreadPoolExecutor) -> tuple[list[Future[_Row]], Position]:
        mine = mixture.next_batch(batch_size)[world.rank * rows : (world.rank + 1) * rows]
        return [pool.submit(read, row.draw()) for row in mine], Position(list(mixture.taken), mixture.batches)

    pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="decode")
    try:
        waiting = deque(submitted(pool) for _ in range(BATCHES_AHEAD if threads else 1))
        while True:
            futures, position = waiting.popleft()
            found = [future.result() for future in futures]
            waiting.append(submitted(pool))
            yield _stack(found, position)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read(draw: Draw, view: View, words: WordDropout) -> _Row:
    wanted, unreadable = draw, dict[str, str]()
    for attempt in range(SUBSTITUTES + 1):
        try:
            pixels = view(wanted.example, np.random.default_rng((*wanted.key, 1)))
        except BadExample as error:
            unreadable = unreadable or {draw.name: str(error)}  # a substitute is counted when it is its own turn
            wanted = draw.feed.replace(draw, attempt)
        else:
            hidden = draw_hidden(words.rate, words.positions, np.random.default_rng((*wanted.key, 3)))
            return _Row(wanted, pixels, unreadable, hidden)
    raise BadExample(
        f"{draw.name} cannot be read, and neither can any of {SUBSTITUTES} others that were tried in its place. "
        f"The first: {unreadable[draw.name]}. Mend the files or fetch them again"
    )


def _stack(rows: list[_Row], position: Position) -> TrainingBatch:
    unreadable = {name: reason for row in rows for name, reason in row.unreadable.items()}
    pixels = torch.from_numpy(np.stack([row.pixels for row in rows]))
    hidden = torch.from_numpy(np.stack([row.hidden for row in rows])) if len(rows[0].hidden) else None
    draws = [row.draw for row in rows]
    captions, examples, names = zip(*((draw.caption, draw.example, draw.name) for draw in draws), strict=True)
    return TrainingBatch(pixels, list(captions), list(examples), list(names), position, unreadable, hidden)
