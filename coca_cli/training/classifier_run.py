"""The straight path of `coca finetune classification` and `video`: a trained model -> a classifier folder."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from coca_cli.datasets.example import Example
from coca_cli.datasets.held_out import choose_training_splits, hold_out
from coca_cli.datasets.selection import select_labelled, select_prompts
from coca_cli.errors import CocaError
from coca_cli.files import make_folder
from coca_cli.media.batches import Skipped
from coca_cli.model.checkpoint import save_weights
from coca_cli.model.classifier import Classifier
from coca_cli.model.classifier_folder import (
    OWN_ENCODER,
    ClassifierDescription,
    describe_classifier,
    load_classifier,
    save_classifier,
)
from coca_cli.model.coca import CoCa
from coca_cli.model.flops import count_operations
from coca_cli.model.placement import DTYPES, Placed, choose_device
from coca_cli.model.weights import hash_weights
from coca_cli.options import FeatureChoice
from coca_cli.progress import Reporter
from coca_cli.tasks.absent_clips import tell_absent
from coca_cli.tasks.token_features import token_computing
from coca_cli.tasks.zeroshot import check_labels
from coca_cli.training.batches import TrainingBatch, training_batches
from coca_cli.training.classifier_request import ClassifierRequest, ClassifierSchedule
from coca_cli.training.classifier_work import ClassifierObjective, ClassifierWork
from coca_cli.training.finetune_setup import (
    Tokenizer,
    assemble,
    describe_schedule,
    load_start,
    settle_schedule,
    weights_below,
)
from coca_cli.training.head_sweep import score_heads
from coca_cli.training.loop import Execution
from coca_cli.training.metrics_log import check_extras
from coca_cli.training.mixture import mix_task
from coca_cli.training.optim import freeze
from coca_cli.training.probe_data import LiveTokens
from coca_cli.training.run_folder import open_run_file
from coca_cli.training.task_parts import check_apart
from coca_cli.training.training_run import Trained, TrainingRun, check_run, new_execution, starting_point
from coca_cli.world import SINGLE, World, joined_world, local_device


class ClassifierData(NamedTuple):
    """What is trained on and scored on.

    Attributes:
        train: Training examples.
        val: Others, that the model is scored on while it is trained.
        splits: Where both come from, for the run file.
        absent: Ids of the clips of both whose files are missing.
        class_names: C names.
    """

    train: list[Example]
    val: list[Example]
    splits: dict[str, object]
    absent: list[str]
    class_names: tuple[str, ...]


class Prepared(NamedTuple):
    """What a run works with.

    Attributes:
        data: The examples.
        schedule: With all numbers settled.
        model: In fp32 on the CPU, frozen parts marked.
        tokenizer: The model's.
        described: The classifier, its encoder's hash left empty.
        start: Name and hash of the model that is begun with.
    """

    data: ClassifierData
    schedule: ClassifierSchedule
    model: Classifier
    tokenizer: Tokenizer
    described: ClassifierDescription
    start: tuple[str, str]


def run_finetune(request: ClassifierRequest, reporter: Reporter) -> Trained | None:
    """Finetune and write the run folder, which is a model and a classifier; also when interrupted.

    Returns:
        How it ended; None on all processes but the first.

    Raises:
        CocaError: Data, model or output are not usable; see the functions called.
        KeyboardInterrupt: The user stopped it; what was trained has been saved.
        SystemExit: The system stopped it (SIGTERM); what was trained has been saved.
    """
    device = local_device(choose_device(request.device))
    with joined_world(device) as world:
        trained = finetune_together(request, reporter if world.first else Reporter(quiet=True), world, device)
        return trained if world.first else None


def finetune_together(request: ClassifierRequest, reporter: Reporter, world: World, device: torch.device) -> Trained:
    """As `run_finetune`, by processes that have joined already.

    Args:
        request: What the user asked.
        reporter: Shows progress.
        world: The processes.
        device: Where this one computes.
    """
    check_run(request, request.schedule.batch_size, world)
    check_extras(request.logs)
    make_folder(request.output)
    checkpoint = starting_point(request, world)
    prepared = prepare(request, device)
    file = open_run_file(request, settings_of(request, prepared), checkpoint) if world.first else None
    execution = new_execution(request, world, device, prepared.schedule.precision, reporter)
    course = ClassifierCourse(request, prepared, execution, reporter)
    run = TrainingRun(course, request, execution, reporter, file)
    trained = run.finished(checkpoint)
    if trained is None:
        _announce(request, prepared, reporter)
        trained = run.train(checkpoint)
    return trained


def prepare(request: ClassifierRequest, device: torch.device) -> Prepared:
    """Find the examples and build the classifier; the same on every process.

    Raises:
        CocaError: Data or model are not usable.
    """
    if request.times and request.dataset.media != "video":
        raise CocaError(f"--times is for the frames of clips, and {request.dataset.name} has pictures; leave it out")
    data = _select(request)
    schedule = settle_schedule(request.schedule, request.epochs, len(data.train), device)
    start = load_start(request.model, request.pretrained, request.image_size)
    coca = start.coca
    torch.manual_seed(schedule.seed)
    clips = request.dataset.media == "video"
    described = describe_classifier(
        coca.config,
        request.features.value,
        data.class_names,
        frames=request.reading.sampling.frames if clips else 0,
        sampling=request.reading.sampling.kind,
        times=request.times,
    )
    described = replace(described, name=request.output.name, backbone=OWN_ENCODER)
    model = Classifier(coca, described.build(), generative=request.features is FeatureChoice.generative)
    if request.head is not None:
        _take_head(request, model, described, start.checkpoint)
    model.train_image_side_alone()
    if not schedule.learning_rate:
        coca.requires_grad_(False)
    freeze(coca, request.freeze)
    model.drop_paths(schedule.drop_path)
    if request.checkpoint_activations:
        coca.checkpoint_activations()
    return Prepared(data, schedule, model, start.tokenizer, described, (start.name, start.checkpoint))


def _select(request: ClassifierRequest) -> ClassifierData:
    dataset = request.dataset
    names = choose_training_splits(dataset, request.train_split, request.val_split)
    selected = select_labelled(dataset, request.root, names.train, request.limit)
    train, val, absent = selected.examples, list[Example](), list(selected.absent)
    splits: dict[str, object] = {"train": names.train, "val": names.val or {"part of train": request.val_part}}
    if names.val:
        others = select_labelled(dataset, request.root, names.val, request.limit)
        check_apart(dataset, [selected, others])
        val, absent = others.examples, [*absent, *others.absent]
    else:
        labels = [example.label or 0 for example in train]
        kept, held = hold_out(labels, request.val_part, request.schedule.seed)
        train, val = [train[row] for row in kept], [train[row] for row in held]
    if not val:
        raise CocaError(
            f"{dataset.name} has one example per class, so none can be held out to score the model on: name a "
            "--val-split, or give more data"
        )
    classes = select_prompts(dataset, request.root, None, None).class_names
    for part in (train, val):
        check_labels(part, len(classes))
    return ClassifierData(train, val, splits, absent, classes)


def _take_head(
    request: ClassifierRequest, model: Classifier, described: ClassifierDescription, checkpoint: str
) -> None:
    assert request.head is not None
    found = load_classifier(request.head)
    theirs = found.described
    if theirs.image_size == request.image_size and theirs.checkpoint != checkpoint:
        raise CocaError(
            f"the head in {request.head} was trained on weights {theirs.checkpoint}, and {request.model} has "
            f"{checkpoint}: begin with the model that was probed"
        )
    if not theirs.fits(described):
        raise CocaError(
            f"the head in {request.head} was made for {len(theirs.class_names)} classes and {theirs.features} of width "
            f"{theirs.width}; here are {len(described.class_names)}, {described.features} and {described.width}, or "
            "names or frames differ: give one that a probe of the same model on the same data wrote"
        )
    model.head.load_state_dict(found.head.state_dict())


def settings_of(request: ClassifierRequest, prepared: Prepared) -> dict[str, Any]:
    """All that decides what is learned, as JSON: a run goes on only where it is the same."""
    settings: dict[str, Any] = {
        "dataset": request.dataset.name,
        "dataset_version": request.dataset.version,
        **prepared.data.splits,
        "examples": [len(prepared.data.train), len(prepared.data.val)],
        "classes": len(prepared.data.class_names),
        "limit": request.limit,
        "model": prepared.start[0],
        "weights": prepared.start[1],
        "image": prepared.model.coca.config.image.size,
        "head": str(request.head) if request.head else None,
        "features": request.features.value,
        "freeze": list(request.freeze),
        "recipe": prepared.schedule.to_dict(),
        "augmentation": asdict(request.augmentation),
    }
    if request.dataset.media == "video":
        settings |= {"frames": asdict(request.reading.sampling), "times": request.times}
    return settings


class ClassifierCourse:
    """Finetuning a classifier; see `training_run.Course`.

    Args:
        request: What the user asked.
        prepared: What became of it.
        execution: On what.
        reporter: Takes warnings of evaluations.
    """

    scored = True

    def __init__(
        self, request: ClassifierRequest, prepared: Prepared, execution: Execution, reporter: Reporter
    ) -> None:
        self.request, self.prepared, self.execution, self.reporter = request, prepared, execution, reporter
        self.schedule = schedule = prepared.schedule
        self.scored_on = 0
        self.mixture = mix_task(request.dataset.name, prepared.data.train, schedule.seed)
        model = prepared.model.to(execution.device)
        whole = ClassifierObjective(model, schedule.label_smoothing, mixed=schedule.precision == "bf16")
        layers, peaks = [*model.coca.layers, model.head], peak_rates(model, schedule)
        state, objective = assemble(model, whole, layers, schedule, peaks, request, execution)
        self.work = ClassifierWork(
            state=state,
            objective=objective,
            execution=execution,
            operations=_operations(prepared.model.coca) * max(1, prepared.described.frames),
            seed=schedule.seed,
            noun="clips" if prepared.described.clips else "pictures",
        )

    def batches(self) -> Generator[TrainingBatch, None, None]:
        """This process's examples."""
        request, image = self.request, self.prepared.model.coca.config.image
        if request.dataset.media == "video":
            view = request.augmentation.clip_view(image, request.reading.sampling)
        else:
            view = request.augmentation.view(image, request.dataset.border)
        size, world = self.schedule.batch_size, self.execution.world
        return training_batches(self.mixture, view, batch_size=size, workers=request.workers, world=world)

    def score(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """top-1 and loss on the validation examples."""
        request, prepared = self.request, self.prepared
        model, head = CoCa(prepared.model.coca.config), prepared.described.build()
        model.load_state_dict(weights_below(weights, "coca."))
        head.load_state_dict(weights_below(weights, "head."))
        device, precision = self.execution.device, self.schedule.precision
        model = model.to(device=device, dtype=DTYPES[precision]).eval()
        image = model.config.image
        placed = Placed(model, prepared.tokenizer, image, request.output.name, "", device, precision)
        clips, border = prepared.described.clips, request.dataset.border
        computing, _ = token_computing(placed, request.features, request.reading, clips=clips, border=border)
        skipped = Skipped(strict=request.strict)
        view = request.augmentation.view(image, border)  # never asked for: nothing is trained here
        warn = self.reporter.warn
        live = LiveTokens(request.dataset.name, prepared.data.val, computing, view, skipped, warn, device)
        answers = live.answers([head.to(device).eval()], SINGLE, device)
        if not self.scored_on:
            skipped.tell(warn)
        self.scored_on = len(answers.examples)
        (found,) = score_heads(answers.scores, answers.labels)
        return {"score": 100 * found.accuracy, "val top-1": 100 * found.accuracy, "val loss": found.loss}

    def summary(self, scores: Mapping[str, float]) -> str:
        """The main scores in one line."""
        shown = f"top-1 {scores['val top-1']:.2f}, loss {scores['val loss']:.3f}"
        return f"{shown} on {self.scored_on:,} validation examples"

    def describe(self, folder: Path) -> None:
        """A checkpoint is no model: the run folder is."""

    def write(self, folder: Path, weights: Mapping[str, Tensor], trained: dict[str, Any]) -> None:
        """Write the model, and the classifier beside it; config.json comes last."""
        prepared = self.prepared
        coca, head = weights_below(weights, "coca."), prepared.described.build()
        head.load_state_dict(weights_below(weights, "head."))
        described = replace(prepared.described, checkpoint=hash_weights(coca))
        facts = {"trained": {"dataset": self.request.dataset.name, "start": prepared.start[0], **trained}}
        save_classifier(folder, described, head, facts)
        config = prepared.model.coca.config
        save_weights(folder, coca, config, prepared.tokenizer, described.name, facts)


def peak_rates(model: Classifier, schedule: ClassifierSchedule) -> dict[str, float]:
    """The peak rate of each parameter: the head's own, the encoder's less and less towards the pixels."""
    last = model.layer_of("head")
    return {
        name: schedule.head_learning_rate
        if name.startswith("head.")
        else schedule.learning_rate * schedule.layer_decay ** (last - model.layer_of(name))
        for name, _ in model.named_parameters()
    }


def _operations(coca: CoCa) -> int:
    """Of the encoder for one picture."""
    size = coca.config.image.size
    with torch.device("meta"):
        encoder = CoCa(coca.config).image.vit.eval().requires_grad_(False)
        return count_operations(partial(encoder, torch.empty(1, 3, size, size)))


def _announce(request: ClassifierRequest, prepared: Prepared, reporter: Reporter) -> None:
    """Tell the user what is trained."""
    data, schedule, model = prepared.data, prepared.schedule, prepared.model
    noun = "clips" if prepared.described.clips else "pictures"
    tell_absent(data.absent, len(data.train) + len(data.val), reporter)
    reporter.notice(
        f"data: {request.dataset.name}: {len(data.train):,} {noun} of {len(data.class_names):,} classes, "
        f"{len(data.val):,} others to score on"
    )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    reporter.notice(
        f"model: {prepared.start[0]} ({prepared.start[1]}), {trained / 1e6:.1f}M parameters trained, "
        f"{model.coca.config.image.size} px"
    )
    reporter.notice(describe_schedule(schedule, len(data.train)))
