"""Checkpoints to go on from: weights, optimiser, average, place in the data. Written whole or not at all.

Every process writes its own shards as safetensors through torch.distributed.checkpoint, and any number of processes can
read them again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.tensor import DTensor

from coca_cli.errors import BadCheckpoint, CocaError, MissingFile
from coca_cli.files import make_folder
from coca_cli.json_text import parse_json
from coca_cli.model.sharded_weights import AVERAGE, MODEL, read_shards, write_shards
from coca_cli.training.ema import Ema
from coca_cli.world import World, gather_all

CHECKPOINTS = "checkpoints"
STATE_FILE = "state.json"
UNFINISHED = ".part"


@dataclass
class TrainingState:
    """What training changes, and so what a checkpoint holds.

    Attributes:
        model: In place, in shards where it is shared.
        optimizer: Of its trained parameters.
        ema: The average of the weights, if there is one.
        step: Steps done.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema | None = None
    step: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name; changes of the tensors change the training."""
        found = {f"{MODEL}{name}": parameter.detach() for name, parameter in self.model.named_parameters()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    found[f"optimizer.{name}.{key}"] = value
        if self.ema is not None:
            found |= {f"{AVERAGE}{name}": weight for name, weight in self.ema.weights.items()}
        return found


def save_checkpoint(
    run: Path,
    state: TrainingState,
    describe: Callable[[Path], None],
    facts: Mapping[str, Any],
    world: World,
    keep: int,
) -> Path:
    """Write checkpoints/step-N below the run folder, then remove older ones.

    Args:
        run: The run folder.
        state: What to keep.
        describe: Writes into the folder it gets what makes of the weights a model that can be loaded.
        facts: JSON beside it, such as the place in the data.
        world: The processes; all of them call this.
        keep: Checkpoints that stay.

    Raises:
        CocaError: It cannot be written, for instance because the disk is full; earlier checkpoints stay.
    """
    final = run / CHECKPOINTS / f"step-{state.step:08d}"
    unfinished = final.with_name(f".{final.name}{UNFINISHED}")

    def make() -> None:
        if world.first:
            shutil.rmtree(unfinished, ignore_errors=True)
            make_folder(unfinished)

    def write() -> None:
        write_shards(unfinished, state.tensors())
        if world.first:
            describe(unfinished)
            (unfinished / STATE_FILE).write_text(json.dumps({"step": state.step, **facts}, indent=2) + "\n")
            _flush_to_disk(unfinished)
            shutil.rmtree(final, ignore_errors=True)
            unfinished.rename(final)

    problem = _first_problem(make, world) or _first_problem(write, world)
    if problem:
        if world.first:
            shutil.rmtree(unfinished, ignore_errors=True)
        last = latest_checkpoint(run)
        earlier = f"the last good one is {last.name}" if last else "there is no earlier one"
        raise CocaError(
            f"the checkpoint of step {state.step} cannot be written to {final.parent} "
            f"({problem}); {earlier}. Make room and run the same command again"
        )
    if world.first:
        for old in _checkpoints(run)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    return final


def latest_checkpoint(run: Path) -> Path | None:
    """The newest whole checkpoint of a run folder."""
    found = _checkpoints(run)
    return found[-1] if found else None


def read_facts(checkpoint: Path) -> dict[str, Any]:
    """The JSON beside a checkpoint.

    Raises:
        MissingFile: It is no checkpoint.
        BadCheckpoint: It is damaged.
    """
    path = checkpoint / STATE_FILE
    try:
        facts = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFile(f"no {STATE_FILE} in {checkpoint}: it is not a checkpoint of coca pretrain") from None
    except ValueError:
        raise BadCheckpoint(
            f"{path} is damaged: it should be JSON; remove {checkpoint} to go on from an earlier one"
        ) from None
    if not isinstance(facts, dict) or type(facts.get("step")) is not int:
        raise BadCheckpoint(f"{path} does not say its step; remove {checkpoint} to go on from an earlier one")
    return facts


def load_checkpoint(checkpoint: Path, state: TrainingState) -> None:
    """Put a checkpoint in the place of the weights, the optimiser's memory and the average.

    Args:
        checkpoint: From `latest_checkpoint`; may come from another number of processes.
        state: Changed in place; all processes call this.

    Raises:
        BadCheckpoint: It is damaged or of another model.
    """
    _fill_optimizer(state.optimizer)
    read_shards(checkpoint, state.tensors())
    state.step = int(read_facts(checkpoint)["step"])


def whole_weights(state: TrainingState) -> dict[str, Tensor]:
    """The weights to evaluate, on the CPU: the average where there is one. All processes call this."""
    weights = state.ema.weights if state.ema else {n: p.detach() for n, p in state.model.named_parameters()}
    return {n: (w.full_tensor() if isinstance(w, DTensor) else w).cpu() for n, w in weights.items()}


def _fill_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Let the optimiser make its memory, with a step that changes nothing."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _checkpoints(run: Path) -> list[Path]:
    found = (run / CHECKPOINTS).glob("step-*") if (run / CHECKPOINTS).is_dir() else []
    return sorted(path for path in found if (path / STATE_FILE).is_file())


def _first_problem(work: Callable[[], None], world: World) -> str | None:
    """Do it; what went wrong on any process, the same on all of them, so that none waits for one that has failed."""
    problem: str | None = None
    try:
        work()
    except (OSError, RuntimeError, CocaError, CheckpointException) as error:  # safetensors raises its own
        problem = _reason(error)
    return next(filter(None, gather_all(problem, world)), None)


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _flush_to_disk(folder: Path) -> None:
    """So that a checkpoint that has its name also has its bytes after a power cut."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
