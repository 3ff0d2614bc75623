"""What `coca data dedup` found, as a table."""

from __future__ import annotations

import shutil
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

from coca_cli.datasets.keep_lists import Origin

_NUMBERS = {
    "pictures": "pictures",
    "found": "in training",
    "copies": "copies",
    "near": "edited",
    "embedded": "by embedding",
    "removed": "removed",
}


def render_duplicates(origin: Origin) -> str:
    """A line for each evaluation set, and how many training examples are left.

    The first two columns count evaluation pictures, the others training examples, each once for a set, by the strongest
    reason.
    """
    embedded = any("model" in name for name in origin.settings)
    shown = {field: title for field, title in _NUMBERS.items() if embedded or field != "embedded"}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("evaluation set", overflow="fold")
    for title in shown.values():
        table.add_column(title, justify="right")
    for each in origin.compared:
        table.add_row(each.name, *(f"{getattr(each, field):,}" for field in shown))
    width = max(60, shutil.get_terminal_size((100, 24)).columns)
    out = StringIO()
    Console(file=out, width=width, highlight=False, markup=False, emoji=False).print(table)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    part = 100 * origin.removed / origin.pictures if origin.pictures else 0.0
    lines.append(f"{origin.source}: {origin.removed:,} of {origin.pictures:,} removed ({part:.2f} %)")
    if origin.unreadable:
        lines.append(f"{origin.unreadable:,} could not be read; they stay in the list, and training skips them")
    return "".join(f"{line}\n" for line in lines)
