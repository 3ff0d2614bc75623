"""What each example contributed to a row, from the details that its run has kept."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coca_cli.details import RunDetails
from coca_cli.results import Result
from coca_cli.store import RunFile, Store

_RECALL = re.compile(r"(.*) recall@(\d+)")
EXAMPLES = "examples"


class ExampleScores(NamedTuple):
    """What examples contributed.

    Attributes:
        ids: n examples.
        scores: (n,); the row's value is 100 times their mean.
        of: (n,) which belong together; None where each stands alone.
    """

    ids: list[str]
    scores: NDArray[np.float64]
    of: list[str] | None


def find_run(runs: list[RunFile], row: Result) -> RunFile | None:
    """The run that made the row, the latest of several; None where its file is gone."""
    made = [run for run in runs if run.made(row)]
    return made[-1] if made else None


def details_of(store: Store, runs: list[RunFile], row: Result) -> RunDetails | None:
    """What the run of a row has kept; None where it has kept nothing."""
    run = find_run(runs, row)
    return store.details(run) if run is not None else None


def scores_behind(details: RunDetails, metric: str) -> ExampleScores | None:
    """What each example contributed to a metric; None where that is not a mean over examples, as with BLEU.

    Mean per-class recall is one in which an example counts as much as its class has few of them.
    """
    found = _RECALL.fullmatch(metric)
    table = details.table(found[1] if found else EXAMPLES)
    if table is None:
        return None
    ids, of = table["id"], table.get("of")
    if found:
        places = np.array(table["rank"], dtype=np.int64)
        return ExampleScores(ids, (places <= int(found[2])).astype(np.float64), of)
    if metric == "mean per-class recall" and "label" in table:
        labels = np.array(table["label"], dtype=np.int64)
        counts = np.bincount(labels)
        weights = len(labels) / (counts[labels] * int((counts > 0).sum()))
        return ExampleScores(ids, np.array(table["top-1"], dtype=np.float64) * weights, of)
    if metric not in table or metric == "rank":
        return None
    return ExampleScores(ids, np.array(table[metric], dtype=np.float64), of)
