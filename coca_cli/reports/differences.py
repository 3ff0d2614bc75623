"""Runs beside another run: by how much they differ, and whether that is more than chance."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from coca_cli.errors import CocaError
from coca_cli.reports.paired import Paired, compare_paired
from coca_cli.reports.run_scores import ExampleScores, details_of, scores_behind
from coca_cli.reports.sheets import Cell, Sheet
from coca_cli.results import Result
from coca_cli.store import RunFile, Store

NAMED = 6
NOTE = (
    "Differences are to {name}, in points (of ranks in places), on the examples that both have; p of McNemar's exact "
    "test or of a permutation test, two-sided, not corrected for several comparisons; significant is p below 0.05. "
    "Without p: nothing was kept of single examples, or the metric is no mean over them."
)


class Sourced(NamedTuple):
    """Rows and where they come from.

    Attributes:
        store: Their store.
        rows: The newest of each setting.
        runs: The store's runs.
    """

    store: Store
    rows: list[Result]
    runs: list[RunFile]


class Difference(NamedTuple):
    """A row beside the one that it is compared with.

    Attributes:
        row: The user's.
        base: The other.
        paired: The test; None where there can be none.
    """

    row: Result
    base: Result
    paired: Paired | None


def choose_base(rows: Sequence[Result], name: str) -> list[Result]:
    """The rows that the user named, to be compared with.

    Args:
        rows: The newest of each setting.
        name: A model, a checkpoint's hash, a settings' hash, or MODEL@HASH with either hash.

    Raises:
        CocaError: There are none.
    """
    model, at, tag = name.rpartition("@")
    chosen = [row for row in rows if name in (row.model, row.checkpoint, row.settings)]
    if not chosen and at:
        chosen = [row for row in rows if row.model == model and tag in (row.checkpoint, row.settings)]
    if not chosen:
        known = sorted({f"{row.model}@{row.checkpoint}" for row in rows})
        more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
        raise CocaError(
            f"no result is called {name!r}: --against takes paper, paper:CoCa-Large, a folder with other results, or a "
            f"model here, such as {', '.join(known[:NAMED])}{more}"
        )
    return chosen


def find_differences(mine: Sourced, base: Sourced, rows: Sequence[Result]) -> list[Difference]:
    """Each row beside the base row of the same task, dataset, split and metric.

    Args:
        mine: Where the rows come from.
        base: What is compared with.
        rows: The user's; base rows among them are left out.

    Raises:
        CocaError: Nothing can be compared.
    """
    groups: dict[tuple[str, ...], list[Result]] = {}
    for row in base.rows:
        groups.setdefault(_what(row), []).append(row)
    found: list[Difference] = []
    same_store = mine.store.folder.resolve() == base.store.folder.resolve()
    for row in rows:
        if same_store and row in base.rows:
            continue
        candidates = groups.get(_what(row), [])
        other = _closest(row, candidates)
        if other is None:
            continue
        first, second = (_scores(side, one) for side, one in ((base, other), (mine, row)))
        found.append(Difference(row, other, _test(first, second)))
    if not found:
        raise CocaError(
            "nothing can be compared: no result here has the task, dataset, split and metric of one that it should "
            "be compared with"
        )
    return found


def _what(row: Result) -> tuple[str, ...]:
    return row.task, row.dataset, row.split, row.metric


def _closest(row: Result, candidates: Sequence[Result]) -> Result | None:
    """The candidate of the same settings, seed and precision, as far as there is one; else the newest."""
    if not candidates:
        return None
    return max(
        candidates,
        key=lambda other: (
            other.settings == row.settings,
            other.seed == row.seed,
            other.precision == row.precision,
            other.when,
        ),
    )


def _scores(side: Sourced, row: Result) -> ExampleScores | None:
    details = details_of(side.store, side.runs, row)
    return scores_behind(details, row.metric) if details is not None else None


def _test(first: ExampleScores | None, second: ExampleScores | None) -> Paired | None:
    if first is None or second is None:
        return None
    place = {name: number for number, name in enumerate(first.ids)}
    shared = [number for number, name in enumerate(second.ids) if name in place]
    if not shared:
        return None
    theirs = first.scores[[place[second.ids[number]] for number in shared]]
    of = None if second.of is None else [second.of[number] for number in shared]
    return compare_paired(theirs, second.scores[np.array(shared)], of)


def difference_sheet(found: Sequence[Difference], name: str, *, fill: bool = False) -> Sheet:
    """The differences as people read them.

    Args:
        found: From `find_differences`.
        name: What the rows are compared with.
        fill: Repeat in each line what it has in common with the line above, so that lines can be sorted.
    """
    lines: list[list[Cell]] = []
    groups, before = list[int](), ("", "", "", "")
    for one in found:
        row, paired = one.row, one.paired
        place = (row.task, row.dataset, row.split, row.model)
        if lines and place != before:
            groups.append(len(lines))
        told = place if fill or place != before else ("", "", "", "")
        before = place
        gap = 100 * paired.difference if paired else row.value - one.base.value
        interval = f"[{100 * paired.low:+.1f}, {100 * paired.high:+.1f}]" if paired else ""
        lines.append(
            [
                *(Cell(word) for word in told),
                Cell(row.metric),
                Cell(f"{row.value:.2f}", order=row.value),
                Cell(f"{one.base.value:.2f}", order=one.base.value),
                Cell(f"{gap:+.2f}", interval, order=gap, best=bool(paired and paired.significant)),
                Cell(_p(paired), order=paired.p if paired else math.nan, note=paired.test if paired else ""),
                Cell("" if paired is None else "yes" if paired.significant else "no"),
                Cell(f"{paired.n:,}" if paired else "", order=float(paired.n) if paired else math.nan),
            ]
        )
    header = ["task", "dataset", "split", "model", "metric", "value", name, "diff.", "p", "signif.", "pairs"]
    return Sheet(f"Difference to {name}", header, lines, 6, [NOTE.format(name=name)], groups)


def _p(paired: Paired | None) -> str:
    if paired is None:
        return ""
    return "< 0.001" if paired.p < 0.001 else f"{paired.p:.3f}"


def difference_frame(found: Sequence[Difference]) -> pd.DataFrame:
    """The differences as a data frame, one line each; NaN where there is no test."""
    records = [
        {
            **{column: getattr(one.row, column) for column in ("task", "dataset", "split", "metric", "model")},
            "checkpoint": one.row.checkpoint,
            "value": one.row.value,
            "base_model": one.base.model,
            "base_checkpoint": one.base.checkpoint,
            "base_value": one.base.value,
            "difference": 100 * one.paired.difference if one.paired else one.row.value - one.base.value,
            "low": 100 * one.paired.low if one.paired else math.nan,
            "high": 100 * one.paired.high if one.paired else math.nan,
            "p": one.paired.p if one.paired else math.nan,
            "test": one.paired.test if one.paired else "",
            "significant": one.paired.significant if one.paired else None,
            "pairs": one.paired.n if one.paired else 0,
        }
        for one in found
    ]
    return pd.DataFrame(records)


def difference_json(found: Sequence[Difference]) -> str:
    """The same as a JSON list of objects."""
    records = json.loads(difference_frame(found).to_json(orient="records", double_precision=15))
    return json.dumps(records, indent=2) + "\n"
