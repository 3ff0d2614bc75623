"""What `coca demo` trains: a small CoCa on drawn scenes of real handwriting, and a head on it that sees clips."""

from __future__ import annotations

from pathlib import Path

from coca_cli.datasets import find_dataset
from coca_cli.options import DecayChoice, OptimizerChoice
from coca_cli.training.augment import Augmentation
from coca_cli.training.head_sweep import HeadRecipe, Setting
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.probe_request import ProbeRequest
from coca_cli.training.schedule import Recipe
from coca_cli.training.understanding_request import UnderstandingRequest, UnderstandingSchedule

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


CLIPS = 3_000
"""Of the moving scenes, so many are trained on; all 6,000 and 4,000 steps reach 91 % top-1."""


def demo_probe(folder: Path, seed: int) -> ProbeRequest:
    """The demo's probe of the frozen encoder: what happens in a clip, from 16 frames.

    Args:
        folder: The demo's.
        seed: Of first weights and order.
    """
    recipe = HeadRecipe(
        steps=1_500,
        batch_size=64,
        warmup=0.02,
        optimizer=OptimizerChoice.adamw,
        ema=0.99,
        seed=seed,
    )
    return ProbeRequest(
        dataset=find_dataset("moving-scenes"),
        root=folder,
        settings=(Setting(1e-3, 0.01), Setting(3e-3, 0.01)),
        recipe=recipe,
        limit=CLIPS,
    )


def demo_questions(folder: Path, model: Path, output: Path, seed: int) -> UnderstandingRequest:
    """The demo's finetuning for questions about scenes.

    Args:
        folder: The demo's.
        model: What it trained before.
        output: Where the model that answers goes; one of an earlier demo there is replaced.
        seed: Of first weights, order and answers.
    """
    schedule = UnderstandingSchedule(
        steps=600,
        batch_size=64,
        learning_rate=1e-3,
        head_learning_rate=2e-3,
        generative_weight=1.0,
        warmup=0.05,
        decay=DecayChoice.cosine,
        optimizer=OptimizerChoice.adamw,
        weight_decay=0.05,
        precision="fp32",
        seed=seed,
    )
    return UnderstandingRequest(
        dataset=find_dataset("scene-questions"),
        root=folder,
        val_part=0.02,
        model=str(model),
        schedule=schedule,
        output=output,
        overwrite=True,
    )
