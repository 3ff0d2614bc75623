"""The straight path of `coca pretrain`, from sources to a model folder."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from coca_cli import __version__
from coca_cli.datasets.example import Example
from coca_cli.datasets.sources import Source, find_source
from coca_cli.errors import CocaError
from coca_cli.files import make_folder, written_whole
from coca_cli.media.batches import Skipped
from coca_cli.model.architectures import new_model_config
from coca_cli.model.checkpoint import CONFIG_FILE, load_folder, save_folder
from coca_cli.model.coca import CoCa
from coca_cli.model.config import PAPER_PRESETS, CoCaConfig
from coca_cli.model.placement import choose_device, choose_precision
from coca_cli.model.tokenizer import (
    ClipTokenizer,
    SentencePieceTokenizer,
    load_sentencepiece,
    train_sentencepiece,
)
from coca_cli.progress import Reporter
from coca_cli.training.augment import Augmentation
from coca_cli.training.loop import Recipe, StepReport, open_log, train
from coca_cli.training.pairs import load_sources, training_batches


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRequest:
    """What to train on, and how.

    Attributes:
        data: Sources as the user typed them.
        root: The data root, for named datasets.
        output: The folder that the model is written to.
        architecture: A preset's name.
        changes: KEY=VALUE changes of its configuration.
        init: A model folder to start from instead of an architecture.
        tokenizer: "clip", a sentencepiece file, or None to learn one from the captions.
        vocab_size: Words of a learned tokenizer; None for the architecture's number.
        recipe: Steps, rates, weights.
        epochs: Passes over the data, in place of the recipe's steps.
        augmentation: What is done to pictures.
        save_every: Steps between two savings; 0 saves at the end alone.
        overwrite: Replace a model that is already there.
        device: auto, cpu, cuda or mps.
        limit: The first so many pairs.
        workers: Decoding threads.
        strict: Stop at the first unreadable picture.
    """

    data: Sequence[str]
    root: Path
    output: Path
    architecture: str = "coca_tiny"
    changes: Sequence[str] = ()
    init: Path | None = None
    tokenizer: str | None = None
    vocab_size: int | None = None
    recipe: Recipe
    epochs: float | None = None
    augmentation: Augmentation
    save_every: int = 0
    overwrite: bool = False
    device: str = "auto"
    limit: int | None = None
    workers: int | None = None
    strict: bool = False


def run_pretrain(request: PretrainRequest, reporter: Reporter) -> StepReport:
    """Train and write the model folder; also when interrupted, so that nothing is lost.

    Returns:
        The last step's report.

    Raises:
        CocaError: Data, configuration or output are not usable; see the functions called.
        KeyboardInterrupt: The user stopped it; what was trained has been saved.
    """
    if (request.output / CONFIG_FILE).exists() and not request.overwrite:
        raise CocaError(
            f"{request.output} already holds a model; choose another --output, or replace it with --overwrite"
        )
    make_folder(request.output)
    device = choose_device(request.device)
    examples = _load_examples(request, reporter)
    recipe = _complete_recipe(request, len(examples), device)
    torch.manual_seed(recipe.seed)
    model, tokenizer = _build(request, examples)
    model.to(device)
    _describe(request, recipe, model, examples, reporter)
    skipped = Skipped(strict=request.strict)
    data = training_batches(
        examples,
        model.config.image,
        request.augmentation,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        skipped=skipped,
        workers=request.workers,
    )
    last: StepReport | None = None
    started = time.monotonic()

    def save() -> None:
        step = last.step if last else 0
        trained = {"steps": step, "seconds": round(time.monotonic() - started, 1), "recipe": recipe.to_dict()}
        save_folder(request.output, model, tokenizer, request.output.name, {"trained": trained})

    try:
        with open_log(request.output) as log:
            for last in train(model, tokenizer, data, recipe, device, reporter, log):
                if request.save_every and last.step % request.save_every == 0:
                    save()
    except KeyboardInterrupt:
        if last is None:  # nothing was learned, and an earlier model may still be there
            reporter.warn("stopped before the first step; nothing was written")
        else:
            save()
            reporter.warn(f"stopped at step {last.step} of {recipe.steps}; the model so far is in {request.output}")
        raise
    save()
    for reason in list(skipped.reasons.values())[:10]:
        reporter.warn(f"left out: {reason}")
    skipped.check(final=True)
    assert last is not None
    return last


def _load_examples(request: PretrainRequest, reporter: Reporter) -> list[Example]:
    sources: list[Source] = [find_source(text, request.root) for text in request.data]
    examples = load_sources(sources, request.limit)
    words = {"pairs": "pairs", "labels": "labels as text"}
    counted = Counter(f"{source.name} ({words[source.kind]})" for source in sources)
    kinds = ", ".join(name if times == 1 else f"{times} x {name}" for name, times in counted.items())
    reporter.notice(f"training data: {len(examples):,} pictures from {kinds}")
    if len(examples) < request.recipe.batch_size:
        raise CocaError(
            f"{len(examples):,} training pictures do not fill one batch of {request.recipe.batch_size}; "
            "give more data or a smaller --batch-size"
        )
    return examples


def _complete_recipe(request: PretrainRequest, n: int, device: torch.device) -> Recipe:
    recipe = replace(request.recipe, precision=choose_precision(request.recipe.precision, device))
    if recipe.precision == "fp16":
        raise CocaError("--precision fp16 is not for training here: its range is too small; use bf16 or fp32")
    if request.epochs is not None:
        recipe = replace(recipe, steps=max(1, round(request.epochs * n / recipe.batch_size)))
    return recipe


def _build(
    request: PretrainRequest, examples: Sequence[Example]
) -> tuple[CoCa, ClipTokenizer | SentencePieceTokenizer]:
    if request.init is not None:
        if request.changes or request.tokenizer or request.vocab_size:
            raise CocaError(
                f"--init {request.init} brings its own architecture and tokenizer; "
                "leave out --set, --tokenizer and --vocab-size"
            )
        start = load_folder(request.init)
        return start.model, start.tokenizer
    config = new_model_config(request.architecture).with_changes(request.changes)
    tokenizer = _tokenizer(request, config, examples)
    text = replace(config.text, vocab_size=tokenizer.vocab_size, pad_id=tokenizer.pad_id)
    return CoCa(replace(config, text=text)), tokenizer


def _tokenizer(
    request: PretrainRequest, config: CoCaConfig, examples: Sequence[Example]
) -> ClipTokenizer | SentencePieceTokenizer:
    context = config.text.context
    if request.tokenizer == "clip" or (request.tokenizer is None and request.architecture not in PAPER_PRESETS):
        return ClipTokenizer(context)
    if request.tokenizer is not None:
        return load_sentencepiece(Path(request.tokenizer).expanduser(), context)
    words = request.vocab_size or config.text.vocab_size
    captions = (text for example in examples for text in example.texts)
    return SentencePieceTokenizer(train_sentencepiece(captions, words), context)


def _describe(
    request: PretrainRequest, recipe: Recipe, model: CoCa, examples: Sequence[Example], reporter: Reporter
) -> None:
    """Tell the user what is trained, and keep the settings in the run folder."""
    parameters = sum(p.numel() for p in model.parameters())
    passes = recipe.steps * recipe.batch_size / len(examples)
    reporter.notice(
        f"model: {request.init or request.architecture}, {parameters / 1e6:.1f}M parameters, "
        f"{model.config.text.vocab_size:,} words, {model.config.image.size} px"
    )
    reporter.notice(
        f"schedule: {recipe.steps:,} steps of {recipe.batch_size} ({passes:.1f} passes), {recipe.optimizer}, "
        f"peak rate {recipe.learning_rate:g}, {recipe.decay} decay, {recipe.precision}"
    )
    settings = {
        "command": shlex.join(["coca", *sys.argv[1:]]),
        "coca": __version__,
        "torch": torch.__version__,
        "data": list(request.data),
        "pictures": len(examples),
        "recipe": recipe.to_dict(),
        "augmentation": {"min_area": request.augmentation.min_area, "flip": request.augmentation.flip},
        "model": model.config.to_dict(),
    }
    with written_whole(request.output / "run.json") as file:
        file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
