"""Rows -> tables: for the terminal, for a paper in Markdown or LaTeX, for programs in CSV and JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from coca_cli.errors import CocaError
from coca_cli.reports.rich_sheets import aligned, natural_width
from coca_cli.reports.sheets import Cell, Sheet, to_latex_sheet, to_markdown_sheet
from coca_cli.results import KINDS, Result, to_record
from coca_cli.store import write_atomically

Format = Literal["table", "csv", "markdown", "latex", "json"]

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".md": "markdown",
    ".markdown": "markdown",
    ".tex": "latex",
    ".json": "json",
}

COLUMN_TYPES = {name: {"str": "str", "int": "int64", "float": "float64"}[kind] for name, kind in KINDS.items()}
"""Every column's dtype. To read a CSV of ours without loss, give it to `pandas.read_csv(dtype=...)`, together with
`keep_default_na=False` and an empty text as `na_values` of the float columns: a hash may look like a number, and a
model may be called NA."""

FOOTNOTE = "In points; 95 % interval in brackets; n = examples scored."
RANKS_NOTE = " Ranks count from 1 and are no points."
SKIPPED_NOTE = " Skipped examples could not be read and are left out."

HEADER_WIDTH = 14
"""Longer names of metrics are broken between words: they shall not be wider than an interval."""

ONE_LINE = ("task", "dataset", "split", "model", "checkpoint", "settings", "seed", "precision", "device", "when")
"""The columns that rows share when they stand in one line of a table."""

TELLING = ("checkpoint", "settings", "seed", "precision", "device", "when")
"""The columns of a line that are shown only where two lines would look the same without them."""

ALWAYS = ("dataset", "split", "model")


class Line(NamedTuple):
    """One line of a table: what one run measured.

    Attributes:
        first: One of its rows, for what all of them share.
        scores: The rows by metric.
    """

    first: Result
    scores: dict[str, Result]


def frame(rows: Iterable[Result]) -> pd.DataFrame:
    """The rows as a data frame with every column; NaN where a value is not defined."""
    records = [to_record(row) for row in rows]
    return pd.DataFrame(records, columns=list(KINDS)).astype(COLUMN_TYPES)


def to_csv(table: pd.DataFrame) -> str:
    """The frame as CSV with all digits; the same text as the store's results.csv."""
    return str(table.to_csv(index=False, lineterminator="\n"))


def to_json(rows: Iterable[Result]) -> str:
    """The rows as a JSON list of objects; null where a value is not defined."""
    return json.dumps([to_record(row) for row in rows], indent=2, allow_nan=False) + "\n"


def to_markdown(rows: Sequence[Result], *, wide: bool = False) -> str:
    """One pipe table per task, one line per run, the metrics as columns: `value [low, high]`.

    Args:
        rows: Any rows.
        wide: Show settings, seed, precision, device and time even where the lines differ without them.
    """
    parts = [to_markdown_sheet(sheet) for sheet in task_sheets(rows, wide=wide)]
    return "\n".join([*parts, FOOTNOTE + SKIPPED_NOTE + "\n"])


def to_latex(rows: Sequence[Result], *, wide: bool = False) -> str:
    """The same tables for LaTeX; what its preamble needs stands in a comment."""
    return to_latex_document(task_sheets(rows, wide=wide), FOOTNOTE + SKIPPED_NOTE)


def to_latex_document(sheets: Sequence[Sheet], footnote: str) -> str:
    """Tables one after the other, to be input into a paper."""
    head = f"% {footnote}\n% \\usepackage{{booktabs}}, \\usepackage[T1]{{fontenc}}\n"
    return "\n".join([head, *(to_latex_sheet(sheet) for sheet in sheets)])


def task_sheets(rows: Sequence[Result], *, wide: bool = False) -> list[Sheet]:
    """One table per task, one line per run, the metrics as columns; the best value of each set and split is marked.

    Args:
        rows: Any rows.
        wide: Show settings, seed, precision, device and time even where the lines differ without them.
    """
    sheets = []
    for task, lines in _by_task(rows).items():
        labels = _labels(lines, wide=wide, always=(*ALWAYS, "checkpoint"))
        metrics = _metrics(lines)
        best = best_rows(lines)
        body = [
            [
                *(Cell(str(getattr(line.first, label))) for label in labels),
                *(_score_cell(line.scores.get(metric), best) for metric in metrics),
                *(_count_cell(line, column) for column in ("n", "skipped")),
            ]
            for line in lines
        ]
        sheets.append(Sheet(task, [*labels, *metrics, "n", "skipped"], body, len(metrics) + 2))
    return sheets


def best_rows(lines: Sequence[Line]) -> set[Result]:
    """The rows that are best on their set and split, where several lines have the metric; of ranks the lowest."""
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for line in lines:
        for row in line.scores.values():
            if not math.isnan(row.value):
                groups.setdefault((row.dataset, row.split, row.metric), []).append(row)
    found = set()
    for (*_, metric), group in groups.items():
        if len(group) > 1 and not metric.endswith("standard deviation"):
            choose = min if metric.endswith("rank") else max
            found |= {row for row in group if row.value == choose(other.value for other in group)}
    return found


def _score_cell(row: Result | None, best: set[Result]) -> Cell:
    if row is None:
        return Cell("")
    value, interval = _parts(row)
    return Cell(value, interval, order=row.value, best=row in best)


def _count_cell(line: Line, column: str) -> Cell:
    return Cell(_counts(line, column), order=float(max(getattr(row, column) for row in line.scores.values())))


def to_rich_table(rows: Sequence[Result], *, wide: bool = False, width: int = 80) -> Group:
    """One table per task for a terminal: the metrics as columns where they fit, else one metric a line.

    Args:
        rows: Any rows.
        wide: Show checkpoint, settings, seed, precision, device and time even where the lines differ without them.
        width: Columns of the terminal.
    """
    parts: list[Table | Text] = []
    for task, lines in _by_task(rows).items():
        labels = _labels(lines, wide=wide, always=ALWAYS)
        tables = (_across(lines, labels, beside=" "), _across(lines, labels, beside="\n"))
        fitting = (table for table in tables if natural_width(table) <= width)
        parts += [Text(task, style="bold"), next(fitting, None) or _down(lines, labels), Text("")]
    skipped = any(row.skipped for row in rows)
    ranks = any(row.metric.endswith("rank") for row in rows)
    notes = f"{FOOTNOTE}{RANKS_NOTE if ranks else ''}{SKIPPED_NOTE if skipped else ''}"
    return Group(*parts, Text(notes, style="dim"))


def _across(lines: Sequence[Line], labels: Sequence[str], *, beside: str) -> Table:
    """One line per run; `beside` stands between a value and its interval."""
    metrics, counts, best = _metrics(lines), _count_columns(lines), best_rows(lines)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for label in labels:
        table.add_column(Text(label))
    for name in (*metrics, *counts):
        table.add_column(Text(_broken(name)), justify="right")
    for line in lines:
        cells = [Text(str(getattr(line.first, label))) for label in labels]
        scores = [line.scores.get(metric) for metric in metrics]
        cells += [Text(_score(row, beside), style="bold" if row in best else "") for row in scores]
        table.add_row(*cells, *(Text(_counts(line, column)) for column in counts))
    return table


def _broken(name: str) -> str:
    lines = [""]
    for word in re.split("(?<=[ _])", name):
        if lines[-1] and len(lines[-1] + word.rstrip()) > HEADER_WIDTH:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)


def _down(lines: Sequence[Line], labels: Sequence[str]) -> Text:
    """A line that names the run, and below it one line per metric: for narrow terminals, long names, many metrics."""
    counts = _count_columns(lines)
    body = [
        [row.metric, _score(row), *(_count(row, column) for column in counts)]
        for line in lines
        for row in line.scores.values()
    ]
    header = ["", "points", *counts]
    widths = [max(len(cells[column]) for cells in (header, *body)) for column in range(len(header))]
    text = Text(aligned(header, widths))
    cells = iter(body)
    for line in lines:
        text.append(f"\n{', '.join(_named(line.first, label) for label in labels)}", style="bold")
        text.append("".join("\n" + aligned(next(cells), widths) for _ in line.scores))
    return text


def _named(row: Result, label: str) -> str:
    value = str(getattr(row, label))
    return value if label in ALWAYS or " " in value else f"{label}={value}"


def render(rows: Sequence[Result], format: Format | str, *, wide: bool = False, to_file: bool = False) -> str:
    """The rows as text that ends in a line's end, ready for stdout or a file.

    Args:
        rows: Any rows.
        format: "table", "csv", "markdown", "latex" or "json".
        wide: Show every column that tells runs apart; CSV and JSON always have all columns.
        to_file: The table is not for this terminal: no colours, no limit of its width.

    Raises:
        ValueError: Another format.
    """
    if format == "csv":
        return to_csv(frame(rows))
    if format == "json":
        return to_json(rows)
    if format == "markdown":
        return to_markdown(rows, wide=wide)
    if format == "latex":
        return to_latex(rows, wide=wide)
    if format != "table":
        raise ValueError(f"no table format is called {format!r}")
    console = Console(file=StringIO(), width=10_000, force_terminal=False) if to_file else Console()
    with console.capture() as capture:
        console.print(to_rich_table(rows, wide=wide, width=console.width))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().split("\n")[:-1])


def write_table(path: Path, rows: Sequence[Result], format: Format | str, *, wide: bool = False) -> None:
    """Write the rows to a file, whole or not at all.

    Args:
        path: Its ending (.csv, .md, .json) chooses the format where `format` is "table".
        rows: Any rows.
        format: As `render` takes it.
        wide: The same.

    Raises:
        CocaError: The file cannot be written.
    """
    format = SUFFIXES.get(path.suffix.lower(), format) if format == "table" else format
    write_text(path, render(rows, format, wide=wide, to_file=True))


def write_text(path: Path, text: str) -> None:
    """Write a table as it was rendered, whole or not at all.

    Raises:
        CocaError: The file cannot be written.
    """
    try:
        write_atomically(path, text)
    except OSError as error:
        raise CocaError(
            f"the table cannot be written to {path}: {error.strerror}. Name a file, in a folder that can be written."
        ) from error


def _by_task(rows: Sequence[Result]) -> dict[str, list[Line]]:
    """The lines of every task, tasks and lines in the order of their first rows."""
    tasks: dict[str, list[Line]] = {}
    places: dict[tuple[object, ...], list[Line]] = {}
    for row in rows:
        same = places.setdefault(tuple(getattr(row, column) for column in ONE_LINE), [])
        # Two equal runs within a second look like one run that has each metric twice.
        line = next((line for line in same if row.metric not in line.scores), None)
        if line is None:
            line = Line(row, {})
            same.append(line)
            tasks.setdefault(row.task, []).append(line)
        line.scores[row.metric] = row
    return tasks


def _labels(lines: Sequence[Line], *, wide: bool, always: Sequence[str]) -> list[str]:
    """The columns before the metrics: those that are always shown, and those that tell two lines apart."""
    if wide:
        return [*ALWAYS, *TELLING]
    groups: dict[tuple[object, ...], list[Result]] = {}
    for line in lines:
        groups.setdefault(tuple(getattr(line.first, name) for name in always), []).append(line.first)
    alike = [group for group in groups.values() if len(group) > 1]
    telling = []
    for name in TELLING:
        if name not in always and any(len({getattr(row, name) for row in group}) > 1 for group in alike):
            telling.append(name)
    if len(telling) > 1 and _tell_apart(alike, [name for name in telling if name != "when"]):
        telling = [name for name in telling if name != "when"]
    return [*always, *telling]


def _tell_apart(groups: Iterable[Sequence[Result]], columns: Sequence[str]) -> bool:
    return all(len({tuple(getattr(row, name) for name in columns) for row in group}) == len(group) for group in groups)


def _metrics(lines: Iterable[Line]) -> list[str]:
    return list(dict.fromkeys(metric for line in lines for metric in line.scores))


def _count_columns(lines: Iterable[Line]) -> tuple[str, ...]:
    skipped = any(row.skipped for line in lines for row in line.scores.values())
    return ("n", "skipped") if skipped else ("n",)


def _counts(line: Line, column: str) -> str:
    """How many examples; several numbers where the metrics count different things, such as pictures and captions."""
    return " / ".join(dict.fromkeys(_count(row, column) for row in line.scores.values()))


def _count(row: Result, column: str) -> str:
    """A number of examples; results of other programs do not say how many they scored."""
    count = getattr(row, column)
    return f"{count:,}" if count or column != "n" else "?"


def _score(row: Result | None, beside: str = " ") -> str:
    return beside.join(filter(None, _parts(row))) if row is not None else ""


def _parts(row: Result) -> tuple[str, str]:
    """A value and its interval; what is not defined has none."""
    if math.isnan(row.value):
        return "nan", ""
    if math.isnan(row.low) or math.isnan(row.high):
        return f"{row.value:.2f}", ""
    return f"{row.value:.2f}", f"[{row.low:.1f}, {row.high:.1f}]"
