"""What goes wrong on one of several processes, as each of them meets it; importable by them."""

from __future__ import annotations

import json
import time
from contextlib import closing
from itertools import islice
from pathlib import Path

import torch
import torch.multiprocessing

from coca_cli.datasets.sources import Source
from coca_cli.errors import CocaError
from coca_cli.media.batches import Skipped
from coca_cli.media.images import ImageSettings
from coca_cli.model.tokenizer import ClipTokenizer
from coca_cli.options import OptimizerChoice
from coca_cli.training.augment import Augmentation
from coca_cli.training.batches import training_batches
from coca_cli.training.checkpoints import TrainingState, save_checkpoint
from coca_cli.training.mixture import Feed, Mixture
from coca_cli.training.optim import build_optimizer
from coca_cli.training.unreadable import checked_batches
from coca_cli.world import SINGLE, World, wait_for_all
from tests.tasks.tiny import CONTEXT, tiny_coca
from tests.training.pictures import broken, pairs, with_broken
from tests.training.worlds import one_of

CPU = torch.device("cpu")
PATIENCE = 120.0
"""Seconds until two processes that wait for each other are ended; they need about ten."""
MANY_PASSES = 60


def two_meet(folder: Path) -> list[dict[str, str]]:
    """What each of two processes says of each thing that goes wrong.

    Raises:
        AssertionError: They still wait for each other after a long time.
    """
    running = torch.multiprocessing.spawn(meet_failures, (2, str(folder)), nprocs=2, join=False)
    try:
        deadline = time.monotonic() + PATIENCE
        while not running.join(timeout=1):
            assert time.monotonic() < deadline, "one waits for another that has failed"
    finally:
        for process in running.processes:
            process.kill()
    return [json.loads((folder / f"said-{rank}.json").read_text()) for rank in range(2)]


def meet_failures(rank: int, size: int, folder: str) -> None:
    """Meet all of them, and write what they say into a file."""
    with one_of(rank, size, folder) as world:
        said = {
            "a file in the folder's place": save_where_a_file_is(Path(folder), world),
            "strict": read(with_broken(25, 1), 8, world, strict=True),
            "too many": read(with_broken(25, 2), 8, world),
            "few, many times": read(with_broken(25, 1), MANY_PASSES, world),
            "none readable": read(pairs(broken(2)), 1, world),
        }
    (Path(folder) / f"said-{rank}.json").write_text(json.dumps(said))


def save_where_a_file_is(folder: Path, world: World) -> str:
    """The first process cannot make the folder; when it can, saving works."""
    model = tiny_coca(0, "text.vocab_size=49408")
    state = TrainingState(model, build_optimizer(model, OptimizerChoice.adamw, 1e-3, 0.0))
    tokenizer, obstacle = ClipTokenizer(CONTEXT), folder / "checkpoints"
    if world.first:
        obstacle.write_text("no folder")
    wait_for_all(world)
    try:
        save_checkpoint(folder, state, tokenizer.save, {}, world, keep=1)
    except CocaError as error:
        said = str(error)
    wait_for_all(world)
    if world.first:
        obstacle.unlink()
    save_checkpoint(folder, state, tokenizer.save, {}, world, keep=1)
    return said


def read(source: Source, batches: int, world: World = SINGLE, *, strict: bool = False, batch_size: int = 4) -> str:
    """How many batches were read, and what was said of them."""
    mixture, skipped = Mixture([Feed(source, 0, 0)], [1.0], 0), Skipped(strict=strict)
    data = training_batches(
        mixture, Augmentation(min_area=1.0).view(ImageSettings(size=8)), batch_size=batch_size, workers=0, world=world
    )
    number = 0
    try:
        with closing(checked_batches(data, mixture, skipped, world, CPU)) as checked:
            for _ in islice(checked, batches):
                number += 1
    except CocaError as error:
        return f"{number}: {error}"
    return f"{number}: {len(skipped.reasons)} of {skipped.seen}: {skipped.reasons}"
