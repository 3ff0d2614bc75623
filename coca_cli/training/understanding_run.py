"""The straight path of `coca finetune vqa`, `snli-ve` and `nlvr2`: a trained model -> one that answers."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from coca_cli.datasets.selection import hash_questions, hash_texts
from coca_cli.files import make_folder
from coca_cli.media.batches import Skipped
from coca_cli.model.checkpoint import save_weights
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import DTYPES, Placed, choose_device
from coca_cli.model.understanding import Understanding, encode_questions
from coca_cli.model.understanding_folder import UnderstandingDescription, describe_understanding, save_understanding
from coca_cli.model.weights import hash_weights
from coca_cli.progress import Reporter
from coca_cli.tasks.answering import Answerer, Outcome, answer_questions
from coca_cli.tasks.understanding_scores import rate_answers, statement_scores, usual_accuracy
from coca_cli.training.augment import View
from coca_cli.training.batches import TrainingBatch, training_batches
from coca_cli.training.finetune_setup import (
    StartingModel,
    assemble,
    describe_schedule,
    load_start,
    settle_schedule,
    weights_below,
)
from coca_cli.training.kept_reads import fit_budget, keep_reads
from coca_cli.training.loop import Execution
from coca_cli.training.metrics_log import check_extras
from coca_cli.training.mixture import mix_task
from coca_cli.training.optim import freeze
from coca_cli.training.run_folder import open_run_file
from coca_cli.training.training_run import Trained, TrainingRun, check_run, new_execution, starting_point
from coca_cli.training.understanding_data import UnderstandingData, select_data
from coca_cli.training.understanding_request import UnderstandingRequest, UnderstandingSchedule
from coca_cli.training.understanding_work import UnderstandingObjective, UnderstandingWork
from coca_cli.training.utilisation import step_cost
from coca_cli.world import joined_world, local_device

NOUNS = {"questions": "questions", "entailment": "statements", "reasoning": "statements"}


class Prepared(NamedTuple):
    """What a run works with.

    Attributes:
        data: The examples and the answers.
        schedule: With all numbers settled.
        model: In fp32 on the CPU, frozen parts marked.
        described: The head, the model's hash left empty.
        start: What is begun with.
    """

    data: UnderstandingData
    schedule: UnderstandingSchedule
    model: Understanding
    described: UnderstandingDescription
    start: StartingModel


def run_understanding(request: UnderstandingRequest, reporter: Reporter) -> Trained | None:
    """Finetune and write the run folder, which is a model that answers; also when interrupted.

    Returns:
        How it ended; None on all processes but the first.

    Raises:
        CocaError: Data, model or output are not usable; see the functions called.
        KeyboardInterrupt: The user stopped it; what was trained has been saved.
        SystemExit: The system stopped it (SIGTERM); what was trained has been saved.
    """
    device = local_device(choose_device(request.device))
    with joined_world(device) as world:
        reporter = reporter if world.first else Reporter(quiet=True)
        check_run(request, request.schedule.batch_size, world)
        check_extras(request.logs)
        make_folder(request.output)
        checkpoint = starting_point(request, world)
        prepared = prepare(request, device)
        file = open_run_file(request, settings_of(request, prepared), checkpoint) if world.first else None
        execution = new_execution(request, world, device, prepared.schedule.precision, reporter)
        course = UnderstandingCourse(request, prepared, execution, reporter)
        run = TrainingRun(course, request, execution, reporter, file)
        trained = run.finished(checkpoint)
        if trained is None:
            _announce(request, prepared, reporter)
            trained = run.train(checkpoint)
        return trained if world.first else None


def prepare(request: UnderstandingRequest, device: torch.device) -> Prepared:
    """Find the examples and build the model; the same on every process.

    Raises:
        CocaError: Data or model are not usable.
    """
    data, dataset = select_data(request), request.dataset
    schedule = settle_schedule(request.schedule, request.epochs, len(data.train), device)
    start = load_start(request.model, request.pretrained, request.image_size)
    coca = start.coca
    if request.whole_pictures:
        coca.config = replace(coca.config, image=replace(coca.config.image, resize="squash"))
    torch.manual_seed(schedule.seed)
    described = describe_understanding(
        coca.config, request.output.name, dataset, data.split, data.answers.words, data.usual
    )
    head = described.build()
    if dataset.task == "questions":  # of many answers few are right: begin with each as likely as that
        torch.nn.init.constant_(head.classifier.bias, -math.log(max(1, len(data.answers) - 1)))
    model = Understanding(coca, head, dataset.pictures)
    model.train_decoding_alone(captions=schedule.generative_weight > 0)
    if request.frozen or not schedule.learning_rate:
        coca.requires_grad_(False)
    freeze(coca, request.freeze)
    if request.checkpoint_activations:
        coca.checkpoint_activations()
    return Prepared(data, schedule, model, described, start)


def settings_of(request: UnderstandingRequest, prepared: Prepared) -> dict[str, Any]:
    """All that decides what is learned, as JSON: a run goes on only where it is the same."""
    data, image = prepared.data, prepared.model.coca.config.image
    return {
        "dataset": request.dataset.name,
        "dataset_version": request.dataset.version,
        **data.splits,
        "examples": [len(data.train), len(data.val)],
        "asked": [hash_questions(data.train), hash_questions(data.val)],
        "answers": [len(data.answers), hash_texts(data.answers.words)],
        "limit": request.limit,
        "model": prepared.start.name,
        "weights": prepared.start.checkpoint,
        "image": [image.size, image.resize],
        "frozen": request.frozen,
        "freeze": list(request.freeze),
        "recipe": prepared.schedule.to_dict(),
        "augmentation": asdict(request.augmentation),
    }


class UnderstandingCourse:
    """Finetuning for questions or statements; see `training_run.Course`.

    Args:
        request: What the user asked.
        prepared: What became of it.
        execution: On what.
        reporter: Takes warnings of evaluations.
    """

    scored = True

    def __init__(
        self, request: UnderstandingRequest, prepared: Prepared, execution: Execution, reporter: Reporter
    ) -> None:
        self.request, self.prepared, self.execution, self.reporter = request, prepared, execution, reporter
        self.schedule = schedule = prepared.schedule
        self.scored_on = 0
        dataset, data = request.dataset, prepared.data
        self.open = dataset.task == "questions"
        self.mixture = mix_task(dataset.name, data.train, schedule.seed, spoken=self.open)
        model = prepared.model.to(execution.device)
        frozen = not any(parameter.requires_grad for parameter in model.coca.parameters())
        whole = UnderstandingObjective(
            model,
            exclusive=not self.open,
            captions=schedule.generative_weight > 0,
            frozen=frozen,
            mixed=schedule.precision == "bf16",
        )
        layers = [*model.coca.layers, model.head]
        peaks = {
            name: schedule.head_learning_rate if name.startswith("head.") else schedule.learning_rate
            for name, _ in model.named_parameters()
        }
        state, objective = assemble(model, whole, layers, schedule, peaks, request, execution)
        self.work = UnderstandingWork(
            state=state,
            objective=objective,
            execution=execution,
            tokenizer=prepared.start.tokenizer,
            pad_id=model.coca.pad_id,
            answers=data.answers if self.open else None,
            generative_weight=schedule.generative_weight,
            cost=step_cost(model.coca.config),
            frozen=frozen,
            noun=NOUNS[dataset.task],
        )

    def batches(self) -> Generator[TrainingBatch, None, None]:
        """This process's examples: their pictures or, where nothing below the head changes, what was made of them."""
        request, image = self.request, self.prepared.model.coca.config.image
        augmentation = request.augmentation
        view = augmentation.pictures_view(image, request.dataset.border)
        if self.work.frozen and not augmentation.changes and self.execution.world.size == 1:
            view = self._kept_view(view)
        size, world = self.schedule.batch_size, self.execution.world
        return training_batches(self.mixture, view, batch_size=size, workers=request.workers, world=world)

    def _kept_view(self, otherwise: View) -> View:
        """A look at what the frozen model makes of the examples, if that fits the memory."""
        prepared, model = self.prepared, self.prepared.model
        tokenizer, examples = prepared.start.tokenizer, prepared.data.train
        if not fit_budget(model, tokenizer, examples):
            return otherwise

        def track(stream: Iterable[Outcome]) -> Iterable[Outcome]:
            return self.reporter.track(
                stream, total=len(examples), label="frozen model", size=lambda outcome: len(outcome[0].rows)
            )

        kept = keep_reads(
            model,
            tokenizer,
            examples,
            mixed=self.schedule.precision == "bf16",
            batch_size=self.schedule.batch_size,
            workers=self.request.workers,
            border=self.request.dataset.border,
            track=track,
        )
        return kept.view

    def score(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Accuracy on the validation examples, and consistency where statements come with several pairs."""
        request, prepared, device = self.request, self.prepared, self.execution.device
        model, head = CoCa(prepared.model.coca.config), prepared.described.build()
        model.load_state_dict(weights_below(weights, "coca."))
        head.load_state_dict(weights_below(weights, "head."))
        precision = self.schedule.precision
        model = model.to(device=device, dtype=DTYPES[precision]).eval()
        placed = Placed(model, prepared.start.tokenizer, model.config.image, request.output.name, "", device, precision)
        skipped, dataset = Skipped(strict=request.strict), request.dataset
        found = answer_questions(
            Answerer(placed, head.to(device).eval(), dataset.pictures, exclusive=not self.open),
            prepared.data.val,
            skipped,
            batch_size=self.schedule.batch_size // (self.execution.world.size * self.execution.accumulate),
            workers=request.workers,
            border=dataset.border,
        )
        if not self.scored_on:
            skipped.tell(self.reporter.warn)
        self.scored_on = len(found.examples)
        said = [prepared.described.answers[classes[0]] for classes in found.ranking.classes.tolist()]
        rates = rate_answers(found.examples, said, dataset.answers)
        usual = usual_accuracy(found.examples, prepared.data.usual, dataset.answers)
        accuracy = 100 * float(rates.mean())
        scores = {"score": accuracy, "val accuracy": accuracy, "val usual answers": 100 * usual}
        if not self.open and any(example.kind for example in found.examples):
            consistency = statement_scores(found.examples, rates).values["consistency"]
            scores["val consistency"] = 100 * consistency.value
        return scores

    def summary(self, scores: Mapping[str, float]) -> str:
        """The main scores in one line."""
        consistency = f", consistency {scores['val consistency']:.2f}" if "val consistency" in scores else ""
        return (
            f"accuracy {scores['val accuracy']:.2f}{consistency} on {self.scored_on:,} validation {self.work.noun} "
            f"(the most frequent answers alone: {scores['val usual answers']:.2f})"
        )

    def describe(self, folder: Path) -> None:
        """A checkpoint is no model: the run folder is."""

    def write(self, folder: Path, weights: Mapping[str, Tensor], trained: dict[str, Any]) -> None:
        """Write the model, and the head beside it; config.json comes last."""
        prepared = self.prepared
        coca, head = weights_below(weights, "coca."), prepared.described.build()
        head.load_state_dict(weights_below(weights, "head."))
        described = replace(prepared.described, checkpoint=hash_weights(coca))
        facts = {"trained": {"dataset": self.request.dataset.name, "start": prepared.start.name, **trained}}
        save_understanding(folder, described, head, facts)
        save_weights(folder, coca, prepared.model.coca.config, prepared.start.tokenizer, described.name, facts)


def _announce(request: UnderstandingRequest, prepared: Prepared, reporter: Reporter) -> None:
    """Tell the user what is trained."""
    data, schedule, model = prepared.data, prepared.schedule, prepared.model
    noun, pictures = NOUNS[request.dataset.task], len({example.media for example in data.train})
    about = "pairs of pictures" if request.dataset.pictures > 1 else "pictures"
    unknown = f" ({data.unknown:,} questions have no right one among them)" if data.unknown else ""
    reporter.notice(
        f"data: {request.dataset.name}: {len(data.train):,} {noun} about {pictures:,} {about}, {len(data.val):,} "
        f"others to score on; {len(data.answers):,} answers{unknown}"
    )
    tokenizer, context = prepared.start.tokenizer, model.coca.config.text.context
    distinct = list(dict.fromkeys(example.question for example in data.train))
    # of shorter ones no tokenizer makes so many tokens
    asked = [text for text in distinct if len(text.encode()) >= context - 2] or distinct[:1]
    cut = int((encode_questions(tokenizer, model.coca.pad_id, asked).lengths >= context - 1).sum())
    if cut:
        words = f"{cut:,} of {len(distinct):,} texts"
        reporter.warn(f"{words} fill all {context} positions of the model, and may be cut off")
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    reporter.notice(
        f"model: {prepared.start.name} ({prepared.start.checkpoint}), {trained / 1e6:.1f}M parameters trained, "
        f"{model.coca.config.image.size} px"
    )
    reporter.notice(describe_schedule(schedule, len(data.train)))
