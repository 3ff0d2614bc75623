"""Examples -> their embeddings, from the store where they are there, else from the model; by one process or several."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.datasets.example import Example
from coca_cli.errors import BadExample, CocaError
from coca_cli.media.batches import BATCHES_AHEAD, Skipped, decoded, default_workers
from coca_cli.tasks.feature_store import FeatureStore, Part, parts_of
from coca_cli.world import SINGLE, World, gather_all

Read = Callable[[Example], NDArray[Any]]
Outcome = tuple[Example, NDArray[Any] | BadExample]


class Features(NamedTuple):
    """What a set became.

    Attributes:
        examples: The n that could be read, in order.
        features: (n, ...) one row each.
    """

    examples: list[Example]
    features: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Computing:
    """How features are made where the store has none.

    Attributes:
        read: Decodes an example; runs in threads. Raises BadExample.
        compute: (B, ...) of B decoded examples -> (B, ...) features on the CPU.
        batch_size: B at most.
        workers: Decoding threads; 0 decodes in the calling thread, None takes as many as fit the machine.
        track: Passes the decoded examples of this process on, to show progress.
    """

    read: Read
    compute: Callable[[Tensor], Tensor]
    batch_size: int
    workers: int | None = None
    track: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter


def features_of(
    examples: Sequence[Example],
    store: FeatureStore,
    computing: Computing,
    skipped: Skipped,
    world: World = SINGLE,
) -> Features:
    """The features of all examples that can be read, on every process.

    Args:
        examples: In the order of their set.
        store: Where features are looked up and kept.
        computing: How they are made.
        skipped: Takes note of what cannot be read, of all processes.
        world: The processes that share the parts.

    Raises:
        BadExample: In strict mode at the first unreadable example; otherwise when more than 5 % are unreadable.
    """
    kept: list[Example] = []
    features = torch.empty(0)
    stream = stream_parts(examples, store, computing, skipped, world)
    for members, part in zip(parts_of(examples), stream, strict=True):
        if part.rows and not kept:  # filled as parts come: all of them and their union would be twice the memory
            features = part.features.new_empty(len(examples), *part.features.shape[1:])
        if part.rows:
            features[len(kept) : len(kept) + len(part.rows)] = part.features
        kept += [members[row] for row in part.rows]
    skipped.seen = len(examples)
    skipped.check(final=True)
    return Features(kept, features[: len(kept)])


def stream_parts(
    examples: Sequence[Example], store: FeatureStore, computing: Computing, skipped: Skipped, world: World = SINGLE
) -> Iterator[Part]:
    """The parts in their order, on every process, as they become known; no more are held than there are processes.

    A part is always computed in the same batches, whoever computes it, so that any number of processes gives the same
    numbers. Arguments and errors are those of `features_of`.
    """
    parts = parts_of(examples)
    mine = range(world.rank, len(parts), world.size)
    missing = {number for number in mine if not store.holds(number, parts[number])}
    stream = _decode([parts[number] for number in mine if number in missing], computing)
    for start in range(0, len(parts), world.size):
        number = start + world.rank
        part = None
        if number < len(parts):
            part = None if number in missing else store.read(number, parts[number], seen=True)
            if part is None:  # never there, or gone since
                source = stream if number in missing else _decode([parts[number]], computing)
                part = _compute_part(itertools.islice(source, len(parts[number])), computing, skipped)
                store.write(number, parts[number], part)
        for other, found in zip(parts[start : start + world.size], gather_all(part, world), strict=False):
            for row, reason in found.unreadable.items():
                skipped.add(other[row].id, BadExample(reason))
            yield found


def stored_parts(
    examples: Sequence[Example], store: FeatureStore, computing: Computing, skipped: Skipped, world: World = SINGLE
) -> list[Part]:
    """The parts in their order, on every process, their features mapped from disk where the store keeps them.

    For features that may be larger than the memory. Several processes make parts of their own and read each other's
    from the store, so they need the same one. Arguments and errors are those of `features_of`.
    """
    parts = parts_of(examples)
    mine = range(world.rank, len(parts), world.size)
    missing = [number for number in mine if not store.holds(number, parts[number])]
    stream = _decode([parts[number] for number in missing], computing)
    made: dict[int, Part] = {}
    for number in missing:
        part = _compute_part(itertools.islice(stream, len(parts[number])), computing, Skipped(strict=skipped.strict))
        store.write(number, parts[number], part)
        if store.folder is None:
            made[number] = part
    for others in gather_all(made, world):  # and so wait for all
        made |= others
    found: list[Part] = []
    for number, members in enumerate(parts):
        kept = made.get(number) or store.read(number, members, seen=True)  # by one of the processes
        if kept is None:
            raise CocaError(
                f"the features of part {number} that another process made are not in {store.folder}: give all "
                "processes the same --cache-dir"
            )
        found.append(kept)
        for row, reason in kept.unreadable.items():
            skipped.add(members[row].id, BadExample(reason))
    skipped.seen = len(examples)
    skipped.check(final=True)
    return found


def _decode(parts: Sequence[Sequence[Example]], computing: Computing) -> Iterator[Outcome]:
    threads = default_workers() if computing.workers is None else computing.workers
    wanted = itertools.chain.from_iterable(parts)
    return iter(computing.track(decoded(wanted, computing.read, threads, computing.batch_size * BATCHES_AHEAD)))


def _compute_part(outcomes: Iterator[Outcome], computing: Computing, skipped: Skipped) -> Part:
    rows: list[int] = []
    unreadable: dict[int, str] = {}
    features: list[Tensor] = []
    waiting: list[NDArray[Any]] = []
    for number, (example, outcome) in enumerate(outcomes):
        skipped.seen += 1
        if isinstance(outcome, BadExample):
            unreadable[number] = str(outcome)
            skipped.add(example.id, outcome)
            skipped.check(final=False)
            continue
        rows.append(number)
        waiting.append(outcome)
        if len(waiting) == computing.batch_size:
            features.append(computing.compute(torch.from_numpy(np.stack(waiting))))
            waiting = []
    if waiting:
        features.append(computing.compute(torch.from_numpy(np.stack(waiting))))
    return Part(rows, torch.cat(features) if features else torch.empty(0), unreadable)
