"""The table of `coca data cache list`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table

from coca_cli.reports.printed import printed
from coca_cli.tasks.cache_contents import CacheEntry

UNITS = ("B", "kB", "MB", "GB")


def render_cache(entries: Sequence[CacheEntry]) -> str:
    """One row per entry and the sum of their sizes."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("what", "model", "weights", "of", "format", "written"):
        table.add_column(column, overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    for entry in entries:
        written = f"{datetime.fromtimestamp(entry.written):%Y-%m-%d}"
        name = entry.model.rstrip("/").rpartition("/")[2] or entry.model
        table.add_row(
            entry.kind, name, entry.weights, entry.dataset, entry.precision, written, describe_size(entry.size)
        )
    total = sum(entry.size for entry in entries)
    return f"{printed(table)}{len(entries):,} entries, {describe_size(total)}\n"


def describe_size(size: int) -> str:
    """Bytes in the unit that gives a number below 1,000."""
    number, unit = float(size), 0
    while number >= 999.5 and unit < len(UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.0f} {UNITS[unit]}" if unit == 0 or number >= 9.95 else f"{number:.1f} {UNITS[unit]}"
