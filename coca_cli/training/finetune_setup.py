"""What finetuning a model with a new head needs, whatever the head is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from coca_cli.errors import BadCheckpoint, CocaError
from coca_cli.model.checkpoint import load
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import choose_precision
from coca_cli.model.tokenizer import ClipTokenizer, SentencePieceTokenizer
from coca_cli.training.checkpoints import TrainingState
from coca_cli.training.distributed import parallelise
from coca_cli.training.ema import Ema
from coca_cli.training.heap import choose_heap
from coca_cli.training.loop import Execution
from coca_cli.training.optim import build_optimizer
from coca_cli.training.run_request import RunRequest
from coca_cli.training.schedule import Schedule

Tokenizer = ClipTokenizer | SentencePieceTokenizer
S = TypeVar("S", bound="HeadSchedule")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSchedule(Schedule):
    """The numbers of finetuning a model with a new head; `learning_rate` is the model's.

    Attributes:
        head_learning_rate: The head's peak.
    """

    head_learning_rate: float = 5e-4


class StartingModel(NamedTuple):
    """What finetuning begins with.

    Attributes:
        coca: In fp32 on the CPU.
        tokenizer: Its tokenizer.
        name: What the user called it.
        checkpoint: Short hash of its weights.
    """

    coca: CoCa
    tokenizer: Tokenizer
    name: str
    checkpoint: str


def load_start(model: str, pretrained: str | None, image_size: int | None) -> StartingModel:
    """The model to begin with.

    Raises:
        BadCheckpoint: It is no CoCa.
        CocaError: It cannot be loaded.
    """
    loaded = load(model, pretrained, image_size)
    if not isinstance(loaded.model, CoCa) or not isinstance(loaded.tokenizer, Tokenizer):
        raise BadCheckpoint(f"{loaded.name} is no CoCa, and only CoCa models are finetuned here: give one with --model")
    return StartingModel(loaded.model, loaded.tokenizer, loaded.name, loaded.checkpoint)


def settle_schedule(schedule: S, epochs: float | None, examples: int, device: torch.device) -> S:
    """The schedule with its precision and steps settled.

    Args:
        schedule: What the user asked.
        epochs: Passes over the data in place of its steps; None for those.
        examples: To train on.
        device: Where.

    Raises:
        CocaError: The examples do not fill a batch, or the precision is not for training.
    """
    schedule = replace(schedule, precision=choose_precision(schedule.precision, device))
    if schedule.precision == "fp16":
        raise CocaError("--precision fp16 is not for training here: its range is too small; use bf16 or fp32")
    if epochs is not None:
        schedule = replace(schedule, steps=max(1, round(epochs * examples / schedule.batch_size)))
    if examples < schedule.batch_size:
        raise CocaError(
            f"{examples:,} training examples do not fill one batch of {schedule.batch_size}; "
            "give more data or a smaller --batch-size"
        )
    return schedule


def assemble(
    model: nn.Module,
    objective: nn.Module,
    layers: Sequence[nn.Module],
    schedule: HeadSchedule,
    peaks: Mapping[str, float],
    request: RunRequest,
    execution: Execution,
) -> tuple[TrainingState, nn.Module]:
    """The state of a run, and its objective as all processes compute it together.

    Args:
        model: On its device.
        objective: Holds the model.
        layers: What fsdp cuts into shards one by one.
        schedule: The numbers.
        peaks: The peak rate of each parameter by name.
        request: What the user asked.
        execution: On what.
    """
    choose_heap(sum(parameter.numel() for parameter in model.parameters()))
    shared = parallelise(objective, layers, request.parallel, execution.world, execution.device)
    if request.compile:
        shared.compile(dynamic=True)
    optimizer = build_optimizer(model, schedule.optimizer, schedule.learning_rate, schedule.weight_decay, dict(peaks))
    return TrainingState(model, optimizer, Ema(model, schedule.ema) if schedule.ema else None), shared


def weights_below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}


def describe_schedule(schedule: HeadSchedule, examples: int) -> str:
    """One line for the user.

    Args:
        schedule: The numbers.
        examples: To train on.
    """
    passes = schedule.steps * schedule.batch_size / examples
    return (
        f"schedule: {schedule.steps:,} steps of {schedule.batch_size} ({passes:.1f} passes), {schedule.optimizer}, "
        f"peak rate {schedule.learning_rate:g}, {schedule.head_learning_rate:g} for the head, {schedule.decay} decay, "
        f"{schedule.precision}"
    )
