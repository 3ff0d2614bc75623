"""Training batches: a process's share of each batch, decoded ahead of the model."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.errors import BadExample
from coca_cli.media.batches import Skipped, default_workers
from coca_cli.media.images import ImageSettings, read_image
from coca_cli.training.augment import Augmentation
from coca_cli.training.distributed import SINGLE, World
from coca_cli.training.mixture import Draw, Feed, Mixture

BATCHES_AHEAD = 3
ATTEMPTS = 50
"""Other pictures that are tried in the place of one that cannot be read."""


class Position(NamedTuple):
    """Where the data stands after a batch, for going on later.

    Attributes:
        taken: Examples that each source has given.
        batches: Batches given.
    """

    taken: list[int]
    batches: int


class TrainingBatch(NamedTuple):
    """Pictures and one caption each.

    Attributes:
        pixels: (B, 3, size, size) uint8.
        captions: B texts.
        names: B names of source and example, for messages.
        position: Where the data stands after this batch.
    """

    pixels: Tensor
    captions: list[str]
    names: list[str]
    position: Position


class _Row(NamedTuple):
    draw: Draw
    pixels: NDArray[np.uint8] | None  # None where nothing could be read
    unreadable: list[tuple[Draw, BadExample]]


def training_batches(
    mixture: Mixture,
    settings: ImageSettings,
    augmentation: Augmentation,
    *,
    batch_size: int,
    skipped: Skipped,
    workers: int | None = None,
    world: World = SINGLE,
) -> Iterator[TrainingBatch]:
    """This process's rows of full batches without end.

    What a batch holds depends on the seed and its number alone, not on the number of processes or on an earlier stop.
    A picture that cannot be read is replaced by another of its source.

    Args:
        mixture: The sources; moved on.
        settings: The model's image settings.
        augmentation: What is done to pictures.
        batch_size: Rows of all processes together.
        skipped: Takes note of pictures that cannot be read.
        workers: Decoding threads.
        world: The processes.

    Raises:
        BadExample: More than 5 % of the pictures cannot be read, or any in strict mode.
    """
    threads = default_workers() if workers is None else workers
    rows = batch_size // world.size

    def read(draw: Draw) -> _Row:
        return _read(draw, settings, augmentation)

    def submitted(pool: ThreadPoolExecutor) -> tuple[list[Future[_Row]], Position]:
        mine = mixture.next_batch(batch_size)[world.rank * rows : (world.rank + 1) * rows]
        return [pool.submit(read, row.draw()) for row in mine], Position(list(mixture.taken), mixture.batches)

    drawn: Counter[Feed] = Counter()
    pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="decode")
    try:
        waiting = deque(submitted(pool) for _ in range(BATCHES_AHEAD if threads else 1))
        while True:
            futures, position = waiting.popleft()
            found = [future.result() for future in futures]
            waiting.append(submitted(pool))
            _take_note(found, skipped, drawn)
            skipped.check(final=mixture.size is not None and skipped.seen >= mixture.size)
            yield _stack(found, position)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read(draw: Draw, settings: ImageSettings, augmentation: Augmentation) -> _Row:
    unreadable: list[tuple[Draw, BadExample]] = []
    wanted: Draw | None = draw
    for attempt in range(ATTEMPTS):
        if wanted is None:
            break
        try:
            picture = read_image(wanted.example.media[0])
        except BadExample as error:
            unreadable.append((wanted, error))
            wanted = draw.feed.replace(draw, attempt)
        else:
            random = np.random.default_rng((*wanted.key, 1))
            return _Row(wanted, augmentation(picture, settings, random), unreadable)
    return _Row(draw, None, unreadable)


def _take_note(rows: list[_Row], skipped: Skipped, drawn: Counter[Feed]) -> None:
    """Each picture counts once, however often it is drawn: else a small set with broken pictures would pass in time."""
    for row in rows:
        drawn[row.draw.feed] += 1
        for draw, error in row.unreadable:
            skipped.add(draw.name, error)
    seen = sum(times if feed.size is None else min(times, feed.size) for feed, times in drawn.items())
    skipped.seen = max(seen, len(skipped.reasons))  # replacements can be met before it is their turn


def _stack(rows: list[_Row], position: Position) -> TrainingBatch:
    """A row of a stream that cannot be read repeats another of the batch."""
    readable = [row for row in rows if row.pixels is not None]
    if not readable:
        raise BadExample(f"no picture of a whole batch can be read; the first: {rows[0].unreadable[0][1]}")
    rows = [row if row.pixels is not None else readable[i % len(readable)] for i, row in enumerate(rows)]
    pixels = torch.from_numpy(np.stack([row.pixels for row in rows if row.pixels is not None]))
    return TrainingBatch(pixels, [row.draw.caption for row in rows], [row.draw.name for row in rows], position)
