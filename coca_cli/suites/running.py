"""Running a plan: each model loaded once, each end written down at once, one failure no end of the rest."""

from __future__ import annotations

import gc
import sys
import time
import traceback
from collections.abc import Sequence
from typing import NamedTuple

import torch

from coca_cli.errors import CocaError
from coca_cli.model.baselines import Baseline
from coca_cli.progress import Reporter
from coca_cli.results import Result
from coca_cli.store import Store
from coca_cli.suites.candidates import Bound, Kind, load_candidate
from coca_cli.suites.estimates import in_words
from coca_cli.suites.finished import FinishedBenchmarks, all_rows
from coca_cli.suites.plan import Item, Status, of_status
from coca_cli.suites.work import first_line
from coca_cli.world import World, tell_all

GO_ON = "The same command (without --again) goes on with the others."
TRUST = 60.0
"""Seconds for which the estimates are believed: a first benchmark that took two in place of one says little."""


class Loading(NamedTuple):
    """What must be equal for two benchmarks to share a loaded model."""

    model: str
    image_size: int | None
    device: str
    precision: str


class SuiteRun:
    """One run of a plan.

    Args:
        items: The plan; what becomes of each item is written into it.
        store: Where rows go.
        reporter: Shows progress.
        world: The processes that share the work.
    """

    def __init__(self, items: Sequence[Item], store: Store, reporter: Reporter, world: World) -> None:
        self.items, self.store, self.reporter, self.world = items, store, reporter, world
        self.finished = FinishedBenchmarks(store)
        self._total = len(of_status(items, Status.todo))
        self._number = 0
        self._took = self._expected = 0.0

    def run(self) -> None:
        """Do all that is to do.

        Raises:
            CocaError: With several processes, at the first failure: the others would wait for ever.
            KeyboardInterrupt: The user stopped it; what is finished is kept.
        """
        statuses = tell_all([item.status.value for item in self.items], self.world)
        for item, status in zip(self.items, statuses, strict=True):
            item.status = Status(status)  # every process does what the first one has planned
        groups: dict[Loading, list[Item]] = {}
        for item in of_status(self.items, Status.todo):
            groups.setdefault(_loading(item), []).append(item)
        try:
            for loading, group in groups.items():
                self._run_group(loading, group)
        except KeyboardInterrupt:
            done = len(of_status(self.items, Status.done, Status.kept))
            print(f"coca: stopped; {done} finished and kept. {GO_ON}", file=sys.stderr)
            raise

    def rows(self) -> list[Result]:
        """The rows of what is done or was kept, in the order of the plan."""
        ended = of_status(self.items, Status.done, Status.kept)
        return all_rows(self.finished, [item.finished for item in ended if item.finished is not None])

    def _run_group(self, loading: Loading, group: list[Item]) -> None:
        """The benchmarks of one model, which is loaded once and let go."""
        candidate = group[0].candidate
        assert candidate is not None
        try:
            bound = load_candidate(candidate, loading.image_size, loading.device, loading.precision)
        except Exception as error:
            for item in group:
                self._number += 1
                self._fail(item, error, said=item is not group[0])
            return
        for item in group:
            self._run_item(item, bound)
        del bound
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _run_item(self, item: Item, bound: Bound) -> None:
        self._number += 1
        kind = Kind.open_clip if isinstance(bound.placed.model, Baseline) else Kind.coca
        if bound.candidate.kind is Kind.hub and not item.work.suits(kind):
            item.status, item.note = Status.unfit, f"needs {item.work.needs}"
            self.reporter.notice(f"{item.label}, {item.status.value}: {item.note}")
            return
        if tell_all(item.finished is not None and item.finished.identity == bound.identity, self.world):
            if self.world.first and item.finished is not None:
                self.finished.renew(item.finished, bound.candidate)
            item.status = Status.kept  # its files are new, its weights are not
            self.reporter.notice(f"{self._number} of {self._total}  {item.label}: kept, the weights are the same")
            return
        self.reporter.notice(f"{self._number} of {self._total}  {item.label}{self._time_left()}")
        started = time.monotonic()
        try:
            scored = item.work.run(bound, self.store, self.reporter, self.world)
        except Exception as error:
            self._fail(item, error)
            return
        seconds = time.monotonic() - started
        if item.seconds is not None:
            self._took, self._expected = self._took + seconds, self._expected + item.seconds
        item.status = Status.done
        if self.world.first:
            item.finished = self.finished.add(item.key, item.benchmark, bound, scored, seconds)

    def _time_left(self) -> str:
        """About how long all that is left takes, by how well the estimates have been met so far."""
        left = [item.seconds for item in of_status(self.items, Status.todo)]
        known = [seconds for seconds in left if seconds is not None]
        if not known:
            return ""
        factor = (self._took + TRUST) / (self._expected + TRUST)
        return f", about {in_words(factor * sum(known))} left"

    def _fail(self, item: Item, error: Exception, *, said: bool = False) -> None:
        """Note a failure and say it at once; a mistake of the program leaves its traceback.

        Args:
            item: Which failed.
            error: Why.
            said: The same has been said of another item.
        """
        item.status, item.note = Status.failed, first_line(error)
        if self.world.size > 1:
            raise type(error)(f"{item.label}: {error}") if isinstance(error, CocaError) else error
        if not isinstance(error, CocaError):
            item.note = f"{type(error).__name__}: {item.note}"
            told = "".join(traceback.format_exception(error))
            print(told, end="", file=sys.stderr)
            item.note += f" (in {self.finished.keep_failure(item.key, item.benchmark, told)})"
        if not said:
            text = error if isinstance(error, CocaError) else item.note
            print(f"coca: {item.label} failed: {text}", file=sys.stderr, flush=True)


def check_failures(items: Sequence[Item], name: str) -> None:
    """Name what failed.

    Raises:
        CocaError: Something has.
    """
    failed = of_status(items, Status.failed, Status.broken)
    if failed:
        done = len(of_status(items, Status.done, Status.kept))
        told = "".join(f"\n  {item.label}: {item.note}" for item in failed)
        raise CocaError(
            f"{len(failed)} of {len(failed) + done} benchmarks of the suite {name} failed:{told}\n"
            "What is finished is kept: mend these and run the same command again."
        )


def _loading(item: Item) -> Loading:
    values = item.benchmark.values
    assert item.candidate is not None
    return Loading(item.candidate.text, values.get("image_size"), str(values["device"]), str(values["precision"]))
