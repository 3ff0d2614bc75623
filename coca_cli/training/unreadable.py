"""Training pictures that cannot be read, counted over all processes, so that all of them stop alike."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

import torch

from coca_cli.errors import BadExample, CocaError
from coca_cli.media.batches import EARLY_CHECK, MAX_UNREADABLE, Skipped
from coca_cli.tasks.intervals import wilson
from coca_cli.training.batches import TrainingBatch
from coca_cli.training.distributed import sum_over
from coca_cli.training.mixture import Mixture
from coca_cli.world import World, gather_all


def checked_batches(
    batches: Generator[TrainingBatch, None, None],
    mixture: Mixture,
    skipped: Skipped,
    world: World,
    device: torch.device,
) -> Generator[TrainingBatch, None, None]:
    """The same batches, as long as they can be read; what ends them on one process ends them on all.

    Each picture counts once, however often it is drawn and on whichever process. When every source has been read once,
    more than 5 % unreadable are too many. Before that, and of streams whose length nobody knows, the run stops only
    when it is beyond chance: when 200 have been tried and the whole 95 % interval of the rate lies above 5 %.

    Args:
        batches: This process's; closed with this generator.
        mixture: Where they come from, before the first is taken.
        skipped: Takes note of pictures that cannot be read; the same on all processes.
        world: The processes; all of them ask for each batch.
        device: Where this process computes.

    Raises:
        BadExample: Too many pictures cannot be read, or any in strict mode.
        CocaError: What the batches raise, on this or on another process.
    """
    begun = list(mixture.taken)
    with closing(batches):
        while True:
            batch, problem = _next(batches)
            known = skipped.reasons
            new = {} if batch is None else {n: reason for n, reason in batch.unreadable.items() if n not in known}
            problem, new = _share(problem, new, world, device)
            if problem is not None:
                raise problem
            assert batch is not None
            for name, reason in new.items():
                skipped.add(name, BadExample(reason))
            drawn = [now - then for now, then in zip(batch.position.taken, begun, strict=True)]
            sizes = [feed.size for feed in mixture.feeds]
            skipped.seen = sum(n if size is None else min(n, size) for n, size in zip(drawn, sizes, strict=True))
            if skipped.seen == mixture.size or _beyond_chance(skipped):
                skipped.check(final=True)
            yield batch


def _beyond_chance(skipped: Skipped) -> bool:
    return skipped.seen >= EARLY_CHECK and wilson(len(skipped.reasons), skipped.seen).low > MAX_UNREADABLE


def _next(batches: Generator[TrainingBatch, None, None]) -> tuple[TrainingBatch | None, CocaError | None]:
    try:
        return next(batches), None
    except CocaError as error:
        return None, error


def _share(
    problem: CocaError | None, new: dict[str, str], world: World, device: torch.device
) -> tuple[CocaError | None, dict[str, str]]:
    """What any process has met; the same on all of them."""
    if world.size == 1:
        return problem, new
    if not sum_over(torch.tensor(len(new) + int(problem is not None), device=device), world).item():
        return None, {}
    parts = gather_all((problem, new), world)
    first = next((found for found, _ in parts if found is not None), None)
    return first, {name: reason for _, part in parts for name, reason in part.items()}
