"""A plan as people read it."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from coca_cli.reports.printed import printed
from coca_cli.suites.estimates import in_words
from coca_cli.suites.plan import Item, Status, of_status
from coca_cli.suites.suite_files import Suite

NO_MODEL = "-"


def render_plan(suite: Suite, items: Sequence[Item]) -> str:
    """The whole plan: a line for each benchmark and model, the reasons and the time below."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=suite.title or suite.name, title_justify="left")
    for column in ("benchmark", "dataset", "split", "model", "examples", "time", "status"):
        right = column in ("examples", "time")
        table.add_column(column, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for item in items:
        survey, values = item.survey, item.benchmark.values
        table.add_row(
            item.benchmark.task,
            item.benchmark.dataset.name,
            survey.split if survey else values["split"] or "",
            item.candidate.text if item.candidate else NO_MODEL,
            f"{survey.examples:,}" if survey else "",
            f"~ {in_words(item.seconds)}" if item.status is Status.todo else "",
            item.status.value,
        )
    return printed(table) + "".join(f"{line}\n" for line in [*_reasons(items), "", summary(items)])


def summary(items: Sequence[Item]) -> str:
    """How much there is to do, and about how long that takes."""
    todo, kept = of_status(items, Status.todo), of_status(items, Status.kept)
    words = [f"{len(todo)} to do", f"{len(kept)} kept"]
    for status in (Status.absent, Status.broken, Status.unfit):
        if found := of_status(items, status):
            words.append(f"{len(found)} {status.value}")
    known = [item.seconds for item in todo if item.seconds is not None]
    if not known:
        return ", ".join(words)
    others = f" and {len(todo) - len(known)} of unknown length" if len(known) < len(todo) else ""
    return f"{', '.join(words)}; an estimate of the time: {in_words(sum(known))}{others}"


def describe_plan(items: Sequence[Item]) -> list[str]:
    """The plan in short, for stderr: what is left out and why, then how much there is."""
    return [*_reasons(items), summary(items)]


def _reasons(items: Sequence[Item]) -> list[str]:
    left_out = of_status(items, Status.absent, Status.broken, Status.unfit)
    return [f"{item.benchmark.name}, {item.status.value}: {item.note}" for item in left_out]
