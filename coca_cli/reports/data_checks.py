"""What `coca data check` found, as a table and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coca_cli.datasets.checking import DatasetCheck, SplitCheck

STYLES = {"complete": "green", "incomplete": "yellow", "damaged": "red", "not there": "dim"}


def describe_checks(checks: Sequence[DatasetCheck], absent: Sequence[str]) -> RenderableType:
    """A line for each split, what to do about those that are not whole, and what is not there at all.

    Args:
        checks: Of datasets that are there, or that were asked for.
        absent: Names of the others.
    """
    parts: list[RenderableType] = [_table(checks)] if checks else []
    parts += [_whole(f"\n{line}") for check in checks for line in _advice(check)]
    if absent:
        parts.append(Text(f"\nNot there: {', '.join(absent)}. coca data list says which files they need."))
    return Group(*parts)


def _whole(text: str) -> Text:
    """Lines that the terminal may break and the program does not: they hold paths that are to be copied."""
    return Text(text, no_wrap=True, overflow="ignore")


def _table(checks: Sequence[DatasetCheck]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in ("dataset", "split"):
        table.add_column(column, overflow="fold")
    for column in ("found", "expected", "files missing"):
        table.add_column(column, justify="right")
    table.add_column("state")
    for check in checks:
        for number, split in enumerate(check.splits):
            there = split.state != "not there"
            table.add_row(
                "" if number else check.dataset.name,
                split.split,
                f"{split.found:,}" if there else "",
                "" if split.expected is None else f"{split.expected:,}",
                f"{split.missing:,}" if there else "",
                Text(split.state, style=STYLES[split.state]),
            )
    return table


def _advice(check: DatasetCheck) -> Iterator[str]:
    if check.absent:
        yield check.splits[0].problem
        return
    for split in check.splits:
        name = f"{check.dataset.name} {split.split}"
        if split.problem and (split.state == "damaged" or split is check.splits[0]):
            yield f"{name}: {split.problem}"
        elif split.state == "incomplete":
            yield f"{name}: {_what_is_wrong(split)}"


def _what_is_wrong(split: SplitCheck) -> str:
    words = []
    if split.expected is not None and split.found != split.expected:
        words.append(f"its files list {split.found:,} examples, not {split.expected:,}")
    if split.missing:
        words.append(f"{split.missing:,} of {split.found:,} lack a file, such as {split.example}")
    return f"{'; '.join(words) or 'it has no examples'}. Fetch it again, or what is missing of it"
