"""Tables for a terminal of any width."""

from __future__ import annotations

from io import StringIO

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from coca_cli.reports.sheets import Cell, Sheet


def to_rich_sheet(sheet: Sheet, width: int) -> Group:
    """The table with its title and notes: intervals beside the values where they fit, else below them, else left out.

    Args:
        sheet: Any table.
        width: Columns of the terminal.
    """
    tables = (_table(sheet, beside) for beside in (" ", "\n", None))
    fitting = next((table for table in tables if natural_width(table) <= width), None)
    notes = [Text(note, style="dim") for note in sheet.notes]
    return Group(Text(sheet.title, style="bold"), fitting or _table(sheet, None), *notes, Text(""))


def _table(sheet: Sheet, beside: str | None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for number, name in enumerate(sheet.header):
        right = number >= len(sheet.header) - sheet.numbers
        table.add_column(Text(name), justify="right" if right else "left", overflow="fold")
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


def natural_width(table: Table) -> int:
    """How many columns the table takes where nothing is folded."""
    return Console(file=StringIO(), width=10_000).measure(table).maximum
