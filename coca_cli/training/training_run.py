"""One training run in its folder, whatever it trains: it saves, scores, stops when asked, and goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from coca_cli.errors import CocaError
from coca_cli.media.batches import MAX_UNREADABLE, TOLD, Skipped
from coca_cli.model.placement import runs_bf16_well
from coca_cli.progress import Reporter
from coca_cli.training.batches import Position, TrainingBatch
from coca_cli.training.checkpoints import load_checkpoint, read_facts, save_checkpoint, whole_weights
from coca_cli.training.failed_writes import writing
from coca_cli.training.loop import Execution, StepReport, Work, train
from coca_cli.training.metrics_log import MetricsLog
from coca_cli.training.mixture import Mixture
from coca_cli.training.run_file import RUN_FILE, RunFile
from coca_cli.training.run_folder import BEST, find_start, holds_model, last_report
from coca_cli.training.run_request import RunRequest
from coca_cli.training.schedule import Schedule
from coca_cli.training.stopping import stop_requests
from coca_cli.training.unreadable import checked_batches
from coca_cli.training.utilisation import measured_peak
from coca_cli.world import World, tell_all, wait_for_all


class Trained(NamedTuple):
    """How a run ended.

    Attributes:
        last: The last step's report.
        unreadable: Of how many examples how many could not be read, in words; empty where they are 5 % at most.
    """

    last: StepReport
    unreadable: str = ""


class Course(Protocol):
    """What a run trains: pretraining and each task have their own."""

    @property
    def work(self) -> Work:
        """What is learned from a batch."""
        ...

    @property
    def mixture(self) -> Mixture:
        """The data."""
        ...

    @property
    def schedule(self) -> Schedule:
        """The numbers."""
        ...

    @property
    def scored(self) -> bool:
        """Whether there is anything to evaluate on."""
        ...

    def batches(self) -> Generator[TrainingBatch, None, None]:
        """This process's rows, from where the mixture stands."""
        ...

    def score(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Scores of the weights by name, `score` being what chooses the best; asked of the first process."""
        ...

    def summary(self, scores: Mapping[str, float]) -> str:
        """The main scores in one line."""
        ...

    def describe(self, folder: Path) -> None:
        """Write beside a checkpoint's weights what makes a model of them."""
        ...

    def write(self, folder: Path, weights: Mapping[str, Tensor], trained: dict[str, Any]) -> None:
        """Write the model.

        Args:
            folder: Where to.
            weights: By name, whole.
            trained: How they came about, to be kept with them.
        """
        ...


def new_execution(
    request: RunRequest, world: World, device: torch.device, precision: str, reporter: Reporter
) -> Execution:
    """How the steps of a run are computed, with the machine's speed measured."""
    mixed = precision == "bf16"
    slow = mixed and device.type == "cpu" and not runs_bf16_well(device)
    if slow and world.first:
        reporter.warn("this processor has no products of bf16: --precision fp32 is several times as fast")
    return Execution(
        device=device,
        world=world,
        parallel=request.parallel,
        accumulate=request.accumulate,
        peak=measured_peak(device, mixed=mixed and not slow),
    )


def check_run(request: RunRequest, batch_size: int, world: World) -> None:
    """Find mistakes that any command that trains can be given.

    Raises:
        CocaError: Options contradict each other, or batches cannot be shared.
    """
    if request.resume and request.overwrite:
        raise CocaError(
            f"--resume goes on with the run in {request.output}, --overwrite begins it anew; leave one of them out"
        )
    rows = world.size * request.accumulate
    if batch_size % rows:
        raise CocaError(
            f"a batch of {batch_size} cannot be cut into {world.size} processes x "
            f"{request.accumulate} parts: choose a --batch-size that is a multiple of {rows}"
        )


def starting_point(request: RunRequest, world: World) -> Path | None:
    """The checkpoint to go on from, the same on every process; None to begin."""
    found: Path | None = tell_all(find_start(request) if world.first else None, world)
    return found


class TrainingRun:
    """One run on one process.

    Args:
        course: What is trained.
        request: What the user asked.
        execution: On what.
        reporter: Shows progress.
        file: The run's file, on the first process.
    """

    def __init__(
        self, course: Course, request: RunRequest, execution: Execution, reporter: Reporter, file: RunFile | None
    ) -> None:
        self.course, self.request, self.execution = course, request, execution
        self.reporter, self.file = reporter, file
        self.state, self.world = course.work.state, execution.world
        self.skipped = Skipped(strict=request.strict)
        self.best = -1.0
        self.seconds = 0.0
        self.saved_at = -1

    def finished(self, checkpoint: Path | None) -> Trained | None:
        """How the run ended where it is finished already, its model written if that is missing; else None."""
        request, steps = self.request, self.course.schedule.steps
        if checkpoint is None or read_facts(checkpoint)["step"] < steps:
            return None
        if not tell_all(self.file and holds_model(request.output, steps, self.file), self.world):
            self._load(checkpoint)
            self._save_model(request.output)
            self.reporter.notice(f"the model in {request.output} was missing or older: written from {checkpoint.name}")
        self.reporter.notice(f"{request.output} is finished already; --overwrite trains it anew")
        return Trained(last_report(request.output, self.course.work.noun))

    def train(self, checkpoint: Path | None) -> Trained:
        """All steps that are left."""
        request, course, schedule = self.request, self.course, self.course.schedule
        file, mixture = self.file, self.course.mixture
        if file:
            file.write({})
        if checkpoint is not None:
            self._load(checkpoint)
            self.reporter.notice(f"going on after step {self.state.step:,} of {schedule.steps:,}")
        begun_at, started = self.state.step, time.monotonic()
        data = checked_batches(course.batches(), mixture, self.skipped, self.world, self.execution.device)
        log = MetricsLog(request.output, begun_at, request.logs, file.settings, file.id) if file else None
        before = self.seconds
        report: StepReport | None = None
        try:
            if course.scored and request.eval_first and not begun_at:
                self._evaluate(log)
            with stop_requests(self.reporter) as stop:
                for report, position in train(
                    course.work, data, schedule, self.execution, self.reporter, request.output
                ):
                    self.seconds = before + time.monotonic() - started
                    if log:
                        log.write(report.step, report.numbers())
                    last = report.step == schedule.steps
                    if course.scored and (last or _due(report.step, request.eval_every)):
                        self._evaluate_or_save(log, position)
                    if last or _due(report.step, request.save_every):
                        self._save(position)
                    if not last and stop.agreed(self.world, self.execution.device):
                        self._save(position)
                        words = "the same command without --overwrite" if request.overwrite else "the same command"
                        self.reporter.warn(f"stopped at step {report.step} of {schedule.steps}; {words} goes on")
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
        mixture = self.course.mixture
        mixture.taken, mixture.batches = list(facts["taken"]), int(facts["batches"])
        self.best, self.seconds = float(facts["best"]), float(facts["seconds"])
        self.saved_at = self.state.step

    def _save(self, position: Position) -> None:
        """A checkpoint to go on from, and the model as it is."""
        if self.saved_at == self.state.step:
            return
        facts = {"taken": position.taken, "batches": position.batches, "best": self.best, "seconds": self.seconds}
        request = self.request
        if self.file:
            self.file.write(self.skipped.reasons)
        save_checkpoint(request.output, self.state, self.course.describe, facts, self.world, request.keep_checkpoints)
        self._save_model(request.output)
        self.saved_at = self.state.step

    def _tell_unreadable(self) -> None:
        """Name the examples that were left out, however the run ends."""
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
            trained = {
                "run": self.file.id,
                "steps": self.state.step,
                "seconds": round(self.seconds, 1),
                "weights": "moving average" if self.state.ema else "last step",
                "recipe": self.course.schedule.to_dict(),
            }
            try:
                with writing(f"the model in {folder}"):
                    self.course.write(folder, weights, trained)
            except CocaError as error:
                problem = str(error)
        problem = tell_all(problem, self.world)
        if problem is not None:
            raise CocaError(problem)

    def _evaluate_or_save(self, log: MetricsLog | None, position: Position) -> None:
        """Score the model; where that fails, what was trained is kept."""
        try:
            self._evaluate(log)
        except CocaError:
            self._save(position)
            raise

    def _evaluate(self, log: MetricsLog | None) -> None:
        """Score the model, on the first process; keep it where it is the best so far."""
        weights = whole_weights(self.state)
        found, problem = None, None
        if self.world.first:
            try:
                found = self.course.score(weights)
            except CocaError as error:
                problem = error
        found, problem = tell_all((found, problem), self.world)
        if problem is not None:
            raise problem
        if log is not None:
            log.write(self.state.step, found)
            self.reporter.notice(f"step {self.state.step:,}: " + self.course.summary(found))
        if found["score"] > self.best:
            self.best = found["score"]
            self._save_model(self.request.output / BEST)
        wait_for_all(self.world)


def _due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0
