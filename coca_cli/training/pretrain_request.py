"""What the user asks of `coca pretrain`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coca_cli.training.augment import Augmentation
from coca_cli.training.run_request import RunRequest
from coca_cli.training.schedule import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRequest(RunRequest):
    """What to train on, and how; with what every run has.

    Attributes:
        data: Sources as the user typed them.
        shares: Their weights in each batch; None for half pairs, half labels.
        keep: Keep-lists of `coca data dedup`.
        root: The data root, for named datasets.
        architecture: A preset's name; None for the small default.
        changes: KEY=VALUE changes of its configuration.
        init: A model folder to start from instead of an architecture.
        model: A model to finetune, by any name that has weights; instead of both.
        pretrained: Weights of that model, where its name is an architecture's.
        left_aside: Options of a recipe that `init` leaves no room for, and that are not followed.
        image_size: Another picture size than the architecture's or the start's; None for that.
        tokenizer: "clip", a sentencepiece file, or None to learn one from the captions.
        vocab_size: Words of a learned tokenizer; None for the architecture's number.
        recipe: Steps, rates, weights.
        epochs: Passes over the data, in place of the recipe's steps.
        freeze: Parameters that stay as they are.
        augmentation: What is done to pictures.
        eval_zeroshot: Sets to classify while training.
        eval_retrieval: Sets of pairs to retrieve while training.
        eval_caption: Sets to caption while training; where there are some, the best model is that with the best CIDEr.
    """

    data: Sequence[str]
    shares: Sequence[float] | None = None
    keep: Sequence[Path] = ()
    root: Path
    architecture: str | None = None
    changes: Sequence[str] = ()
    init: Path | None = None
    model: str | None = None
    pretrained: str | None = None
    left_aside: Sequence[str] = ()
    image_size: int | None = None
    tokenizer: str | None = None
    vocab_size: int | None = None
    recipe: Recipe
    epochs: float | None = None
    freeze: Sequence[str] = ()
    augmentation: Augmentation
    eval_zeroshot: Sequence[str] = ()
    eval_retrieval: Sequence[str] = ()
    eval_caption: Sequence[str] = ()

    @property
    def start(self) -> str:
        """What the weights come from, in the user's word."""
        return str(self.model or self.init or self.architecture or "coca_tiny")
