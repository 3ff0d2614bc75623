"""Examples -> batches of pixels, decoded by threads ahead of the model; what cannot be read is counted and named."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.datasets.example import Example
from coca_cli.errors import BadExample
from coca_cli.media.images import ImageSettings, fit_image, read_image

T = TypeVar("T")
R = TypeVar("R")

MAX_UNREADABLE = 0.05
"""More than this part of a split unreadable is an error: the score would speak of another set."""
EARLY_CHECK = 200
"""After so many examples a run on mostly unreadable data stops, rather than at its end."""
BATCHES_AHEAD = 2
TOLD = 10
"""Unreadable examples that are told one by one; all stand in the run file."""


class Batch(NamedTuple):
    """Pictures and what is known of them.

    Attributes:
        pixels: (B, 3, size, size) uint8, not yet normalised.
        examples: The B examples, in the same order.
    """

    pixels: Tensor
    examples: list[Example]


@dataclass
class Skipped:
    """The examples that could not be read.

    Attributes:
        reasons: Example id -> what is wrong with it.
        seen: Examples tried.
        strict: Stop at the first one.
        allowed: The part of all that may be unreadable; 1 where each answer stands for itself.
    """

    strict: bool = False
    allowed: float = MAX_UNREADABLE
    seen: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, error: BadExample) -> None:
        """Note one.

        Args:
            name: The example's id, with its source where there are several.
            error: What is wrong with it.

        Raises:
            BadExample: In strict mode.
        """
        if self.strict:
            raise BadExample(f"{error}. Stopped because of --strict")
        self.reasons[name] = str(error)

    def tell(self, warn: Callable[[str], None], words: str = "left out") -> None:
        """Name the first of them to the user.

        Args:
            warn: Takes one line for each.
            words: What became of them.
        """
        for reason in list(self.reasons.values())[:TOLD]:
            warn(f"{words}: {reason}")

    def check(self, *, final: bool) -> None:
        """Stop a run whose data is broken.

        Args:
            final: All examples have been tried.

        Raises:
            BadExample: More than 5 % are unreadable.
        """
        if (final or self.seen >= EARLY_CHECK) and len(self.reasons) > self.allowed * self.seen:
            first = next(iter(self.reasons.values()))
            raise BadExample(
                f"{len(self.reasons):,} of {self.seen:,} examples cannot be read, which is more than 5 %: "
                f"too many to go on. The first: {first}. Mend the files or fetch them again"
            )


def default_workers() -> int:
    """Decoding threads: one per core, at most 16; processes that torchrun started on one machine share its cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 16))


def batches(
    examples: Iterable[Example],
    settings: ImageSettings,
    *,
    batch_size: int,
    skipped: Skipped,
    workers: int | None = None,
    border: int = 0,
) -> Iterator[Batch]:
    """Read, fit and stack the first picture of each example, in order; full batches but for the last.

    Args:
        examples: What to read.
        settings: How pictures become the model's input.
        batch_size: B.
        skipped: Takes note of what cannot be read.
        workers: Decoding threads; 0 decodes in the calling thread.
        border: Pixels to cut from each side of every picture.

    Raises:
        BadExample: In strict mode at the first unreadable picture; otherwise when more than 5 % are unreadable.
    """

    def decode(example: Example) -> NDArray[np.uint8]:
        return fit_image(read_image(example.media[0], border), settings)

    kept: list[Example] = []
    pixels: list[NDArray[np.uint8]] = []
    ahead = batch_size * BATCHES_AHEAD
    for example, outcome in decoded(examples, decode, default_workers() if workers is None else workers, ahead):
        skipped.seen += 1
        if isinstance(outcome, BadExample):
            skipped.add(example.id, outcome)
            skipped.check(final=False)
            continue
        kept.append(example)
        pixels.append(outcome)
        if len(kept) == batch_size:
            yield Batch(torch.from_numpy(np.stack(pixels)), kept)
            kept, pixels = [], []
    skipped.check(final=True)
    if kept:
        yield Batch(torch.from_numpy(np.stack(pixels)), kept)


def decoded(
    items: Iterable[T],
    decode: Callable[[T], R],
    workers: int,
    ahead: int,
) -> Iterator[tuple[T, R | BadExample]]:
    """Each item with what is made of it, or with the reason why there are none, in order.

    Args:
        items: What to read.
        decode: Reads one; runs in a thread.
        workers: Threads.
        ahead: How many may be decoded before they are asked for.
    """

    def attempt(item: T) -> R | BadExample:
        try:
            return decode(item)
        except BadExample as error:
            return error

    if workers == 0:
        for item in items:
            yield item, attempt(item)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        source = iter(items)
        waiting: deque[tuple[T, Future[R | BadExample]]] = deque()
        for item in itertools.islice(source, ahead):
            waiting.append((item, pool.submit(attempt, item)))
        while waiting:
            item, future = waiting.popleft()
            outcome = future.result()
            for following in itertools.islice(source, 1):
                waiting.append((following, pool.submit(attempt, following)))
            yield item, outcome
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
