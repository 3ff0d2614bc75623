"""Optimisers and learning-rate schedules."""

from __future__ import annotations

import math

import torch
from timm.optim import AdafactorBigVision
from torch import nn

from coca_cli.options import DecayChoice, OptimizerChoice


def build_optimizer(
    model: nn.Module, name: OptimizerChoice, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The optimiser over all weights; matrices decay, vectors (biases, norms, the temperature) do not.

    Both use beta1 0.9 and beta2 0.999, and weight decay apart from the gradient, as the paper has it (section 4.1).
    Adafactor is big_vision's form: factored second moments, beta2 rising to 0.999, first moments kept.

    Args:
        model: What is trained.
        name: Which.
        learning_rate: The peak.
        weight_decay: Per step, times the learning rate.
    """
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if name is OptimizerChoice.adamw:
        return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.999))
    optimizer: torch.optim.Optimizer = AdafactorBigVision(
        groups, lr=learning_rate, momentum=0.9, beta2_cap=0.999, momentum_dtype=torch.float32
    )
    return optimizer


def learning_rate_at(step: int, *, steps: int, warmup: int, peak: float, decay: DecayChoice) -> float:
    """Linear warm-up to the peak, then down to zero.

    Args:
        step: From 0.
        steps: Steps in all.
        warmup: Steps until the peak.
        peak: The highest rate.
        decay: The way down.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    if decay is DecayChoice.linear:
        return peak * (1 - done)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
