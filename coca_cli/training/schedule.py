"""The numbers that every training run has, and those of pretraining."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from coca_cli.options import DecayChoice, OptimizerChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The numbers of a training run; defaults are those of the paper's pretraining (section 4.1) where it gives them.

    Attributes:
        steps: Optimiser steps.
        batch_size: Examples per step.
        learning_rate: The peak.
        warmup: Part of the steps in which the rate rises.
        decay: How it falls then.
        optimizer: Which.
        weight_decay: Decoupled, times the learning rate.
        clip: Largest gradient norm; 0 for no clipping.
        precision: fp32, or bf16 for autocast with fp32 weights.
        ema: Part of the moving average of the weights that stays at each step; 0 for no average.
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
    precision: str = "fp32"
    ema: float = 0.0
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Schedule):
    """The numbers of pretraining, and of finetuning for captions.

    Attributes:
        contrastive_weight: Weight of the contrastive loss.
        caption_weight: Weight of the captioning loss.
        word_dropout: Part of the words that are hidden from the text side.
        mask_equal_texts: Pictures with the same text are no negatives of each other.
    """

    contrastive_weight: float = 1.0
    caption_weight: float = 2.0
    word_dropout: float = 0.0
    mask_equal_texts: bool = False
