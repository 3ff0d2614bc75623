"""The straight path of `coca pretrain`, from sources to a model folder; it goes on where an earlier run stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from coca_cli.errors import CocaError
from coca_cli.files import make_folder
from coca_cli.media.batches import MAX_UNREADABLE, TOLD, Skipped
from coca_cli.model.checkpoint import save_weights
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import Placed, choose_device
from coca_cli.progress import Reporter
from coca_cli.training.batches import NO_WORD_DROPOUT, Position, WordDropout, training_batches
from coca_cli.training.checkpoints import (
    TrainingState,
    load_checkpoint,
    read_facts,
    save_checkpoint,
    whole_weights,
)
from coca_cli.training.distributed import parallelise
from coca_cli.training.dry_run import describe_plan
from coca_cli.training.ema import Ema
from coca_cli.training.evaluations import EvaluationSet, open_sets, score
from coca_cli.training.failed_writes import writing
from coca_cli.training.heap import choose_heap
from coca_cli.training.loop import Execution, StepReport, train
from coca_cli.training.metrics_log import MetricsLog, check_extras
from coca_cli.training.objective import Objective
from coca_cli.training.optim import build_optimizer
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.pretrain_setup import Prepared, prepare, settings_of
from coca_cli.training.run_file import RUN_FILE, RunFile
from coca_cli.training.run_folder import BEST, find_start, holds_model, last_report, open_run_file
from coca_cli.training.stopping import stop_requests
from coca_cli.training.unreadable import checked_batches
from coca_cli.training.utilisation import measured_peak, step_cost
from coca_cli.world import World, joined_world, local_device, tell_all, wait_for_all


class Trained(NamedTuple):
    """How a run ended.

    Attributes:
        last: The last step's report.
        unreadable: Of how many pictures how many could not be read, in words; empty where they are 5 % at most.
    """

    last: StepReport
    unreadable: str = ""


def run_pretrain(request: PretrainRequest, reporter: Reporter) -> Trained | None:
    """Train and write the run folder; also when interrupted, so that nothing is lost.

    Returns:
        How it ended; None on all processes but the first.

    Raises:
        CocaError: Data, configuration or output are not usable; see the functions called.
        KeyboardInterrupt: The user stopped it; what was trained has been saved.
        SystemExit: The system stopped it (SIGTERM); what was trained has been saved.
    """
    device = local_device(choose_device(request.device))
    with joined_world(device) as world:
        if not world.first:
            reporter = Reporter(quiet=True)
        _check_request(request, world)
        check_extras(request.logs)
        make_folder(request.output)
        checkpoint = tell_all(find_start(request) if world.first else None, world)
        prepared = prepare(request, device, checkpoint)
        sets = _sets(request)
        file = open_run_file(request, settings_of(request, prepared), checkpoint) if world.first else None
        if checkpoint is not None and read_facts(checkpoint)["step"] >= prepared.recipe.steps:
            if not tell_all(file and holds_model(request.output, prepared.recipe.steps, file), world):
                _Run(request, prepared, sets, world, device, reporter, file).write_model(checkpoint)
            reporter.notice(f"{request.output} is finished already; --overwrite trains it anew")
            return Trained(last_report(request.output)) if world.first else None
        _announce(request, prepared, reporter)
        if file:
            file.write({})
        trained = _Run(request, prepared, sets, world, device, reporter, file).train(checkpoint)
        return trained if world.first else None


def plan_pretrain(request: PretrainRequest) -> str:
    """What `run_pretrain` would do, as text; nothing is written.

    Raises:
        CocaError: Data or configuration are not usable; see the functions called.
    """
    device = local_device(choose_device(request.device))
    with joined_world(device) as world:
        _check_request(request, world)
        prepared = prepare(request, device, shapes_alone=True)
        _sets(request)
        aside = f"{_left_aside(request)}\n\n" if request.left_aside else ""
        return aside + describe_plan(request, prepared, world) if world.first else ""


class _Run:
    """One run on one process."""

    def __init__(
        self,
        request: PretrainRequest,
        prepared: Prepared,
        sets: list[EvaluationSet],
        world: World,
        device: torch.device,
        reporter: Reporter,
        file: RunFile | None,  # of the first process
    ) -> None:
        self.request, self.prepared, self.sets = request, prepared, sets
        self.world, self.device, self.reporter, self.file = world, device, reporter, file
        recipe, model = prepared.recipe, prepared.model.to(device)
        choose_heap(sum(parameter.numel() for parameter in model.parameters()))
        mixed = recipe.precision == "bf16"
        objective: nn.Module = Objective(model, mixed=mixed)
        self.objective = parallelise(objective, model, request.parallel, world, device)
        if request.compile:
            self.objective.compile(dynamic=True)
        optimizer = build_optimizer(model, recipe.optimizer, recipe.learning_rate, recipe.weight_decay)
        self.state = TrainingState(model, optimizer, Ema(model, recipe.ema) if recipe.ema else None)
        self.execution = Execution(
            device=device,
            world=world,
            parallel=request.parallel,
            accumulate=request.accumulate,
            cost=step_cost(model.config),
            peak=measured_peak(device, mixed=mixed),
        )
        self.skipped = Skipped(strict=request.strict)
        self.best = -1.0
        self.seconds = 0.0
        self.saved_at = -1

    def write_model(self, checkpoint: Path) -> None:
        """The model of the last checkpoint, where the run ended between the two."""
        self._load(checkpoint)
        self._save_model(self.request.output)
        self.reporter.notice(f"the model in {self.request.output} was missing or older: written from {checkpoint.name}")

    def _word_dropout(self) -> WordDropout:
        rate = self.prepared.recipe.word_dropout
        return WordDropout(rate, self.prepared.model.config.text.context) if rate else NO_WORD_DROPOUT

    def train(self, checkpoint: Path | None) -> Trained:
        """All steps that are left."""
        if checkpoint is not None:
            self._load(checkpoint)
            self.reporter.notice(f"going on after step {self.state.step:,} of {self.prepared.recipe.steps:,}")
        request, recipe, mixture = self.request, self.prepared.recipe, self.prepared.mixture
        begun_at, started = self.state.step, time.monotonic()
        data = training_batches(
            mixture,
            self.state.model.config.image,
            request.augmentation,
            batch_size=recipe.batch_size,
            word_dropout=self._word_dropout(),
            workers=request.workers,
            world=self.world,
        )
        data = checked_batches(data, mixture, self.skipped, self.world, self.device)
        file = self.file
        log = MetricsLog(request.output, begun_at, request.logs, file.settings, file.id) if file else None
        before = self.seconds
        report: StepReport | None = None
        position = Position(list(mixture.taken), mixture.batches)
        try:
            if self.sets and request.eval_first and not begun_at:
                self._evaluate(log)
            with stop_requests(self.reporter) as stop:
                for report, position in train(
                    self.objective,
                    self.state,
                    self.prepared.tokenizer,
                    data,
                    recipe,
                    self.execution,
                    self.reporter,
                    request.output,
                ):
                    self.seconds = before + time.monotonic() - started
                    if log:
                        log.write(report.step, {k: v for k, v in asdict(report).items() if k != "step"})
                    last = report.step == recipe.steps
                    if self.sets and (last or _due(report.step, request.eval_every)):
                        self._evaluate(log)
                    if last or _due(report.step, request.save_every):
                        self._save(position)
                    if not last and stop.agreed(self.world, self.device):
                        self._save(position)
                        words = "the same command without --overwrite" if request.overwrite else "the same command"
                        self.reporter.warn(f"stopped at step {report.step} of {recipe.steps}; {words} goes on")
                        stop.leave()
        finally:
            data.close()
            if log:
                log.close()
            self._tell_unreadable()
        assert report is not None
        return Trained(report, self._warn_of_many_unreadable())

    def _load(self, checkpoint: Path) -> None:
        load_checkpoint(checkpoint, self.state)
        facts = read_facts(checkpoint)
        mixture = self.prepared.mixture
        mixture.taken, mixture.batches = list(facts["taken"]), int(facts["batches"])
        self.best, self.seconds = float(facts["best"]), float(facts["seconds"])
        self.saved_at = self.state.step

    def _save(self, position: Position) -> None:
        """A checkpoint to go on from, and the model as it is."""
        if self.saved_at == self.state.step:
            return
        facts = {"taken": position.taken, "batches": position.batches, "best": self.best, "seconds": self.seconds}
        request, state = self.request, self.state
        if self.file:
            self.file.write(self.skipped.reasons)
        save_checkpoint(request.output, state, self.prepared.tokenizer, facts, self.world, request.keep_checkpoints)
        self._save_model(request.output)
        self.saved_at = state.step

    def _tell_unreadable(self) -> None:
        """Name the pictures that were left out, however the run ends."""
        found = self.skipped.reasons
        if not self.file or not found:
            return
        self.skipped.tell(self.reporter.warn)
        if len(found) > TOLD:
            self.reporter.warn(f"left out: {len(found):,} pictures in all; see {self.request.output / RUN_FILE}")
        with suppress(CocaError):  # what ended the run is the better message
            self.file.write(found)

    def _warn_of_many_unreadable(self) -> str:
        """Of a run too short for the check of whole passes, whose model stays; the words for its last line."""
        found, seen = len(self.skipped.reasons), self.skipped.seen
        if found <= MAX_UNREADABLE * seen:
            return ""
        words = f"{found:,} of {seen:,} pictures could not be read"
        self.reporter.warn(
            f"{words}, which is more than 5 %: the model saw only the others, and a longer run would stop; "
            "mend the files or fetch them again"
        )
        return words

    def _save_model(self, folder: Path) -> None:
        weights = whole_weights(self.state)
        problem: str | None = None
        if self.file:
            recipe = self.prepared.recipe
            trained = {
                "run": self.file.id,
                "steps": self.state.step,
                "seconds": round(self.seconds, 1),
                "weights": "moving average" if self.state.ema else "last step",
                "recipe": recipe.to_dict(),
            }
            config, name = self.state.model.config, self.request.output.name
            try:
                with writing(f"the model in {folder}"):
                    save_weights(folder, weights, config, self.prepared.tokenizer, name, {"trained": trained})
            except CocaError as error:
                problem = str(error)
        problem = tell_all(problem, self.world)
        if problem is not None:
            raise CocaError(problem)

    def _evaluate(self, log: MetricsLog | None) -> None:
        """Score the model on the named sets, on the first process; keep it where it is the best so far."""
        weights = whole_weights(self.state)
        found = None
        if self.world.first:
            config = self.state.model.config
            model = CoCa(config)
            model.load_state_dict(weights)
            model = model.to(self.device).eval()
            tokenizer, name = self.prepared.tokenizer, self.request.output.name
            placed = Placed(model, tokenizer, config.image, name, "", self.device, "fp32")
            found = score(placed, self.sets, self.request.workers, self.reporter.notice)
            assert log is not None
            log.write(self.state.step, found)
            self.reporter.notice(f"step {self.state.step:,}: " + _summary(found))
        found = tell_all(found, self.world)
        if found["score"] > self.best:
            self.best = found["score"]
            self._save_model(self.request.output / BEST)
        wait_for_all(self.world)


def _sets(request: PretrainRequest) -> list[EvaluationSet]:
    return open_sets(
        request.eval_zeroshot, request.eval_retrieval, request.root, request.limit, captions=request.eval_caption
    )


def _due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0


def _summary(found: Mapping[str, float]) -> str:
    shown = ("CIDEr", "top-1", "recall@10", "caption loss", "caption loss, pictures shuffled")
    return ", ".join(f"{name} {value:.2f}" for name, value in found.items() if name.endswith(shown))


def _check_request(request: PretrainRequest, world: World) -> None:
    if request.resume and request.overwrite:
        raise CocaError(
            f"--resume goes on with the run in {request.output}, --overwrite begins it anew; leave one of them out"
        )
    rows = world.size * request.accumulate
    if request.recipe.batch_size % rows:
        raise CocaError(
            f"a batch of {request.recipe.batch_size} cannot be cut into {world.size} processes x "
            f"{request.accumulate} parts: choose a --batch-size that is a multiple of {rows}"
        )


def _announce(request: PretrainRequest, prepared: Prepared, reporter: Reporter) -> None:
    """Tell the user what is trained."""
    model, recipe, mixture = prepared.model, prepared.recipe, prepared.mixture
    for feed, share in zip(mixture.feeds, mixture.shares, strict=True):
        words = "pairs" if feed.source.kind == "pairs" else "labels as text"
        size = "a stream of" if feed.size is None else f"{feed.size:,}"
        removed = f", {feed.left_out:,} left out by its keep-list" if feed.left_out else ""
        reporter.notice(f"data: {feed.source.name}: {size} pictures ({words}{removed}), {share:.0%} of each batch")
    if request.left_aside:
        reporter.notice(_left_aside(request))
    parameters = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = "" if trained == parameters else f" ({trained / 1e6:.1f}M trained)"
    reporter.notice(
        f"model: {request.start}, {parameters / 1e6:.1f}M parameters{frozen}, "
        f"{model.config.text.vocab_size:,} words, {model.config.image.size} px"
    )
    passes = f" ({recipe.steps * recipe.batch_size / mixture.size:.1f} passes)" if mixture.size else ""
    reporter.notice(
        f"schedule: {recipe.steps:,} steps of {recipe.batch_size}{passes}, {recipe.optimizer}, "
        f"peak rate {recipe.learning_rate:g}, {recipe.decay} decay, {recipe.precision}"
    )


def _left_aside(request: PretrainRequest) -> str:
    return (
        f"--init {request.init} brings its own architecture and tokenizer: "
        f"{', '.join(request.left_aside)} of the recipe {'is' if len(request.left_aside) == 1 else 'are'} left aside"
    )
