"""A plan as people read it."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from coca_cli.reports.printed import printed
from coca_cli.suites.estimates import in_words
from coca_cli.suites.plan import Item, Status, of_status
from coca_cli.suites.suite_files import Suite

COLUMNS = ("benchmark", "dataset", "split", "model", "examples", "time", "status")
NO_MODEL = "-"


def render_plan(suite: Suite, items: Sequence[Item]) -> str:
    """The whole plan: a line for each benchmark and model, the reasons and the time below.

    What would be the same in every line, as one model is, or is empty, has no column: names shall have room.
    """
    models = {item.candidate.text for item in items if item.candidate}
    head = [suite.title or suite.name, *([f"model: {next(iter(models))}"] if len(models) == 1 else []), ""]
    rows = [
        {
            "benchmark": item.benchmark.task,
            "dataset": item.benchmark.dataset.name,
            "split": item.survey.split if item.survey else item.benchmark.values["split"] or "",
            "model": (item.candidate.text if item.candidate else NO_MODEL) if len(models) > 1 else "",
            "examples": f"{item.survey.examples:,}" if item.survey else "",
            "time": f"~ {in_words(item.seconds)}" if item.status is Status.todo else "",
            "status": item.status.value,
        }
        for item in items
    ]
    columns = [name for name in COLUMNS if any(row[name] for row in rows)]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        right = column in ("examples", "time")
        table.add_column(
            column, justify="right" if right else "left", no_wrap=right or column == "benchmark", overflow="fold"
        )
    for row in rows:
        table.add_row(*(row[column] for column in columns))
    below = ["", *_reasons(items), "", summary(items)]
    return "".join(f"{line}\n" for line in head) + printed(table) + "".join(f"{line}\n" for line in below)


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
