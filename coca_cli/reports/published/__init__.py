"""Published numbers: the paper's result tables, and those of open_clip's checkpoints, each with its source."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple

TABLES = ("paper_results.csv", "open_clip_results.csv")


class Published(NamedTuple):
    """One number that somebody printed.

    Attributes:
        table: The paper's table, such as "4" or "8b"; "not in the paper" for others' numbers.
        task: In words.
        dataset: As the paper names it.
        split: Which part.
        metric: As the paper names it.
        model: Whose number it is.
        setting: How it was obtained; of an ablation what the number's unit is, where that needs saying.
        value: In the points that papers print.
        source: Where it is printed.
        confidence: How sure that reading is, such as "single source" or "confirmed (2+ sources)".
    """

    table: str
    task: str
    dataset: str
    split: str
    metric: str
    model: str
    setting: str
    value: float
    source: str
    confidence: str


@cache
def published_rows() -> tuple[Published, ...]:
    """All published numbers that this package knows, in the order of the tables."""
    rows: list[Published] = []
    for name in TABLES:
        lines = (files(__package__) / name).read_text(encoding="utf-8").splitlines()
        for row in csv.DictReader(lines):
            value = float(row.pop("value"))
            rows.append(Published(value=value, **{str(column): str(word) for column, word in row.items()}))
    return tuple(rows)
