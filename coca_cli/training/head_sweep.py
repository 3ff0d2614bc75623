"""Several task heads trained side by side on the same batches: learning rates and weight decays to choose among."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from coca_cli.errors import CocaError
from coca_cli.model.task_head import TaskHead, side_by_side
from coca_cli.options import DecayChoice, OptimizerChoice
from coca_cli.progress import Reporter
from coca_cli.training.clipped_adafactor import ClippedAdafactor
from coca_cli.training.ema import Ema
from coca_cli.training.optim import build_optimizer, clip_gradients, set_rates
from coca_cli.world import SINGLE, World

ROWS = 256
"""Examples that are scored at once; always the same, so that sums are."""


class Setting(NamedTuple):
    """What tells one head of a sweep from another."""

    learning_rate: float
    weight_decay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRecipe:
    """The numbers that all heads of a sweep share.

    Attributes:
        steps: Optimiser steps.
        batch_size: Examples per step, of all processes together.
        warmup: Part of the steps in which the rate rises.
        decay: How it falls then.
        optimizer: Which.
        clip: Largest gradient norm of each head; 0 for no clipping.
        ema: Part of the moving average of the weights that stays at each step; 0 for no average.
        label_smoothing: Part of each target that is spread over all classes.
        seed: Of the first weights and the order.
    """

    steps: int
    batch_size: int
    warmup: float = 0.0
    decay: DecayChoice = DecayChoice.cosine
    optimizer: OptimizerChoice = OptimizerChoice.adafactor
    clip: float = 1.0
    ema: float = 0.9999
    label_smoothing: float = 0.0
    seed: int = 0


class HeadBatch(NamedTuple):
    """What heads are trained on in one step.

    Attributes:
        tokens: (B, N, W) of pictures, (B, F, N, W) of clips.
        labels: (B,) their classes.
    """

    tokens: Tensor
    labels: Tensor


class HeadScore(NamedTuple):
    """How good a head is on a validation set.

    Attributes:
        accuracy: top-1 in [0, 1].
        loss: Mean cross-entropy.
    """

    accuracy: float
    loss: float


def train_heads(
    build: Callable[[], TaskHead],
    settings: Sequence[Setting],
    batches: Iterator[HeadBatch],
    recipe: HeadRecipe,
    reporter: Reporter,
    world: World = SINGLE,
    device: torch.device | None = None,
) -> list[TaskHead]:
    """One head per setting, all begun with the same weights; each ends as it would alone.

    Args:
        build: Makes a head.
        settings: S of them.
        batches: Endless batches, this process's rows of each.
        recipe: How.
        reporter: Shows progress.
        world: The processes.
        device: Where.

    Returns:
        S heads with the averaged weights, where there is an average.

    Raises:
        CocaError: A loss is no number any more.
    """
    torch.manual_seed(recipe.seed)
    first = build()
    heads = [build() for _ in settings]
    for head in heads:
        head.load_state_dict(first.state_dict())
        head.to(device)
    optimizers = [_optimizer(head, recipe, setting) for head, setting in zip(heads, settings, strict=True)]
    averages = [Ema(head, recipe.ema) for head in heads] if recipe.ema else []
    warmup = round(recipe.warmup * recipe.steps)
    size = recipe.batch_size
    drawn = itertools.islice(batches, recipe.steps)
    for step, batch in enumerate(
        reporter.track(drawn, total=recipe.steps * size, label="training heads", size=lambda _: size)
    ):
        wanted = batch.labels.to(device)
        logits = side_by_side(heads, batch.tokens.to(device))  # (S, B, C)
        losses = torch.stack([F.cross_entropy(one, wanted, label_smoothing=recipe.label_smoothing) for one in logits])
        _refuse_no_number(losses, settings, step)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses.sum())  # no head's loss moves another's weights
        for head, optimizer in zip(heads, optimizers, strict=True):
            _average_gradients(head, world)
            if not isinstance(optimizer, ClippedAdafactor):
                clip_gradients(head, recipe.clip)
            set_rates(optimizer, step, steps=recipe.steps, warmup=warmup, decay=recipe.decay)
            optimizer.step()
        for head, average in zip(heads, averages, strict=False):
            average.update(head, step + 1)
        reporter.detail = f"loss {losses.min().item():.3f} to {losses.max().item():.3f}"
    reporter.detail = ""
    for head, average in zip(heads, averages, strict=False):
        head.load_state_dict(average.weights)
    return [head.eval() for head in heads]


@torch.inference_mode()
def head_logits(
    heads: Sequence[TaskHead], take: Callable[[Sequence[int]], Tensor], n: int, device: torch.device | None = None
) -> Tensor:
    """What each head says of n examples, (S, n, C) fp32 on the CPU."""
    parts = [range(start, min(n, start + ROWS)) for start in range(0, n, ROWS)]
    return torch.cat([side_by_side(heads, take(rows).to(device)).cpu() for rows in parts], dim=1)


def score_heads(logits: Tensor, labels: Tensor) -> list[HeadScore]:
    """Accuracy and loss of each head.

    Args:
        logits: (S, n, C).
        labels: (n,).
    """
    return [
        HeadScore((one.argmax(dim=1) == labels).float().mean().item(), F.cross_entropy(one, labels).item())
        for one in logits
    ]


def best_head(scores: Sequence[HeadScore]) -> int:
    """The number of the most accurate head; among equals the one with the least loss."""
    return max(range(len(scores)), key=lambda number: (scores[number].accuracy, -scores[number].loss))


def _optimizer(head: TaskHead, recipe: HeadRecipe, setting: Setting) -> torch.optim.Optimizer:
    optimizer = build_optimizer(head, recipe.optimizer, *setting)
    if recipe.optimizer is not OptimizerChoice.adafactor:
        return optimizer
    return ClippedAdafactor(optimizer.param_groups, recipe.clip)


def _average_gradients(head: TaskHead, world: World) -> None:
    if world.size == 1:
        return
    for parameter in head.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad.div_(world.size)


def _refuse_no_number(losses: Tensor, settings: Sequence[Setting], step: int) -> None:
    if losses.isfinite().all():
        return
    setting = next(s for s, loss in zip(settings, losses.tolist(), strict=True) if loss != loss or loss == float("inf"))
    raise CocaError(
        f"the head with the learning rate {setting.learning_rate:g} has no finite loss at step {step + 1}; use lower "
        "rates"
    )
