"""A table as people read it, and its text in Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Cell(NamedTuple):
    """One cell.

    Attributes:
        text: What stands in it; of a score the value alone.
        beside: What stands after it and is never bold, such as an interval.
        order: What sorting goes by; None for the text.
        best: The best of its column, among those that can be compared.
        note: What is told where there is room, such as a source.
    """

    text: str
    beside: str = ""
    order: float | None = None
    best: bool = False
    note: str = ""


class Sheet(NamedTuple):
    """A table.

    Attributes:
        title: Of the table.
        header: The columns' names.
        lines: One sequence of cells per line.
        numbers: How many of the last columns are set to the right.
        notes: Sentences below it.
        groups: Line numbers before which a rule is drawn.
    """

    title: str
    header: list[str]
    lines: list[list[Cell]]
    numbers: int
    notes: Sequence[str] = ()
    groups: Sequence[int] = ()


def to_markdown_sheet(sheet: Sheet) -> str:
    """A Markdown table with aligned pipes below its title; the best values are bold."""
    body = [[_marked(cell) for cell in line] for line in sheet.lines]
    cells = [[escape_markdown(name) for name in sheet.header], *body]
    widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(sheet.header))]
    right = [column >= len(sheet.header) - sheet.numbers for column in range(len(sheet.header))]
    rule = ["-" * (width - 1) + ":" if end else "-" * width for width, end in zip(widths, right, strict=True)]
    padded = [
        [cell.rjust(width) if end else cell.ljust(width) for cell, width, end in zip(line, widths, right, strict=True)]
        for line in cells
    ]
    table = "".join(f"| {' | '.join(line)} |\n" for line in (padded[0], rule, *padded[1:]))
    notes = "".join(f"\n{escape_markdown(note)}\n" for note in sheet.notes)
    return f"### {escape_markdown(sheet.title)}\n\n{table}{notes}"


def escape_markdown(text: str) -> str:
    """The text with what would break a table or a line escaped."""
    return re.sub(r"[\\|<*`]", lambda found: f"\\{found[0]}", text).replace("\n", " ")


def _marked(cell: Cell) -> str:
    text = escape_markdown(cell.text).replace("[", "\\[")
    return " ".join(filter(None, (f"**{text}**" if cell.best and text else text, escape_markdown(cell.beside))))


_LATEX = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\n": " ",
    "\u2212": "$-$",
    "±": r"$\pm$",
    "\u03bb": r"$\lambda$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
}
_LETTERS = range(0xC0, 0x180)
"""The letters of European languages, which T1 fonts have."""


def escape_latex(text: str) -> str:
    """The text as LaTeX prints it; letters that not every installation has become question marks."""
    return "".join(_LATEX.get(letter) or (letter if _is_printed(letter) else "?") for letter in text)


def _is_printed(letter: str) -> bool:
    return " " <= letter <= "~" or ord(letter) in _LETTERS


def to_latex_sheet(sheet: Sheet) -> str:
    """A `table` with booktabs' rules, its caption and notes; it needs `\\usepackage{booktabs}` and T1 fonts."""
    words = len(sheet.header) - sheet.numbers
    lines = [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{escape_latex(sheet.title)}}}",
        f"\\begin{{tabular}}{{{'l' * words}{'r' * sheet.numbers}}}",
        r"\toprule",
        f"{' & '.join(escape_latex(name) for name in sheet.header)} \\\\",
        r"\midrule",
    ]
    for number, line in enumerate(sheet.lines):
        if number in sheet.groups:
            lines.append(r"\midrule")
        lines.append(f"{' & '.join(_latex_cell(cell) for cell in line)} \\\\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if sheet.notes:
        lines.append(f"\\\\[0.5ex] {{\\footnotesize {escape_latex(' '.join(sheet.notes))}}}")
    return "\n".join([*lines, r"\end{table}", ""])


def _latex_cell(cell: Cell) -> str:
    text = escape_latex(cell.text)
    text = f"\\textbf{{{text}}}" if cell.best and text else text
    # a line of a table that begins with a bracket would be an option of the line's end before it
    beside = f"{{\\scriptsize {escape_latex(cell.beside)}}}" if cell.beside else ""
    return " ".join(filter(None, (f"{{}}{text}" if text.startswith("[") else text, beside)))
