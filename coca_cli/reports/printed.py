"""Rich tables as plain text for stdout."""

from __future__ import annotations

import io
import shutil

from rich.console import Console, RenderableType


def printed(table: RenderableType) -> str:
    """The table as wide as the terminal, without colour or markup."""
    out = io.StringIO()
    width = shutil.get_terminal_size((100, 24)).columns
    Console(file=out, width=width, highlight=False, markup=False, emoji=False).print(table)
    return out.getvalue()
