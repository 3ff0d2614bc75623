"""The training loop: one step after the other, on one process or many."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from coca_cli.errors import CocaError
from coca_cli.files import written_whole
from coca_cli.model.coca import MAX_LOGIT_SCALE, CoCa
from coca_cli.model.tokenizer import TextEncoder
from coca_cli.options import DecayChoice, OptimizerChoice, Parallel
from coca_cli.progress import Reporter
from coca_cli.training.batches import Position, TrainingBatch
from coca_cli.training.checkpoints import TrainingState
from coca_cli.training.distributed import average_whole_gradients, gather_texts
from coca_cli.training.objective import Losses, Part, Weights, backward, pack_texts
from coca_cli.training.optim import clip_gradients, learning_rate_at
from coca_cli.training.utilisation import StepCost
from coca_cli.training.word_dropout import hide_words
from coca_cli.world import World

BAD_BATCH_FILE = "bad_batch.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The numbers of a training run; defaults are the paper's (section 4.1) where it gives them.

    Attributes:
        steps: Optimiser steps.
        batch_size: Pairs per step.
        learning_rate: The peak.
        warmup: Part of the steps in which the rate rises.
        decay: How it falls then.
        optimizer: Which.
        weight_decay: Decoupled, times the learning rate.
        clip: Largest gradient norm; 0 for no clipping.
        contrastive_weight: Weight of the contrastive loss.
        caption_weight: Weight of the captioning loss.
        precision: fp32, or bf16 for autocast with fp32 weights.
        ema: Part of the moving average of the weights that stays at each step; 0 for no average.
        word_dropout: Part of the words that are hidden from the text side.
        seed: Of the weights, the order, captions and crops.
    """

    steps: int
    batch_size: int
    learning_rate: float = 8e-4
    warmup: float = 0.02
    decay: DecayChoice = DecayChoice.linear
    optimizer: OptimizerChoice = OptimizerChoice.adafactor
    weight_decay: float = 0.01
    clip: float = 1.0
    contrastive_weight: float = 1.0
    caption_weight: float = 2.0
    precision: str = "fp32"
    ema: float = 0.0
    word_dropout: float = 0.0
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did, as metrics.jsonl has it."""

    step: int
    loss: float
    contrastive: float
    caption: float
    temperature: float
    gradient_norm: float
    learning_rate: float
    pairs_per_second: float
    utilisation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How the steps are computed; none of it changes what is learned.

    Attributes:
        device: Where.
        world: The processes.
        parallel: How they share the model.
        accumulate: Parts that each batch goes through the model in.
        cost: Operations of a step.
        peak: Operations per second that one process could reach.
    """

    device: torch.device
    world: World
    parallel: Parallel
    accumulate: int
    cost: StepCost
    peak: float


def train(
    objective: nn.Module,
    state: TrainingState,
    tokenizer: TextEncoder,
    data: Iterator[TrainingBatch],
    recipe: Recipe,
    execution: Execution,
    reporter: Reporter,
    folder: Path,
) -> Iterator[tuple[StepReport, Position]]:
    """Train in place; yields after every step, so that the caller can save, evaluate and stop.

    Args:
        objective: Holds the model, as `parallelise` gave it.
        state: The model, its optimiser and its average; moved on from its step to the recipe's last.
        tokenizer: The model's.
        data: Endless batches, this process's share.
        recipe: How.
        execution: On what.
        reporter: Shows loss parts, pairs/s and time left.
        folder: Where the names of a batch go that ends the training.

    Yields:
        What the step did, and where the data stands after it.

    Raises:
        CocaError: Loss or gradient are no numbers any more.
    """
    state.model.train()
    warmup = round(recipe.warmup * recipe.steps)
    weights = Weights(recipe.contrastive_weight, recipe.caption_weight)
    size = recipe.batch_size
    steps = range(state.step, recipe.steps)
    for step in reporter.track(steps, total=len(steps) * size, label="pairs", size=lambda _: size):
        start = time.perf_counter()
        rate = learning_rate_at(step, steps=recipe.steps, warmup=warmup, peak=recipe.learning_rate, decay=recipe.decay)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        batch = next(data)
        parts = split_batch(batch, state.model, tokenizer, execution)
        state.optimizer.zero_grad(set_to_none=True)
        losses = backward(objective, parts, state.model.pad_id, weights, execution.world)
        average_whole_gradients(state.model, execution.parallel, execution.world)
        norm = clip_gradients(state.model, recipe.clip).item()
        if not math.isfinite(losses.total + norm):
            raise _no_number(losses, norm, step + 1, rate, batch, execution.world, folder)
        state.optimizer.step()
        with torch.no_grad():  # as in CLIP: beyond this the gradient of the temperature is lost
            state.model.log_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
        state.step = step + 1
        if state.ema is not None:
            state.ema.update(state.model, state.step)
        operations = sum(execution.cost.of(len(part.pixels), part.texts) for part in parts)
        seconds = time.perf_counter() - start
        used = operations / seconds / execution.peak
        report = StepReport(
            step=state.step,
            loss=losses.total,
            contrastive=losses.contrastive,
            caption=losses.caption,
            temperature=(1 / state.model.logit_scale).item(),  # inf, not an error, where the scale has become 0
            gradient_norm=norm,
            learning_rate=rate,
            pairs_per_second=round(size / seconds, 1),
            utilisation=round(used, 4),
        )
        reporter.detail = _detail(report)
        yield report, batch.position
    reporter.detail = ""


def split_batch(batch: TrainingBatch, model: CoCa, tokenizer: TextEncoder, execution: Execution) -> list[Part]:
    """The parts that go through the model one after the other, on the device."""
    tokens = tokenizer.encode(batch.captions)
    rows = len(tokens) // execution.accumulate
    parts: list[Part] = []
    for start in range(0, len(tokens), rows):
        part = slice(start, start + rows)
        packed = pack_texts(model, tokens[part])
        if batch.hidden is not None:  # what is to be written has been taken from the whole texts
            packed = packed._replace(tokens=hide_words(packed.tokens, batch.hidden[part]))
        pixels = batch.pixels[part].to(execution.device, non_blocking=True)
        parts.append(Part(pixels, packed.to(execution.device)))
    return parts


def _detail(report: StepReport) -> str:
    return (
        f"loss {report.loss:.2f} (contrastive {report.contrastive:.2f}, caption {report.caption:.2f}), "
        f"temperature {report.temperature:.3f}, gradient {report.gradient_norm:.2f}, "
        f"{report.utilisation:.0%} of peak"
    )


def _no_number(
    losses: Losses, norm: float, step: int, rate: float, batch: TrainingBatch, world: World, folder: Path
) -> CocaError:
    names = gather_texts(batch.names, world)
    path = folder / BAD_BATCH_FILE
    if world.first:
        described: dict[str, Any] = {"step": step, "learning_rate": rate, "gradient_norm": str(norm)}
        described |= {name: str(value) for name, value in losses._asdict().items()} | {"examples": names}
        with written_whole(path) as file:
            file.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    what = f"the loss is {losses.total}" if not math.isfinite(losses.total) else f"the gradient's norm is {norm}"
    return CocaError(
        f"{what} at step {step} (learning rate {rate:.2e}): training stopped, and the last checkpoint is as it was. "
        f"The batch's {len(names)} examples stand in {path} ({', '.join(names[:3])} ...). "
        "Use a lower --learning-rate or a longer --warmup, or look at these examples"
    )
