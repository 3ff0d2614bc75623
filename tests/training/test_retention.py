from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from coca_cli.training.metrics_log import MetricsLog
from coca_cli.training.retention import Change, changes_table, score_changes

STEP = {"loss": 2.0, "caption": 2.0, "pairs_per_second": 10.0}
BEFORE = {"score": 5.0, "val.json CIDEr": 5.0, "digits top-1": 80.0}
BETWEEN = {"score": 70.0, "val.json CIDEr": 70.0, "digits top-1": 99.0}
AFTER = {"score": 60.5, "val.json CIDEr": 60.5, "digits top-1": 41.0}
CHANGES = [Change("val.json CIDEr", 5.0, 60.5), Change("digits top-1", 80.0, 41.0)]


def run_of(folder: Path, *lines: tuple[int, dict[str, Any]]) -> Path:
    log = MetricsLog(folder, 0, [], {}, "0123")
    for step, values in lines:
        log.write(step, values)
    log.close()
    return folder


def test_scores_before_the_first_step_and_after_the_last(tmp_path: Path) -> None:
    """The step's own line before the scores, as training writes them."""
    run = run_of(tmp_path, (0, BEFORE), (1, STEP), (1, BETWEEN), (2, STEP), (2, AFTER))
    assert score_changes(run) == CHANGES


def test_the_last_scores_count_also_where_steps_follow(tmp_path: Path) -> None:
    """Of a run that was stopped after an evaluation."""
    assert score_changes(run_of(tmp_path, (0, BEFORE), (1, STEP), (1, AFTER), (2, STEP))) == CHANGES


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    run = run_of(tmp_path, (0, BEFORE), (1, STEP), (1, AFTER))
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 2, **BETWEEN})[:-5])
    assert score_changes(run) == CHANGES


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [(1, STEP), (2, STEP)],
        [(0, BEFORE)],
        [(0, BEFORE), (1, STEP)],
        [(1, STEP), (1, BETWEEN), (2, STEP), (2, AFTER)],  # not evaluated before the first step
    ],
)
def test_nothing_to_compare(tmp_path: Path, lines: list[tuple[int, dict[str, Any]]]) -> None:
    assert score_changes(run_of(tmp_path, *lines)) == []


def test_no_run_at_all(tmp_path: Path) -> None:
    assert score_changes(tmp_path) == []


def test_only_what_was_scored_at_both_ends_is_compared(tmp_path: Path) -> None:
    run = run_of(tmp_path, (0, {**BEFORE, "gone top-1": 1.0}), (1, {**AFTER, "new top-1": 2.0}))
    assert score_changes(run) == CHANGES


def test_a_score_that_is_no_number_is_shown_as_it_is(tmp_path: Path) -> None:
    """The caption loss with shuffled pictures of a single picture."""
    name = "one caption loss, pictures shuffled"
    (change,) = score_changes(run_of(tmp_path, (0, {"score": 1.0, name: math.nan}), (1, {"score": 2.0, name: 3.0})))
    assert (change.metric, change.after) == (name, 3.0)
    assert math.isnan(change.before)
    assert changes_table([change]).splitlines()[1].split()[-2:] == ["nan", "3.00"]


def test_the_table_has_a_line_per_score_and_columns_that_stand_below_each_other() -> None:
    changes = [Change("val.json CIDEr", 0.0, 112.346), Change("digits top-1", 79.996, 8.5)]
    assert changes_table(changes) == (
        "                  before     after\nval.json CIDEr      0.00    112.35\ndigits top-1       80.00      8.50\n"
    )
