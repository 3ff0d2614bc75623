"""Which classes a classifier takes for which."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coca_cli.details import RunDetails
from coca_cli.reports.run_scores import EXAMPLES

PAIRS = 15
CLASSES = 12


class ConfusedPair(NamedTuple):
    """A class that was taken for another.

    Attributes:
        true: The right class.
        said: What was said.
        times: Of so many examples.
        part: Of all examples of the right class, in points.
    """

    true: str
    said: str
    times: int
    part: float


class Confusions(NamedTuple):
    """The classes that are taken for each other most.

    Attributes:
        pairs: The most frequent first.
        names: (c,) the classes that are in them most.
        counts: (c, c) true class, what was said; what was said outside these classes is not counted.
        totals: (c,) all examples of each class.
    """

    pairs: list[ConfusedPair]
    names: list[str]
    counts: NDArray[np.int64]
    totals: NDArray[np.int64]


def find_confusions(details: RunDetails) -> Confusions | None:
    """The confusions of a run; None where it classified nothing, or made no mistake."""
    table, names = details.table(EXAMPLES), details.facts.get("class_names")
    if table is None or names is None or "said" not in table:
        return None
    labels, said = (np.array(table[column], dtype=np.int64) for column in ("label", "said"))
    wrong = Counter(zip(labels[labels != said].tolist(), said[labels != said].tolist(), strict=True))
    if not wrong:
        return None
    totals = np.bincount(labels, minlength=len(names))
    ordered = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    pairs = [
        ConfusedPair(names[true], names[other], count, 100 * count / int(totals[true]))
        for (true, other), count in ordered[:PAIRS]
    ]
    involved: Counter[int] = Counter()
    for (true, other), count in ordered:
        involved[true] += count
        involved[other] += count
    chosen = sorted(number for number, _ in involved.most_common(CLASSES))
    counts = np.array([[int(((labels == t) & (said == s)).sum()) for s in chosen] for t in chosen], dtype=np.int64)
    return Confusions(pairs, [names[number] for number in chosen], counts, totals[chosen])
