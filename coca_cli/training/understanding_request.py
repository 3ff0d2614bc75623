"""What the user asks of `coca finetune vqa`, `snli-ve` and `nlvr2`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coca_cli.datasets.example import Dataset
from coca_cli.training.augment import Augmentation
from coca_cli.training.finetune_setup import HeadSchedule
from coca_cli.training.run_request import RunRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderstandingSchedule(HeadSchedule):
    """The numbers of finetuning for questions or statements; `learning_rate` is the model's.

    Attributes:
        generative_weight: Weight of the captioning loss on question and answer, beside the classifier's.
    """

    generative_weight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderstandingRequest(RunRequest):
    """What to finetune on, and how; with what every run has.

    Attributes:
        dataset: A dataset with questions or statements.
        root: The data root.
        train_split: None for "train".
        val_split: What the model is scored on while it is trained; None holds out a part of the training split.
        val_part: How much of it.
        model: What to begin with.
        pretrained: Weights of that model, where its name is an architecture's.
        image_size: Another picture size than the model's.
        whole_pictures: Pictures are squashed to the model's square; else its centre is cut out.
        answers: How many of the most frequent training answers the classifier knows, or a file that lists them.
        frozen: The head alone is trained.
        schedule: The numbers.
        epochs: Passes over the data, in place of the schedule's steps.
        freeze: Parameters of the model that stay as they are.
        augmentation: What is done to pictures.
    """

    dataset: Dataset
    root: Path
    train_split: str | None = None
    val_split: str | None = None
    val_part: float = 0.1
    model: str
    pretrained: str | None = None
    image_size: int | None = None
    whole_pictures: bool = True
    answers: int | Path = 3129
    frozen: bool = False
    schedule: UnderstandingSchedule
    epochs: float | None = None
    freeze: Sequence[str] = ()
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(min_area=1.0, keep_colours=True))
