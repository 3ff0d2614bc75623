"""The training loop: one step after the other, on one process or many, whatever is learned."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from coca_cli.errors import CocaError
from coca_cli.files import written_whole
from coca_cli.options import Parallel
from coca_cli.progress import Reporter
from coca_cli.training.batches import Position, TrainingBatch
from coca_cli.training.checkpoints import TrainingState
from coca_cli.training.distributed import average_whole_gradients, gather_texts
from coca_cli.training.optim import clip_gradients, learning_rate_at, set_rates
from coca_cli.training.schedule import Schedule
from coca_cli.world import World

BAD_BATCH_FILE = "bad_batch.json"


class StepLosses(NamedTuple):
    """What a batch cost.

    Attributes:
        total: What is minimised.
        parts: Further numbers of the step by name, of the whole batch over all processes.
        operations: Floating-point operations of this process.
    """

    total: float
    parts: dict[str, float]
    operations: float


class Work(Protocol):
    """What is learned: the loop knows steps, rates and norms, the work knows the model and its losses."""

    @property
    def state(self) -> TrainingState:
        """The model, its optimiser and its average."""
        ...

    @property
    def noun(self) -> str:
        """What the examples are: pairs, pictures, clips."""
        ...

    def backward(self, batch: TrainingBatch, step: int) -> StepLosses:
        """Add the gradient of a batch to the parameters.

        Args:
            batch: This process's rows.
            step: Steps done before.
        """
        ...

    def settle(self) -> None:
        """Bring weights back into their bounds after the optimiser's step."""
        ...


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did.

    Attributes:
        step: Steps done, from 1.
        loss: What was minimised.
        parts: Further numbers by name.
        gradient_norm: Before clipping.
        learning_rate: Of this step.
        per_second: Examples.
        utilisation: Part of what the machine could compute.
        noun: What the examples are.
    """

    step: int
    loss: float
    parts: Mapping[str, float]
    gradient_norm: float
    learning_rate: float
    per_second: float
    utilisation: float
    noun: str = "pairs"

    def numbers(self) -> dict[str, float]:
        """All but the step, as metrics.jsonl has it."""
        return {
            "loss": self.loss,
            **self.parts,
            "gradient_norm": self.gradient_norm,
            "learning_rate": self.learning_rate,
            f"{self.noun}_per_second": self.per_second,
            "utilisation": self.utilisation,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How the steps are computed; none of it changes what is learned.

    Attributes:
        device: Where.
        world: The processes.
        parallel: How they share the model.
        accumulate: Parts that each batch goes through the model in.
        peak: Operations per second that one process could reach.
    """

    device: torch.device
    world: World
    parallel: Parallel
    accumulate: int
    peak: float


def train(
    work: Work,
    data: Iterator[TrainingBatch],
    schedule: Schedule,
    execution: Execution,
    reporter: Reporter,
    folder: Path,
) -> Iterator[tuple[StepReport, Position]]:
    """Train in place; yields after every step, so that the caller can save, evaluate and stop.

    Args:
        work: What is learned; moved on from its state's step to the schedule's last.
        data: Endless batches, this process's share.
        schedule: How.
        execution: On what.
        reporter: Shows losses, examples per second and time left.
        folder: Where the names of a batch go that ends the training.

    Yields:
        What the step did, and where the data stands after it.

    Raises:
        CocaError: Loss or gradient are no numbers any more.
    """
    state = work.state
    state.model.train()
    warmup, size = round(schedule.warmup * schedule.steps), schedule.batch_size
    steps = range(state.step, schedule.steps)
    for step in reporter.track(steps, total=len(steps) * size, label=work.noun, size=lambda _: size):
        start = time.perf_counter()
        rate = learning_rate_at(
            step, steps=schedule.steps, warmup=warmup, peak=schedule.learning_rate, decay=schedule.decay
        )
        set_rates(state.optimizer, step, steps=schedule.steps, warmup=warmup, decay=schedule.decay)
        batch = next(data)
        state.optimizer.zero_grad(set_to_none=True)
        losses = work.backward(batch, step)
        average_whole_gradients(state.model, execution.parallel, execution.world)
        norm = clip_gradients(state.model, schedule.clip).item()
        if not math.isfinite(losses.total + norm):
            raise _no_number(losses, norm, step + 1, rate, batch, execution.world, folder)
        state.optimizer.step()
        work.settle()
        state.step = step + 1
        if state.ema is not None:
            state.ema.update(state.model, state.step)
        seconds = time.perf_counter() - start
        report = StepReport(
            step=state.step,
            loss=losses.total,
            parts=losses.parts,
            gradient_norm=norm,
            learning_rate=rate,
            per_second=round(size / seconds, 1),
            utilisation=round(losses.operations / seconds / execution.peak, 4),
            noun=work.noun,
        )
        reporter.detail = _detail(report)
        yield report, batch.position
    reporter.detail = ""


def _detail(report: StepReport) -> str:
    parts = ", ".join(f"{name} {value:.2f}" for name, value in report.parts.items() if name != "temperature")
    shown = [f"loss {report.loss:.2f} ({parts})"]
    if "temperature" in report.parts:
        shown.append(f"temperature {report.parts['temperature']:.3f}")
    return ", ".join([*shown, f"gradient {report.gradient_norm:.2f}", f"{report.utilisation:.0%} of peak"])


def _no_number(
    losses: StepLosses, norm: float, step: int, rate: float, batch: TrainingBatch, world: World, folder: Path
) -> CocaError:
    names = gather_texts(batch.names, world)
    path = folder / BAD_BATCH_FILE
    if world.first:
        described: dict[str, Any] = {"step": step, "learning_rate": rate, "gradient_norm": str(norm)}
        described |= {name: str(value) for name, value in {"total": losses.total, **losses.parts}.items()}
        described["examples"] = names
        with written_whole(path) as file:
            file.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    what = f"the loss is {losses.total}" if not math.isfinite(losses.total) else f"the gradient's norm is {norm}"
    return CocaError(
        f"{what} at step {step} (learning rate {rate:.2e}): training stopped, and the last checkpoint is as it was. "
        f"The batch's {len(names)} examples stand in {path} ({', '.join(names[:3])} ...). "
        "Use a lower --learning-rate or a longer --warmup, or look at these examples"
    )
