"""Which benchmark is done with which model, what is finished already, what is missing, how long the rest will take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from coca_cli.errors import BadExample, CocaError, MissingExtra, MissingFile
from coca_cli.model.placement import choose_device, choose_precision
from coca_cli.results import Result
from coca_cli.store import Store
from coca_cli.suites.candidates import Candidate
from coca_cli.suites.command_options import Benchmark
from coca_cli.suites.estimates import estimate_seconds
from coca_cli.suites.finished import Finished, FinishedBenchmarks, benchmark_key
from coca_cli.suites.work import WORKS, Survey, Work, first_line


class Status(StrEnum):
    """What becomes of a benchmark."""

    todo = "to do"
    kept = "kept"
    absent = "not on disk"
    unfit = "not for this model"
    broken = "cannot be read"
    done = "done"
    failed = "failed"


@dataclass(slots=True, kw_only=True)
class Item:
    """A benchmark with a model, or without one that could do it.

    Attributes:
        benchmark: Which.
        work: What it asks.
        status: What becomes of it.
        note: Why, in one line.
        survey: What there is to do; None where nobody could look.
        candidate: The model.
        key: See `benchmark_key`.
        finished: An earlier end of it.
        seconds: About how long it will take; None where nobody knows.
    """

    benchmark: Benchmark
    work: Work
    status: Status
    note: str = ""
    survey: Survey | None = None
    candidate: Candidate | None = None
    key: str = ""
    finished: Finished | None = None
    seconds: float | None = None

    @property
    def label(self) -> str:
        """Task, dataset and model."""
        return " ".join(filter(None, (self.benchmark.name, self.candidate.text if self.candidate else "")))


def make_plan(
    benchmarks: Sequence[Benchmark], candidates: Sequence[Candidate], store: Store, *, again: bool
) -> list[Item]:
    """All that is to be done, model after model; then what cannot be done.

    Args:
        benchmarks: Of the suite.
        candidates: The models.
        store: Where rows are and go.
        again: Do anew what is finished.

    Raises:
        CocaError: A benchmark makes no sense, or results cannot be written.
    """
    store.check_writable()
    surveyed, impossible = _look(benchmarks, candidates, store)
    finished, rows = FinishedBenchmarks(store), store.rows()
    items: dict[str, Item] = {}
    reasons: dict[int, str] = {}
    fitting: set[int] = set()
    for candidate in candidates:
        for number, (work, survey) in enumerate(surveyed):
            if not work.suits(candidate.kind):
                continue
            if refusal := work.refusal(candidate, store):
                reasons[number] = refusal
                continue
            fitting.add(number)
            item = _plan_item(work, survey, candidate, None if again else finished, rows)
            items.setdefault(item.key, item)  # the same benchmark may stand in several suites
    for number, (work, survey) in enumerate(surveyed):
        if number not in fitting:
            why = reasons.get(number, f"needs {work.needs}")
            impossible.append(Item(benchmark=work.benchmark, work=work, status=Status.unfit, note=why, survey=survey))
    return [*items.values(), *impossible]


def _plan_item(
    work: Work, survey: Survey, candidate: Candidate, finished: FinishedBenchmarks | None, rows: Sequence[Result]
) -> Item:
    """What becomes of a benchmark with a model that can do it; without what is finished it is to do."""
    benchmark = work.benchmark
    device = choose_device(benchmark.values["device"])
    precision = choose_precision(benchmark.values["precision"], device)
    key = benchmark_key(benchmark, survey, candidate, device.type, precision)
    found = finished.find(key) if finished else None
    item = Item(
        benchmark=benchmark,
        work=work,
        status=Status.todo,
        survey=survey,
        candidate=candidate,
        key=key,
        finished=found,
    )
    if found is not None and found.stamp == candidate.stamp:
        item.status, item.note = Status.kept, f"kept from {found.when}"
    else:
        item.seconds = estimate_seconds(benchmark, survey, candidate, rows, device.type, precision)
    return item


def _look(
    benchmarks: Iterable[Benchmark], candidates: Sequence[Candidate], store: Store
) -> tuple[list[tuple[Work, Survey]], list[Item]]:
    """What can be done with some model and data, and what cannot."""
    surveyed: list[tuple[Work, Survey]] = []
    impossible: list[Item] = []
    for benchmark in benchmarks:
        work = WORKS[benchmark.task](benchmark)
        if not any(work.suits(candidate.kind) for candidate in candidates):
            note = f"needs {work.needs}"
            impossible.append(Item(benchmark=benchmark, work=work, status=Status.unfit, note=note))
            continue
        if benchmark.missing:
            note = first_line(MissingFile(benchmark.missing))
            impossible.append(Item(benchmark=benchmark, work=work, status=Status.absent, note=note))
            continue
        try:
            surveyed.append((work, work.survey(store)))
        except MissingFile as error:
            note = first_line(error)
            impossible.append(Item(benchmark=benchmark, work=work, status=Status.absent, note=note))
        except (BadExample, MissingExtra) as error:
            note = first_line(error)
            impossible.append(Item(benchmark=benchmark, work=work, status=Status.broken, note=note))
        except CocaError as error:
            raise type(error)(f"{benchmark.where}: {error}") from None
    return surveyed, impossible


def of_status(items: Iterable[Item], *wanted: Status) -> list[Item]:
    """The items of these statuses."""
    return [item for item in items if item.status in wanted]


def check_complete(items: Iterable[Item]) -> None:
    """Refuse a plan in which data are missing.

    Raises:
        MissingFile: The message names them.
    """
    if lacking := of_status(items, Status.absent, Status.broken):
        told = "".join(f"\n  {item.benchmark.name}: {item.note}" for item in lacking)
        raise MissingFile(f"nothing was run, as --strict is given and data are missing:{told}")


def check_any(items: Sequence[Item], name: str) -> None:
    """Refuse a plan in which there is nothing to do and nothing is done.

    Raises:
        CocaError: The message says why.
    """
    if not of_status(items, Status.todo, Status.kept):
        told = "".join(f"\n  {item.benchmark.name}: {item.note}" for item in items)
        raise CocaError(f"nothing of the suite {name} can be run here:{told}")
