"""The training loop of one process."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from coca_cli.errors import CocaError
from coca_cli.media.images import normalise
from coca_cli.model.coca import MAX_LOGIT_SCALE, CoCa
from coca_cli.model.text import trim_tokens
from coca_cli.model.tokenizer import TextEncoder
from coca_cli.options import DecayChoice, OptimizerChoice
from coca_cli.progress import Reporter
from coca_cli.training.losses import Losses, coca_losses
from coca_cli.training.optim import build_optimizer, learning_rate_at
from coca_cli.training.pairs import TrainingBatch


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
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did, as metrics.jsonl has it."""

    step: int
    epoch: int
    loss: float
    contrastive: float
    caption: float
    temperature: float
    gradient_norm: float
    learning_rate: float
    pairs_per_second: float


def train(
    model: CoCa,
    tokenizer: TextEncoder,
    data: Iterator[TrainingBatch],
    recipe: Recipe,
    device: torch.device,
    reporter: Reporter,
    log: IO[str],
) -> Iterator[StepReport]:
    """Train in place; yields after every step, so that the caller can save and stop.

    Args:
        model: In fp32 on the device.
        tokenizer: The model's.
        data: Endless batches.
        recipe: How.
        device: Where.
        reporter: Shows loss parts, pairs/s and time left.
        log: One JSON line per step.

    Raises:
        CocaError: The loss is no number any more.
    """
    model.train()
    optimizer = build_optimizer(model, recipe.optimizer, recipe.learning_rate, recipe.weight_decay)
    warmup = round(recipe.warmup * recipe.steps)
    shown: Iterable[int] = reporter.track(
        range(recipe.steps), total=recipe.steps * recipe.batch_size, label="pairs", size=lambda _: recipe.batch_size
    )
    for step in shown:
        start = time.perf_counter()
        rate = learning_rate_at(step, steps=recipe.steps, warmup=warmup, peak=recipe.learning_rate, decay=recipe.decay)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = next(data)
        losses = _losses(model, tokenizer, batch, recipe, device)
        if not math.isfinite(losses.total.item()):
            raise CocaError(
                f"the loss is {losses.total.item()} at step {step + 1} (learning rate {rate:.2e}): training stopped. "
                "Use a lower --learning-rate or a longer --warmup"
            )
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip or math.inf)
        optimizer.step()
        with torch.no_grad():  # as in CLIP: beyond this the gradient of the temperature is lost
            model.log_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
        report = _report(
            step, batch.epoch, losses, model, norm, rate, recipe.batch_size / (time.perf_counter() - start)
        )
        reporter.detail = f"loss {report.loss:.2f} (contrastive {report.contrastive:.2f}, caption {report.caption:.2f})"
        log.write(json.dumps(asdict(report)) + "\n")
        log.flush()
        yield report
    reporter.detail = ""


def _losses(model: CoCa, tokenizer: TextEncoder, batch: TrainingBatch, recipe: Recipe, device: torch.device) -> Losses:
    images = normalise(batch.pixels.to(device, non_blocking=True), model.config.image)
    tokens: Tensor = trim_tokens(tokenizer.encode(batch.captions), model.pad_id).to(device)
    mixed = torch.autocast(device.type, torch.bfloat16) if recipe.precision == "bf16" else nullcontext()
    with mixed:
        output = model(images, tokens)
    return coca_losses(
        output,
        tokens,
        model.pad_id,
        contrastive_weight=recipe.contrastive_weight,
        caption_weight=recipe.caption_weight,
    )


def _report(
    step: int, epoch: int, losses: Losses, model: CoCa, norm: Tensor, rate: float, pairs_per_second: float
) -> StepReport:
    return StepReport(
        step=step + 1,
        epoch=epoch,
        loss=round(losses.total.item(), 5),
        contrastive=round(losses.contrastive.item(), 5),
        caption=round(losses.caption.item(), 5),
        temperature=round((1 / model.logit_scale).item(), 5),  # inf, not an error, where the scale has become 0
        gradient_norm=round(norm.item(), 4),
        learning_rate=rate,
        pairs_per_second=round(pairs_per_second, 1),
    )


def open_log(folder: Path) -> IO[str]:
    """metrics.jsonl in a run folder, emptied."""
    return (folder / "metrics.jsonl").open("w", encoding="utf-8")
