"""What `coca demo` trains: a small CoCa on drawn scenes of real handwriting, in one to two minutes on 2 cores."""

from __future__ import annotations

from pathlib import Path

from coca_cli.options import DecayChoice, OptimizerChoice
from coca_cli.training.augment import Augmentation
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.schedule import Recipe

STEPS = 320
BATCH_SIZE = 128
SOURCES = ("scenes", "digits")
"""Captioned scenes and, as in the paper, labelled pictures with their labels as text, half and half."""


def demo_request(folder: Path, seed: int) -> PretrainRequest:
    """The demo's training run.

    Args:
        folder: Where the model goes; a model of an earlier demo there is replaced.
        seed: Of weights, order and captions.
    """
    recipe = Recipe(
        steps=STEPS,
        batch_size=BATCH_SIZE,
        learning_rate=2e-3,
        warmup=0.1,
        decay=DecayChoice.cosine,
        optimizer=OptimizerChoice.adamw,
        weight_decay=0.05,
        precision="fp32",
        seed=seed,
    )
    return PretrainRequest(
        data=SOURCES,
        root=folder,
        output=folder,
        architecture="coca_tiny",
        changes=("image.size=32",),
        recipe=recipe,
        augmentation=Augmentation(min_area=1.0),
        vocab_size=500,
        overwrite=True,
    )
