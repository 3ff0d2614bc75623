"""What finetuning did to the scores that were taken before it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from coca_cli.training.metrics_log import read_metrics


class Change(NamedTuple):
    """A score before the first step and at the last evaluation."""

    metric: str
    before: float
    after: float


def score_changes(folder: Path) -> list[Change]:
    """All scores of a run that was evaluated before its first step; none of another run."""
    lines = [line for line in read_metrics(folder) if "score" in line]
    if len(lines) < 2 or lines[0].get("step") != 0:
        return []
    first, last = lines[0], lines[-1]
    return [
        Change(metric, float(value), float(last[metric]))
        for metric, value in first.items()
        if metric in last and " " in metric and isinstance(value, int | float)
    ]


def changes_table(changes: list[Change]) -> str:
    """The scores as lines of text, one below the other."""
    width = max(len(change.metric) for change in changes)
    lines = [f"{'':{width}}  {'before':>8}  {'after':>8}"]
    lines += [f"{change.metric:{width}}  {change.before:8.2f}  {change.after:8.2f}" for change in changes]
    return "\n".join(lines) + "\n"
