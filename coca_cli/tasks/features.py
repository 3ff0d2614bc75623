"""Examples -> their embeddings, from the store where they are there, else from the model; by one process or several."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.datasets.example import Example
from coca_cli.errors import BadExample
from coca_cli.media.batches import BATCHES_AHEAD, Skipped, decoded, default_workers
from coca_cli.tasks.feature_store import FeatureStore, Part, join_parts, parts_of
from coca_cli.world import SINGLE, World, gather_all

Read = Callable[[Example], NDArray[np.uint8]]
Outcome = tuple[Example, NDArray[np.uint8] | BadExample]


class Features(NamedTuple):
    """What a set became.

    Attributes:
        examples: The n that could be read, in order.
        features: (n, ...) one row each.
    """

    examples: list[Example]
    features: Tensor


def features_of(
    examples: Sequence[Example],
    store: FeatureStore,
    read: Read,
    compute: Callable[[Tensor], Tensor],
    *,
    batch_size: int,
    skipped: Skipped,
    workers: int | None = None,
    world: World = SINGLE,
    track: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
) -> Features:
    """The features of all examples that can be read.

    A part is always computed in the same batches, whoever computes it, so that any number of processes gives the same
    numbers.

    Args:
        examples: In the order of their set.
        store: Where features are looked up and kept.
        read: Decodes an example; runs in threads. Raises BadExample.
        compute: (B, ...) uint8 of B decoded examples -> (B, ...) features on the CPU.
        batch_size: B at most.
        skipped: Takes note of what cannot be read, of all processes.
        workers: Decoding threads; 0 decodes in the calling thread.
        world: The processes that share the parts.
        track: Passes the decoded examples of this process on, to show progress.

    Raises:
        BadExample: In strict mode at the first unreadable example; otherwise when more than 5 % are unreadable.
    """
    parts = parts_of(examples)
    mine = range(world.rank, len(parts), world.size)
    found = {number: part for number in mine if (part := store.read(number, parts[number])) is not None}
    missing = [number for number in mine if number not in found]
    wanted = itertools.chain.from_iterable(parts[number] for number in missing)
    threads = default_workers() if workers is None else workers
    stream = iter(track(decoded(wanted, read, threads, batch_size * BATCHES_AHEAD)))
    for number in missing:
        found[number] = _compute_part(itertools.islice(stream, len(parts[number])), compute, batch_size, skipped)
        store.write(number, parts[number], found[number])
    everything = {number: part for share in gather_all(found, world) for number, part in share.items()}
    ordered = [everything[number] for number in range(len(parts))]
    skipped.seen = len(examples)
    for part, members in zip(ordered, parts, strict=True):
        for row, reason in part.unreadable.items():
            skipped.add(members[row].id, BadExample(reason))
    skipped.check(final=True)
    kept = [members[row] for part, members in zip(ordered, parts, strict=True) for row in part.rows]
    return Features(kept, join_parts(ordered) if ordered else torch.empty(0))


def _compute_part(
    outcomes: Iterator[Outcome], compute: Callable[[Tensor], Tensor], batch_size: int, skipped: Skipped
) -> Part:
    rows: list[int] = []
    unreadable: dict[int, str] = {}
    features: list[Tensor] = []
    waiting: list[NDArray[np.uint8]] = []
    for number, (example, outcome) in enumerate(outcomes):
        skipped.seen += 1
        if isinstance(outcome, BadExample):
            unreadable[number] = str(outcome)
            skipped.add(example.id, outcome)
            skipped.check(final=False)
            continue
        rows.append(number)
        waiting.append(outcome)
        if len(waiting) == batch_size:
            features.append(compute(torch.from_numpy(np.stack(waiting))))
            waiting = []
    if waiting:
        features.append(compute(torch.from_numpy(np.stack(waiting))))
    return Part(rows, torch.cat(features) if features else torch.empty(0), unreadable)
