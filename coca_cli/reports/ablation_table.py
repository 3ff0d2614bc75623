"""The paper's Table 8 with ours beside it: for the terminal, for a paper in Markdown, for programs in CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from coca_cli.reports.printed import printed
from coca_cli.reports.published import Published, published_rows
from coca_cli.tasks.ablation_scores import LEAST_SEEDS, Difference, TableScores, VariantScores, spread

PAPER_METRICS = {
    "zeroshot": "zero-shot top-1",
    "questions": "vqa-score",
    "probe": "attentional evaluation (AE) top-1",
    "retrieval": "mean of I2T and T2I R@1",
}
"""What the paper prints where a table shows a measure of ours."""
FINETUNED = "top-1 finetuned (FT)"
"""All that the paper prints in 8a, which stands beside the first measure there, whatever that is."""
PAPER_COST = "TPU cost (relative)"
NONE = "-"
FOOTNOTE = (
    "Ours in points: mean ± standard deviation over seeds. Difference: from the default (of 8a from the first line), "
    "paired by seed, with Student's 95 % interval; * is beyond the noise of seeds. Cost: seconds and floating-point "
    "operations of a training step, relative."
)
COLUMNS = (
    *("table", "variant", "default", "measure", "paper_metric", "paper_dataset", "paper", "mean", "deviation", "seeds"),
    *("difference", "low", "high", "beyond_noise", "paper_cost", "seconds", "operations", "parameters"),
)
"""Of CSV and JSON: a line for each variant and measure."""


class Heading(NamedTuple):
    """A column of a table.

    Attributes:
        paper: Whether its numbers are the paper's.
        text: What stands above it.
    """

    paper: bool
    text: str


def render_ablation(tables: Sequence[TableScores], format: str) -> str:
    """The tables as text that ends in a line's end, ready for stdout.

    Args:
        tables: In the paper's order.
        format: "table", "csv", "markdown" or "json".

    Raises:
        ValueError: Another format.
    """
    if format == "json":
        return json.dumps(records(tables), indent=2, allow_nan=False) + "\n"
    if format == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records(tables))
        return text.getvalue()
    if format == "markdown":
        return "\n".join([*map(_markdown, tables), f"{FOOTNOTE} {count_comparisons(tables)}\n"])
    if format != "table":
        raise ValueError(f"no table format is called {format!r}")
    parts: list[Table | Text] = []
    for table in tables:
        parts += [Text(f"{table.name}  {table.title}", style="bold"), _rich(table)]
        parts += [Text(note, style="dim") for note in table.notes]
        parts.append(Text(""))
    return printed(Group(*parts, Text(f"{FOOTNOTE} {count_comparisons(tables)}", style="dim")))


def count_comparisons(tables: Sequence[TableScores]) -> str:
    """How many differences there are, how many are beyond noise, and what chance alone would give; in words."""
    found = [
        difference
        for table in tables
        for line in table.lines
        for measure in table.measures
        if (difference := table.difference(line, measure)) is not None
    ]
    beyond = sum(difference.beyond_noise is True for difference in found)
    if not found or all(difference.beyond_noise is None for difference in found):
        return f"With fewer than {LEAST_SEEDS} seeds nothing can be said of their noise."
    return (
        f"{beyond} of {len(found)} differences are beyond it; where no variant differed at all, "
        f"{0.05 * len(found):.1f} would look so by chance."
    )


def records(tables: Sequence[TableScores]) -> list[dict[str, Any]]:
    """A record for each variant and measure, with None where there is no number."""
    found: list[dict[str, Any]] = []
    for table in tables:
        for line in table.lines:
            cost = table.cost(line)
            for measure in table.measures:
                printed_one, ours = _paper(table, line, measure), line.scores.get(measure, {})
                values = spread(list(ours.values())) if ours else None
                difference = table.difference(line, measure)
                numbers = {
                    "paper": printed_one.value if printed_one else None,
                    "mean": values.mean if values else None,
                    "deviation": values.deviation if values else None,
                    "difference": difference.mean if difference else None,
                    "low": difference.low if difference else None,
                    "high": difference.high if difference else None,
                    "paper_cost": _paper_cost(table, line),
                    "seconds": cost[0] if cost else None,
                    "operations": cost[1] if cost else None,
                }
                words: dict[str, Any] = {
                    "table": table.name,
                    "variant": line.label,
                    "default": line is table.lines[table.reference],
                    "measure": measure,
                    "paper_metric": printed_one.metric if printed_one else None,
                    "paper_dataset": printed_one.dataset if printed_one else None,
                    "seeds": len(ours),
                    "beyond_noise": difference.beyond_noise if difference else None,
                    "parameters": line.parameters or None,
                }
                finite = {k: None if v is None or math.isnan(v) else round(v, 4) for k, v in numbers.items()}
                both = words | finite
                found.append({name: both[name] for name in COLUMNS})
    return found


def _markdown(table: TableScores) -> str:
    headings, body = _grid(table)
    cells = [[heading.text for heading in headings], *body]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in cells]
    widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(headings))]
    rule = ["-" * width if not column else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    aligned = [
        [
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in cells
    ]
    lines = "".join(f"| {' | '.join(line)} |\n" for line in (aligned[0], rule, *aligned[1:]))
    notes = "".join(f"\n{note}\n" for note in table.notes)
    return f"### {table.name}: {table.title}\n\n{lines}{notes}"


def _rich(table: TableScores) -> Table:
    headings, body = _grid(table)
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(headings):
        shown.add_column(
            Text(heading.text), justify="right" if number else "left", style="dim" if heading.paper else ""
        )
    for line in body:
        shown.add_row(*map(Text, line))
    return shown


def _grid(table: TableScores) -> tuple[list[Heading], list[list[str]]]:
    """What stands above the columns, and the cells of all lines."""
    headings, columns = [Heading(False, "")], [[line.label for line in table.lines]]

    def add(heading: Heading, column: list[str]) -> None:
        if any(cell != NONE for cell in column):
            headings.append(heading)
            columns.append(column)

    for measure in table.measures:
        found = [_paper(table, line, measure) for line in table.lines]
        one = next(filter(None, found), None)
        name = f"paper: {one.dataset} {one.metric}" if one else ""
        add(Heading(True, name), [f"{row.value:.1f}" if row else NONE for row in found])
        add(Heading(False, measure), [_ours(line, measure) for line in table.lines])
        add(Heading(False, "difference"), [_difference(table.difference(line, measure)) for line in table.lines])
    paper_costs = [_paper_cost(table, line) for line in table.lines]
    add(Heading(True, "paper: cost"), [NONE if cost is None else f"{cost:g}x" for cost in paper_costs])
    costs = [table.cost(line) for line in table.lines]
    add(Heading(False, "seconds"), [f"{cost[0]:.2f}x" if cost else NONE for cost in costs])
    add(Heading(False, "operations"), [f"{cost[1]:.2f}x" if cost else NONE for cost in costs])
    add(Heading(False, "parameters"), [_size(line) for line in table.lines])
    return headings, [list(cells) for cells in zip(*columns, strict=True)]


def _size(line: VariantScores) -> str:
    return f"{line.parameters / 1e6:.2f}M" if line.ours else NONE


def _ours(line: VariantScores, measure: str) -> str:
    values = list(line.scores.get(measure, {}).values())
    if not values:
        return NONE
    mean, deviation, n = spread(values)
    return f"{mean:.1f}" if n == 1 else f"{mean:.1f} ± {deviation:.1f}"


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return NONE
    if math.isnan(difference.low):
        return f"{difference.mean:+.1f}"
    star = "*" if difference.beyond_noise else ""
    return f"{difference.mean:+.1f} [{difference.low:+.1f}, {difference.high:+.1f}]{star}"


def _paper(table: TableScores, line: VariantScores, measure: str) -> Published | None:
    """The paper's number of a line beside a measure of ours."""
    wanted = {PAPER_METRICS.get(measure.partition(":")[0])}
    if measure == table.measures[0]:
        wanted.add(FINETUNED)
    return next((row for row in _paper_rows(table, line) if row.metric in wanted), None)


def _paper_cost(table: TableScores, line: VariantScores) -> float | None:
    return next((row.value for row in _paper_rows(table, line) if row.metric == PAPER_COST), None)


def _paper_rows(table: TableScores, line: VariantScores) -> list[Published]:
    return [row for row in published_rows() if row.table == table.name and row.model == line.paper]
