"""Runs beside another run: by how much they differ, and whether that is more than chance."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from coca_cli.errors import CocaError
from coca_cli.reports.paired import Paired, compare_paired
from coca_cli.reports.run_scores import ExampleScores, details_of, scores_behind
from coca_cli.reports.sheets import Cell, Sheet
from coca_cli.results import Result
from coca_cli.store import RunFile, Store

NAMED = 6
OTHER = "\u2020"
"""Stands at a value of other settings than those of the row that is compared with it."""
NOTE = (
    "Differences are to {name}, in points (of ranks in places), on the examples that both have; p of McNemar's exact "
    "test or of a permutation test, two-sided, not corrected for several comparisons; significant is p below 0.05. "
    "Without p: nothing was kept of single examples, the metric is no mean over them, or (recall@k, CIDEr) what an "
    "example scores depends on the others, and the sets differ."
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
    runs: Sequence[RunFile]


class Difference(NamedTuple):
    """A row beside the one that it is compared with.

    Attributes:
        row: The user's.
        base: The other.
        paired: The test; None where there can be none.
        value: The user's, of the examples that both have where that is known, in points.
        base_value: The other's.
    """

    row: Result
    base: Result
    paired: Paired | None
    value: float
    base_value: float


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
    origins = {(row.model, row.checkpoint) for row in base.rows} if same_store else set()
    for row in rows:
        candidates = groups.get(_what(row), [])
        if not candidates or (row.model, row.checkpoint) in origins:
            continue
        other = _closest(row, candidates)
        first, second = (_scores(side, one) for side, one in ((base, other), (mine, row)))
        found.append(_compare(row, other, first, second))
    if not found:
        raise CocaError(
            "nothing can be compared: no result here has the task, dataset, split and metric of one that it should "
            "be compared with"
        )
    return found


def _what(row: Result) -> tuple[str, ...]:
    return row.task, row.dataset, row.split, row.metric


def _closest(row: Result, candidates: Sequence[Result]) -> Result:
    """The candidate of the same model, weights, settings, seed and precision, as far as there is one; else the newest.

    Raises:
        CocaError: None has the row's model, and they have several.
    """
    origins = sorted({f"{other.model}@{other.checkpoint}" for other in candidates})
    alike = [other for other in candidates if other.model == row.model] or list(candidates)
    if len({(other.model, other.checkpoint) for other in alike}) > 1 and not any(
        (other.model, other.checkpoint) == (row.model, row.checkpoint) for other in alike
    ):
        raise CocaError(
            f"{row.task} {row.dataset} {row.split} has several results to compare {row.model} with: "
            f"{', '.join(origins)}. Name one of them, as --against MODEL@HASH or, of another store, DIR@MODEL@HASH"
        )
    return max(
        alike,
        key=lambda other: (
            other.checkpoint == row.checkpoint,
            other.settings == row.settings,
            other.seed == row.seed,
            other.precision == row.precision,
            other.when,
        ),
    )


def _scores(side: Sourced, row: Result) -> ExampleScores | None:
    details = details_of(side.store, side.runs, row)
    return scores_behind(details, row.metric) if details is not None else None


def _compare(row: Result, base: Result, first: ExampleScores | None, second: ExampleScores | None) -> Difference:
    """The difference on the examples that both have; without a test where these cannot be compared one by one."""
    plain = Difference(row, base, None, row.value, base.value)
    if first is None or second is None:
        return plain
    place = {name: number for number, name in enumerate(first.ids)}
    shared = [number for number, name in enumerate(second.ids) if name in place]
    if not shared or (second.of_the_set and not len(shared) == len(first.ids) == len(second.ids)):
        return plain
    mine, theirs = second.part(shared), first.part([place[second.ids[number]] for number in shared])
    paired = compare_paired(theirs.weighed(), mine.weighed(), mine.of)
    if len(shared) == len(first.ids) == len(second.ids):
        return plain._replace(paired=paired)
    return Difference(row, base, paired, 100 * float(mine.weighed().mean()), 100 * float(theirs.weighed().mean()))


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
        gap = 100 * paired.difference if paired else one.value - one.base_value
        interval = f"[{100 * paired.low:+.1f}, {100 * paired.high:+.1f}]" if paired else ""
        lines.append(
            [
                *(Cell(word) for word in told),
                Cell(row.metric),
                Cell(f"{one.value:.2f}", order=one.value),
                Cell(f"{one.base_value:.2f}{OTHER if one.base.settings != row.settings else ''}", order=one.base_value),
                Cell(f"{gap:+.2f}", interval, order=gap, best=bool(paired and paired.significant)),
                Cell(_p(paired), order=paired.p if paired else math.nan, note=paired.test if paired else ""),
                Cell("" if paired is None else "yes" if paired.significant else "no"),
                Cell(f"{paired.n:,}" if paired else "", order=float(paired.n) if paired else math.nan),
            ]
        )
    header = ["task", "dataset", "split", "model", "metric", "value", name, "diff.", "p", "signif.", "pairs"]
    notes = [NOTE.format(name=name)]
    if any(one.base.settings != one.row.settings for one in found):
        notes.append(f"{OTHER} was measured with other settings.")
    bases = sorted({f"{one.base.model}@{one.base.checkpoint}" for one in found})
    notes.append(f"Compared with {', '.join(bases)}.")
    return Sheet(f"Difference to {name}", header, lines, 6, notes, groups)


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
            "value": one.value,
            "base_model": one.base.model,
            "base_checkpoint": one.base.checkpoint,
            "base_value": one.base_value,
            "difference": 100 * one.paired.difference if one.paired else one.value - one.base_value,
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
