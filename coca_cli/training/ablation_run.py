"""The straight path of `coca ablate`: train every variant, measure it, keep what is finished, fill the tables."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from multiprocessing import active_children, get_context
from typing import NoReturn

import torch

from coca_cli.errors import CocaError
from coca_cli.files import make_folder
from coca_cli.media.batches import default_workers
from coca_cli.model.checkpoint import CONFIG_FILE, load_folder
from coca_cli.model.placement import choose_device
from coca_cli.progress import Reporter
from coca_cli.tasks.ablation_scores import TableScores, VariantScores
from coca_cli.training.ablation_classes import class_places, run_classes
from coca_cli.training.ablation_cost import mean_words, step_seconds, variant_cost
from coca_cli.training.ablation_measures import Measuring, check_measures
from coca_cli.training.ablation_plan import AblationRun, Plan, make_plan, pretraining_of
from coca_cli.training.ablation_request import AblationRequest
from coca_cli.training.ablation_state import AblationState, RunOutcome, forget
from coca_cli.training.ablation_variants import Line, Table
from coca_cli.training.checkpoints import CHECKPOINTS
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.pretrain_run import run_pretrain
from coca_cli.training.pretrain_setup import open_mixture
from coca_cli.world import joined_world, local_device, tell_all

Step = tuple[AblationRun, RunOutcome | None]


class _Quieter(Reporter):
    """Shows progress, and no notices: they are the same for every run."""

    def notice(self, text: str) -> None:
        """Nothing."""


def run_ablation(request: AblationRequest, reporter: Reporter) -> list[TableScores]:
    """Train and measure what is not finished yet.

    Returns:
        The tables; none on all processes but the first.

    Raises:
        CocaError: Data, configuration or output are not usable; see the functions called.
        KeyboardInterrupt: The user stopped it; what was trained has been saved.
        SystemExit: The system stopped it (SIGTERM); what was trained has been saved.
    """
    plan = make_plan(request)
    if request.jobs > 1 and "RANK" in os.environ:
        raise CocaError(
            "--jobs is for one process: under torchrun all of them train one model at a time; give --jobs 1"
        )
    make_folder(request.output)
    check_measures(request)
    with joined_world(local_device(choose_device(request.base.device))) as world:
        first = world.first
        reporter = reporter if first else Reporter(quiet=True)
        if first and request.base.overwrite:
            forget(request.output)
        state = AblationState(request) if first else AblationState(request, anew=True)
        finished = tell_all({run.name: state.outcome(run) for run in plan.runs}, world)
        if plan.left_out and first:
            reporter.warn(plan.left_out)
        _train_all(request, plan, state, finished, reporter, first=first)
        return collect(plan, state) if first else []


def _train_all(
    request: AblationRequest,
    plan: Plan,
    state: AblationState,
    finished: dict[str, RunOutcome | None],
    reporter: Reporter,
    *,
    first: bool,
) -> None:
    """Do what is left, and keep each run as it ends."""
    todo = [run for run in plan.runs if len((finished[run.name] or _NOTHING).scores) < len(run.measures)]
    if first and len(todo) < len(plan.runs):
        reporter.notice(f"{len(plan.runs) - len(todo)} of {len(plan.runs)} runs are finished already")
    done, begun = 0, time.monotonic()
    steps = _one_by_one if request.jobs == 1 else _side_by_side
    try:
        with closing(steps(request, todo, finished, reporter)) as outcomes:
            for run, outcome in outcomes:
                if outcome is None:
                    continue
                state.record(run, outcome)
                shutil.rmtree(pretraining_of(request, run).output / CHECKPOINTS, ignore_errors=True)
                done += 1
                left = (time.monotonic() - begun) / done * (len(todo) - done)
                scores = ", ".join(f"{name} {value:.1f}" for name, value in outcome.scores.items())
                reporter.notice(f"{done} of {len(todo)}: {run.name}: {scores}; about {left / 60:.0f} min left")
    except (KeyboardInterrupt, SystemExit):
        if first:
            words = "the same command without --overwrite" if request.base.overwrite else "the same command"
            reporter.warn(f"stopped with {len(plan.runs) - len(todo) + done} of {len(plan.runs)} runs; {words} goes on")
        raise


_NOTHING = RunOutcome(0.0, 0.0, 0, 0.0, {})


def _one_by_one(
    request: AblationRequest, todo: Sequence[AblationRun], finished: dict[str, RunOutcome | None], reporter: Reporter
) -> Generator[Step, None, None]:
    for run in todo:
        reporter.notice(f"{run.name} ...")
        yield run, do_run(request, run, finished[run.name], _Quieter(quiet=reporter.quiet))


def _side_by_side(
    request: AblationRequest, todo: Sequence[AblationRun], finished: dict[str, RunOutcome | None], reporter: Reporter
) -> Generator[Step, None, None]:
    """In processes with their part of the cores; no more are given out than are computed, so that a stop is soon."""
    threads = max(1, default_workers() // request.jobs)
    base = request.base
    shared = replace(request, base=replace(base, workers=threads if base.workers is None else base.workers))
    pool = ProcessPoolExecutor(request.jobs, get_context("spawn"), _begin_process, (threads,))
    before = None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, _leave)
    waiting, running = list(todo), dict[Future[RunOutcome | None], AblationRun]()
    try:
        while waiting or running:
            while waiting and len(running) < request.jobs:
                run = waiting.pop(0)
                running[pool.submit(_do_silently, shared, run, finished[run.name])] = run
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                run = running.pop(future)
                yield run, future.result()
    except BaseException:
        for child in active_children():
            child.terminate()  # a run that is being trained saves first
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _do_silently(request: AblationRequest, run: AblationRun, before: RunOutcome | None) -> RunOutcome | None:
    return do_run(request, run, before, Reporter(quiet=True))


def _begin_process(threads: int) -> None:
    """Ctrl-C is the first process's: it tells the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def do_run(
    request: AblationRequest, run: AblationRun, before: RunOutcome | None, reporter: Reporter
) -> RunOutcome | None:
    """Train a variant, if that is not done, and measure what is missing.

    Returns:
        What is known now; None on all processes but the first.

    Raises:
        CocaError: Data, configuration or output are not usable; see the functions called.
    """
    begun = time.monotonic()
    training = pretraining_of(request, run)
    if before is None or not (training.output / CONFIG_FILE).exists():
        before = None
        train = run_classes if run.variant.classes else run_pretrain
        if train(training, reporter) is not None:
            before = _trained(training, run)
    measuring = Measuring(request, training.output, run.seed, reporter)
    scores = dict(before.scores) if before else {}
    for measure in run.measures:
        if measure.name not in scores:
            value = measuring.measure(measure)
            if value is not None:
                scores[measure.name] = value
    if before is None:
        return None
    return before._replace(scores=scores, took=before.took + time.monotonic() - begun)


def _trained(training: PretrainRequest, run: AblationRun) -> RunOutcome:
    """What is known of a model that has just been trained."""
    model = load_folder(training.output)
    batch_size, config = training.recipe.batch_size, model.model.config
    classes = len(class_places(open_mixture(training))) if run.variant.classes else 1
    words = mean_words(training, model.tokenizer, model.model.pad_id)
    cost = variant_cost(config, run.variant, batch_size=batch_size, words=words, classes=classes)
    return RunOutcome(batch_size * step_seconds(training.output), cost.operations, cost.parameters, 0.0, {})


def collect(plan: Plan, state: AblationState) -> list[TableScores]:
    """The tables with what has been measured."""
    by_variant: dict[str, dict[int, RunOutcome]] = {}
    for run in plan.runs:
        outcome = state.outcome(run)
        if outcome is not None:
            by_variant.setdefault(run.variant.name, {})[run.seed] = outcome
    return [_fill(table, plan, by_variant) for table in plan.tables]


def _fill(table: Table, plan: Plan, by_variant: dict[str, dict[int, RunOutcome]]) -> TableScores:
    measures = plan.shown[table.name]

    def line(of: Line) -> VariantScores:
        found = by_variant.get(of.variant.name, {}) if of.variant else {}
        scores: dict[str, dict[int, float]] = {}
        for measure in measures:
            values = {s: outcome.scores[measure.name] for s, outcome in found.items() if measure.name in outcome.scores}
            if values and of.variant and measure.kind not in of.variant.lacks:
                scores[measure.name] = values
        one = next(iter(found.values()), _NOTHING)
        return VariantScores(
            label=of.label,
            paper=of.paper,
            scores=scores,
            seconds={seed: outcome.seconds for seed, outcome in found.items()},
            operations=one.operations,
            parameters=one.parameters,
        )

    return TableScores(
        name=table.name,
        title=table.title,
        measures=tuple(measure.name for measure in measures),
        lines=tuple(map(line, table.lines)),
        reference=table.reference,
        cost_base=table.cost_base,
        notes=table.notes,
    )
