"""What the user asks of `coca pretrain`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coca_cli.options import LogChoice, Parallel
from coca_cli.training.augment import Augmentation
from coca_cli.training.loop import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRequest:
    """What to train on, and how.

    Attributes:
        data: Sources as the user typed them.
        shares: Their weights in each batch; None for half pairs, half labels.
        keep: Keep-lists of `coca data dedup`.
        root: The data root, for named datasets.
        output: The run folder.
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
        accumulate: Parts that each batch goes through the model in.
        parallel: How several processes share the model.
        checkpoint_activations: Compute activations twice instead of keeping them.
        compile: Compile the model.
        save_every: Steps between two savings; 0 saves at the end alone.
        keep_checkpoints: Checkpoints that stay.
        eval_zeroshot: Sets to classify while training.
        eval_retrieval: Sets of pairs to retrieve while training.
        eval_caption: Sets to caption while training; where there are some, the best model is that with the best CIDEr.
        eval_every: Steps between two evaluations; 0 evaluates at the end alone.
        eval_first: Evaluate before the first step, too, and tell at the end what has become of the scores.
        logs: Further logs.
        overwrite: Replace what is already there.
        resume: Refuse to begin anew.
        device: auto, cpu, cuda or mps.
        limit: The first so many examples of each source and evaluation set.
        workers: Decoding threads.
        strict: Stop at the first unreadable picture.
    """

    data: Sequence[str]
    shares: Sequence[float] | None = None
    keep: Sequence[Path] = ()
    root: Path
    output: Path
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
    accumulate: int = 1
    parallel: Parallel = Parallel.ddp
    checkpoint_activations: bool = False
    compile: bool = False
    save_every: int = 0
    keep_checkpoints: int = 1
    eval_zeroshot: Sequence[str] = ()
    eval_retrieval: Sequence[str] = ()
    eval_caption: Sequence[str] = ()
    eval_every: int = 0
    eval_first: bool = False
    logs: Sequence[LogChoice] = ()
    overwrite: bool = False
    resume: bool = False
    device: str = "auto"
    limit: int | None = None
    workers: int | None = None
    strict: bool = False

    @property
    def start(self) -> str:
        """What the weights come from, in the user's word."""
        return str(self.model or self.init or self.architecture or "coca_tiny")
