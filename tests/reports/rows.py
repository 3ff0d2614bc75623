"""Rows for tests of reports."""

from __future__ import annotations

from coca_cli.results import KINDS, Result

DEFAULTS: dict[str, object] = {
    **{name: {"str": name, "int": 1, "float": 50.0}[kind] for name, kind in KINDS.items()},
    "task": "zeroshot",
    "dataset": "imagenet",
    "split": "val",
    "metric": "top-1",
    "value": 60.0,
    "low": 59.5,
    "high": 60.5,
    "n": 50_000,
    "skipped": 0,
    "model": "mine",
    "checkpoint": "ab12cd34",
    "settings": "0123456789",
    "seed": 0,
    "when": "2025-01-31T12:00:00Z",
}

SIX = {
    "imagenet": ("val", 50_000, 60.0),
    "imagenet-a": ("test", 7_500, 30.0),
    "imagenet-r": ("test", 30_000, 70.0),
    "imagenet-v2": ("test", 10_000, 50.0),
    "imagenet-sketch": ("test", 50_889, 40.0),
    "objectnet": ("test", 18_574, 46.0),
}
"""Split, size and some value of the sets of Table 4."""


def make_row(**changes: object) -> Result:
    """A row that the paper's Table 4 has."""
    return Result(**(DEFAULTS | changes))  # type: ignore[arg-type]


def six_rows(**changes: object) -> list[Result]:
    """A line of Table 4."""
    return [
        make_row(dataset=name, split=split, n=n, value=value, low=value - 0.5, high=value + 0.5, **changes)
        for name, (split, n, value) in SIX.items()
    ]
