"""What each example contributed to a row, from the details that its run has kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coca_cli.details import RunDetails
from coca_cli.results import Result
from coca_cli.store import RunFile, Store

_RECALL = re.compile(r"(.*) recall@(\d+)")
EXAMPLES = "examples"


class ExampleScores(NamedTuple):
    """What examples scored.

    Attributes:
        ids: n examples.
        scores: (n,); the row's value is 100 times the mean of what they count, see `weighed`.
        of: (n,) which belong together; None where each stands alone.
        labels: (n,) classes, where each class counts alike.
        of_the_set: What an example scores depends on which others are in the set: a rank on how many were searched,
            CIDEr on how frequent words are.
    """

    ids: list[str]
    scores: NDArray[np.float64]
    of: list[str] | None
    labels: NDArray[np.int64] | None = None
    of_the_set: bool = False

    def part(self, rows: Sequence[int]) -> ExampleScores:
        """The same of these examples alone."""
        chosen = np.array(rows, dtype=np.int64)
        labels = None if self.labels is None else self.labels[chosen]
        of = None if self.of is None else [self.of[row] for row in rows]
        return ExampleScores([self.ids[row] for row in rows], self.scores[chosen], of, labels, self.of_the_set)

    def weighed(self) -> NDArray[np.float64]:
        """What each example counts: where classes count alike, more the fewer its class has."""
        if self.labels is None:
            return self.scores
        counts = np.bincount(self.labels)
        weights = len(self.labels) / (counts[self.labels] * int((counts > 0).sum()))
        weighed: NDArray[np.float64] = self.scores * weights
        return weighed


def find_run(runs: Sequence[RunFile], row: Result) -> RunFile | None:
    """The run that made the row, the latest of several; None where its file is gone."""
    made = [run for run in runs if run.made(row)]
    return made[-1] if made else None


def details_of(store: Store, runs: Sequence[RunFile], row: Result) -> RunDetails | None:
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
        return ExampleScores(ids, (places <= int(found[2])).astype(np.float64), of, of_the_set=True)
    if metric == "mean per-class recall" and "label" in table:
        labels = np.array(table["label"], dtype=np.int64)
        return ExampleScores(ids, np.array(table["top-1"], dtype=np.float64), of, labels)
    if metric not in table or metric == "rank":
        return None
    return ExampleScores(ids, np.array(table[metric], dtype=np.float64), of, of_the_set=metric == "CIDEr")
