"""The user's rows in the paper's Tables 2 to 7, below those of the paper and of open_clip's checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from coca_cli.errors import CocaError, UnknownName
from coca_cli.registry import unknown_name
from coca_cli.reports.paper_layouts import LAYOUTS, Column, Layout
from coca_cli.reports.published import Published, published_rows
from coca_cli.reports.run_scores import find_run
from coca_cli.reports.sheets import Cell, Sheet
from coca_cli.results import Result
from coca_cli.store import RunFile

PAPER = "paper"
OURS, OPEN_CLIP = ("CoCa", "CoCa-Base", "CoCa-Large"), "open_clip "
ATTENTIONAL = "attentional"
MINUS = "  minus "
MOST = 0.95
"""A run with more unreadable examples than this leaves has no score."""
PART = "\u2021"
"""Stands at a value of other examples than the whole set has."""


class Entry(NamedTuple):
    """A number in a table.

    Attributes:
        value: In points.
        row: The user's row; None where it is published, or a mean of several.
        published: Where it is printed; None where it is the user's.
        part: It is of other examples than the whole set has.
    """

    value: float
    row: Result | None = None
    published: Published | None = None
    part: bool = False


class PaperLine(NamedTuple):
    """A line of a table.

    Attributes:
        name: The model, and how its numbers were obtained where the table has several ways.
        kind: "peer", "paper", "open_clip" or "mine".
        entries: By column header.
    """

    name: str
    kind: str
    entries: dict[str, Entry]


class PaperTable(NamedTuple):
    """One of the paper's tables.

    Attributes:
        layout: Its columns.
        lines: The published ones, then the user's.
    """

    layout: Layout
    lines: list[PaperLine]

    @property
    def mine(self) -> list[PaperLine]:
        """The user's lines."""
        return [line for line in self.lines if line.kind == "mine"]


def paper_tables(rows: Sequence[Result], runs: Sequence[RunFile] = ()) -> list[PaperTable]:
    """The tables to which at least one of the rows belongs.

    Args:
        rows: The user's, the newest of each setting.
        runs: Of their store: their settings tell which head a probe has, and whether all examples were asked for.
    """
    tables = []
    settings: dict[Result, Mapping[str, Any]] = {}
    for row in rows:
        run = find_run(runs, row)
        settings[row] = run.document.get("settings", {}) if run is not None else {}
    for layout in LAYOUTS:
        mine = _own_lines(layout, settings)
        if mine:
            tables.append(PaperTable(layout, [*_published_lines(layout), *mine]))
    return tables


def _published_lines(layout: Layout) -> list[PaperLine]:
    found: dict[tuple[str, str], PaperLine] = {}
    settings: dict[str, set[str]] = {}
    rows = [row for row in published_rows() if row.table == layout.number]
    for row in rows:
        settings.setdefault(row.model, set()).add(_way(row))
    for row in rows:
        column = _column_of(layout, row)
        if column is None:
            continue
        way = _way(row)
        told = way and (len(settings[row.model]) > 1 or "CIDEr" in way)
        name = f"{row.model} ({way})" if told else row.model
        kind = "open_clip" if row.model.startswith(OPEN_CLIP) else "paper" if row.model in OURS else "peer"
        line = found.setdefault((row.model, way), PaperLine(name, kind, {}))
        line.entries[column] = Entry(row.value, published=row)
    order = ("peer", "open_clip", "paper")
    return sorted(found.values(), key=lambda line: order.index(line.kind))


def _column_of(layout: Layout, row: Published) -> str | None:
    for column in layout.columns:
        if (row.dataset, row.metric) == (column.dataset, column.metric) and row.split in column.splits:
            return column.header
    return layout.mean if layout.mean and row.dataset.startswith("Average") else None


def _way(row: Published) -> str:
    """How a published number was obtained, in few words, where one table has several ways."""
    setting, words = row.setting, []
    if setting.startswith("frozen"):
        words.append("frozen")
    elif setting.startswith("finetuned; image + text"):
        words.append("text premise too")
    elif row.table == "2":
        words.append("finetuned")
    if "SCST" in setting or setting.startswith("CIDEr optimised") or "believed CIDEr optimised" in setting:
        words.append("CIDEr optimised?" if "believed" in setting else "CIDEr optimised")
    if "subset" in row.split:
        words.append("subset")
    return ", ".join(words)


def _own_lines(layout: Layout, rows: Mapping[Result, Mapping[str, Any]]) -> list[PaperLine]:
    """The lines of the user's rows, of which also the settings are given."""
    lines: dict[tuple[str, str, str], PaperLine] = {}
    for column in layout.columns:
        for row, settings in rows.items():
            if not _belongs(column, row):
                continue
            way = "" if layout.number != "2" else _own_way(row, settings)
            name = f"{row.model} ({way})" if way else row.model
            line = lines.setdefault((row.model, row.checkpoint, way), PaperLine(name, "mine", {}))
            entry = Entry(row.value, row=row, part=_is_part(column, row, settings))
            if column.header not in line.entries or _counts_more(entry, line.entries[column.header]):
                line.entries[column.header] = entry
    if layout.mean:
        for line in lines.values():
            if all(column.header in line.entries for column in layout.columns):
                values = [line.entries[column.header].value for column in layout.columns]
                part = any(entry.part for entry in line.entries.values())
                line.entries[layout.mean] = Entry(sum(values) / len(values), part=part)
    alike = [line.name for line in lines.values()]
    return [
        line if alike.count(line.name) == 1 else line._replace(name=f"{line.name} {checkpoint}")
        for (_, checkpoint, _), line in lines.items()
    ]


def _own_way(row: Result, settings: Mapping[str, Any]) -> str:
    """How a row of Table 2 was obtained."""
    if row.task != "probe":
        return "classifier"
    head = settings.get("head", ATTENTIONAL)
    return "frozen" if head == ATTENTIONAL else f"frozen, {head}"


def _belongs(column: Column, row: Result) -> bool:
    source = column.source
    if source is None or math.isnan(row.value):
        return False
    split = row.split.partition(",")[0]
    return row.task in source.tasks and (row.dataset, split, row.metric) == (
        source.dataset,
        source.split,
        source.metric,
    )


def _is_part(column: Column, row: Result, settings: Mapping[str, Any]) -> bool:
    """Whether it is not the task of the table: fewer examples, or one caption of each picture."""
    assert column.source is not None
    if "," in row.split or settings.get("limit") is not None or settings.get("captions") == "first":
        return True
    whole = column.source.n
    if whole is None or not row.n:  # other programs do not say how many they scored
        return False
    unreadable = row.skipped and whole > row.n >= MOST * whole  # a picture that is left out takes its captions along
    return row.n + row.skipped != whole and not unreadable


def _counts_more(new: Entry, old: Entry) -> bool:
    """Of several settings of one model the one with all examples is shown, else the newest."""
    assert new.row is not None
    assert old.row is not None
    return (not new.part, new.row.n, new.row.when) > (not old.part, old.row.n, old.row.when)


def paper_sheet(table: PaperTable, against: str | None = None) -> Sheet:
    """The table as people read it: the best of each column is marked, the user's values have intervals.

    Args:
        table: From `paper_tables`.
        against: A line of the paper, such as "CoCa-Large": a line with the difference follows each of the user's.
    """
    layout = table.layout
    used = [c.header for c in layout.columns if any(c.header in line.entries for line in table.lines)]
    columns = [*used, *([layout.mean] if layout.mean else [])]
    best = {column: max(entry.value for entry in _whole(table, column)) for column in columns if _whole(table, column)}
    references = [find_line(table, against, line) for line in table.mine] if against else []
    lines: list[list[Cell]] = []
    groups, notes, before = list[int](), list(layout.notes), ""
    for line in table.lines:
        if before and line.kind != before:
            groups.append(len(lines))
        before = line.kind
        cells = [_cell(line.entries.get(column), best.get(column)) for column in columns]
        lines.append([Cell(line.name), *cells, Cell(_n(layout, line))])
        reference = find_line(table, against, line) if against and line.kind == "mine" else None
        if reference is not None:
            lines.append(_difference(line, reference, columns))
    if against and not any(references):
        notes.append(f"The paper has no {against} in this table.")
    elif against:
        notes.append("A difference is marked * where the paper's value lies outside the row's own 95 % interval.")
    if any(entry.part for line in table.mine for entry in line.entries.values()):
        notes.append(f"{PART} is of other examples or captions than the whole set has: no number to compare.")
    return Sheet(layout.title, ["model", *columns, "n"], lines, len(columns) + 1, notes, groups)


def _whole(table: PaperTable, column: str) -> list[Entry]:
    """The numbers of a column that are of the whole set."""
    entries = (line.entries[column] for line in table.lines if column in line.entries)
    return [entry for entry in entries if not entry.part]


def find_line(table: PaperTable, name: str, mine: PaperLine) -> PaperLine | None:
    """The paper's line of a model, obtained as the user's line was; None where the table has none."""
    found = [line for line in table.lines if line.kind == "paper" and line.name.split(" (")[0] == name]
    alike = [line for line in found if ("(frozen" in line.name) == ("(frozen" in mine.name)]
    return next(iter(alike or found), None)


def check_against(name: str) -> None:
    """See that the paper has such a model.

    Raises:
        UnknownName: It has not.
    """
    if name not in OURS:
        raise UnknownName(unknown_name("model of the paper", name, list(OURS)))


def _cell(entry: Entry | None, best: float | None) -> Cell:
    if entry is None:
        return Cell("-")
    text = f"{entry.value:.1f}{PART if entry.part else ''}"
    row, published = entry.row, entry.published
    beside, note = "", ""
    if row is not None and not math.isnan(row.low):
        beside = f"[{row.low:.1f}, {row.high:.1f}]"
    if row is not None:
        note = f"n = {row.n:,}, {row.skipped:,} skipped, settings {row.settings}"
    elif published is not None:
        note = f"{published.source}; {published.confidence}" + (f"; {published.setting}" if published.setting else "")
    return Cell(text, beside, order=entry.value, best=entry.value == best and not entry.part, note=note)


def _n(layout: Layout, line: PaperLine) -> str:
    """How many examples, where that is not the number that the set has."""
    if line.kind != "mine":
        return ""
    counts: dict[str, None] = {}
    for column in layout.columns:
        entry = line.entries.get(column.header)
        if entry is not None and entry.row is not None:
            fixed = column.source is not None and column.source.n is not None and not entry.part
            whole = fixed and not entry.row.skipped
            counts["?" if not entry.row.n else "all" if whole else f"{entry.row.n:,}"] = None
    return " / ".join(counts)


def _difference(line: PaperLine, reference: PaperLine, columns: Sequence[str]) -> list[Cell]:
    cells = [Cell(f"{MINUS}{reference.name}")]
    for column in columns:
        mine, theirs = line.entries.get(column), reference.entries.get(column)
        if mine is None or theirs is None:
            cells.append(Cell("-"))
            continue
        row = mine.row
        outside = row is not None and not math.isnan(row.low) and not row.low <= theirs.value <= row.high
        gap = mine.value - theirs.value
        cells.append(Cell(f"{gap:+.1f}{'*' if outside else ''}", order=gap))
    return [*cells, Cell("")]


def paper_frame(tables: Sequence[PaperTable]) -> pd.DataFrame:
    """Every number of the tables in one long data frame, the user's with interval, n and checkpoint."""
    records = []
    for table in tables:
        for line in table.lines:
            for column, entry in line.entries.items():
                row, printed = entry.row, entry.published
                records.append(
                    {
                        "table": table.layout.number,
                        "column": column,
                        "model": line.name,
                        "kind": line.kind,
                        "value": entry.value,
                        "low": row.low if row else math.nan,
                        "high": row.high if row else math.nan,
                        "n": row.n if row else None,
                        "skipped": row.skipped if row else None,
                        "part": entry.part,
                        "checkpoint": row.checkpoint if row else "",
                        "settings": row.settings if row else printed.setting if printed else "",
                        "source": printed.source if printed else "",
                        "confidence": printed.confidence if printed else "",
                    }
                )
    return pd.DataFrame(records).astype({"n": "Int64", "skipped": "Int64"})


def paper_json(tables: Sequence[PaperTable]) -> str:
    """The same as a JSON list of objects; null where there is nothing."""
    return json.dumps(json.loads(paper_frame(tables).to_json(orient="records")), indent=2) + "\n"


def check_tables(tables: Sequence[PaperTable], rows: Sequence[Result]) -> None:
    """See that there is something to set beside the paper.

    Raises:
        CocaError: None of the rows measures what the paper does.
    """
    if not tables:
        seen = ", ".join(sorted({f"{row.task} {row.dataset} {row.split}" for row in rows}))
        raise CocaError(
            "none of these results is in the paper's Tables 2 to 7, which have ImageNet and its shifts, Kinetics, "
            f"Moments in Time, COCO, Flickr30K, MSR-VTT, VQA v2, SNLI-VE, NLVR2 and NoCaps. The store has: {seen}."
        )
