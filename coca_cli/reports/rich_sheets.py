"""Tables for a terminal of any width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from coca_cli.reports.sheets import Cell, Sheet

NAME_WIDTH = 22
"""Where space is scarce, longer names of lines are broken."""
BREAKS = re.compile(r" |(?<=-)")
"""There the names of columns may be broken."""


def to_rich_sheet(sheet: Sheet, width: int) -> Group:
    """The table with its title and notes: intervals beside the values where they fit, else below them, else left out.

    Args:
        sheet: Any table.
        width: Columns of the terminal.
    """
    tries = ((" ", None), ("\n", None), (" ", NAME_WIDTH), ("\n", NAME_WIDTH), (None, NAME_WIDTH))
    tables = (_table(sheet, beside, first) for beside, first in tries)
    fitting = next((table for table in tables if natural_width(table) <= width), None)
    notes = [Text(note, style="dim") for note in sheet.notes]
    return Group(Text(sheet.title, style="bold"), fitting or _stacked(sheet), *notes, Text(""))


def _table(sheet: Sheet, beside: str | None, first: int | None) -> Table:
    """With `beside` between a value and its interval; where `first` limits the first column, headers are broken too."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0 if first and beside is None else 1, 0, 0))
    for number, name in enumerate(sheet.header):
        right = number >= len(sheet.header) - sheet.numbers
        limit = None if number else first
        table.add_column(
            Text(BREAKS.sub("\n", name) if first else name),
            justify="right" if right else "left",
            overflow="fold",
            max_width=limit,
        )
    for number, line in enumerate(sheet.lines):
        if number in sheet.groups:
            table.add_section()
        table.add_row(*(_text(cell, beside) for cell in line))
    return table


def _text(cell: Cell, beside: str | None) -> Text:
    text = Text(cell.text, style="bold" if cell.best else "")
    if cell.beside and beside is not None:
        text.append(f"{beside}{cell.beside}", style="not bold dim")
    return text


def _stacked(sheet: Sheet) -> Text:
    """What names a line stands in a line of its own, where it changes; intervals are left out."""
    words = len(sheet.header) - sheet.numbers
    body = [[line[words - 1].text, *(cell.text for cell in line[words:])] for line in sheet.lines]
    header = ["", *sheet.header[words:]]
    widths = [max(len(cells[column]) for cells in (header, *body)) for column in range(len(header))]
    text = Text(aligned(header, widths))
    for line, cells in zip(sheet.lines, body, strict=True):
        heading = ", ".join(cell.text for cell in line[: words - 1] if cell.text)
        if heading:
            text.append(f"\n{heading}", style="bold")
        text.append(f"\n{aligned(cells, widths)}")
    return text


def aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Cells in columns of these widths, the first set to the left, the others to the right."""
    first, *numbers = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(["  " + first, *numbers])


def natural_width(table: Table) -> int:
    """How many columns the table takes where nothing is folded."""
    return Console(file=StringIO(), width=10_000).measure(table).maximum
