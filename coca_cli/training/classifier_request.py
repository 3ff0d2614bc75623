"""What the user asks of `coca finetune classification` and `coca finetune video`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coca_cli.datasets.example import Dataset
from coca_cli.options import FeatureChoice
from coca_cli.tasks.media_features import Reading
from coca_cli.training.augment import Augmentation
from coca_cli.training.finetune_setup import HeadSchedule
from coca_cli.training.run_request import RunRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierSchedule(HeadSchedule):
    """The numbers of finetuning a classifier; `learning_rate` is the encoder's.

    Attributes:
        layer_decay: Each layer learns so many times as fast as the one after it.
        drop_path: Part of the residual branches that are left out of the last layer; fewer before it.
        label_smoothing: Part of each target that is spread over all classes.
    """

    layer_decay: float = 1.0
    drop_path: float = 0.0
    label_smoothing: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierRequest(RunRequest):
    """What to finetune on, and how; with what every run has.

    Attributes:
        dataset: A dataset with classes.
        root: The data root.
        train_split: None for "train".
        val_split: What the model is scored on while it is trained; None holds out a part of the training split.
        val_part: How much of it.
        model: What to begin with.
        pretrained: Weights of that model, where its name is an architecture's.
        image_size: Another picture size than the model's.
        head: A classifier that a probe wrote, whose head is begun with; None begins with random weights.
        features: What the head looks at.
        schedule: The numbers.
        epochs: Passes over the data, in place of the schedule's steps.
        freeze: Parameters of the model that stay as they are.
        augmentation: What is done to pictures.
        times: Learned positions in time for the frames of clips.
        reading: How pictures or clips are read.
    """

    dataset: Dataset
    root: Path
    train_split: str | None = None
    val_split: str | None = None
    val_part: float = 0.1
    model: str
    pretrained: str | None = None
    image_size: int | None = None
    head: Path | None = None
    features: FeatureChoice = FeatureChoice.patches
    schedule: ClassifierSchedule
    epochs: float | None = None
    freeze: Sequence[str] = ()
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(min_area=1.0))
    times: bool = False
    reading: Reading = field(default_factory=Reading)
