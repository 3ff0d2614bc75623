"""What the user asks of `coca probe`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coca_cli.datasets.example import Dataset
from coca_cli.options import FeatureChoice, HeadChoice
from coca_cli.tasks.media_features import Reading
from coca_cli.training.augment import Augmentation
from coca_cli.training.head_sweep import HeadRecipe, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """What to train on frozen features, and how.

    Attributes:
        dataset: A dataset with classes.
        root: The data root.
        train_split: None for "train".
        val_split: What settings are chosen on; None holds out a part of the training split.
        val_part: How much of it.
        test_split: None for the one that is evaluated by default.
        head: What is trained.
        features: What it looks at; None for what the head usually takes.
        settings: Learning rates and weight decays of the heads.
        recipe: What they share.
        epochs: Passes over the training examples, in place of the recipe's steps.
        augmentation: What is done to training pictures; with any, tokens are computed anew each time.
        cache_budget: Bytes that tokens may take; None for half of what is free where they are kept.
        times: Learned positions in time for the frames of clips.
        reading: How pictures or clips are read.
        output: A folder for the classifier; None writes none.
        overwrite: Replace a classifier that is there.
        predictions: A file for what was said of each example.
        shots: Train on so many examples of each class, for each of these numbers; none for all examples.
        draws: How often they are drawn.
        limit: The first so many examples of each split.
        strict: Stop at the first unreadable example.
    """

    dataset: Dataset
    root: Path
    train_split: str | None = None
    val_split: str | None = None
    val_part: float = 0.1
    test_split: str | None = None
    head: HeadChoice = HeadChoice.attentional
    features: FeatureChoice | None = None
    settings: Sequence[Setting] = (Setting(5e-4, 0.01),)
    recipe: HeadRecipe
    epochs: float | None = None
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(min_area=1.0))
    cache_budget: int | None = None
    times: bool = False
    reading: Reading = field(default_factory=Reading)
    output: Path | None = None
    overwrite: bool = False
    predictions: Path | None = None
    shots: Sequence[int] = ()
    draws: int = 3
    limit: int | None = None
    strict: bool = False

    @property
    def looked_at(self) -> FeatureChoice:
        """What the head looks at."""
        usual = FeatureChoice.patches if self.head is HeadChoice.attentional else FeatureChoice.embedding
        return self.features or usual
