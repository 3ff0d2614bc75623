"""Rows that their settings alone tell apart say what differs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from coca_cli.reports.settings_words import spell_settings
from coca_cli.results import Run, settings_hash
from coca_cli.store import Store
from tests.commands.running import run as run_coca
from tests.reports.rows import make_row

LINEAR = {"head": "linear", "features": "mean", "recipe": {"steps": 5}, "prompts": ["a {c}"], "seed": 0}


def stored(folder: Path, *settings: dict[str, Any]) -> Store:
    store = Store(folder)
    for number, each in enumerate(settings):
        when = f"2026-01-01T00:00:0{number}Z"
        facts = {"command": "", "versions": {}, "seconds": 1.0, "when": when}
        row = make_row(task="probe", dataset="digits", settings=settings_hash(each), when=when)
        store.append([row], Run(task="probe", dataset="digits", settings=each, **facts))
    return store


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([{**LINEAR, "head": "knn"}], ["head linear", "head knn"]),
        ([{**LINEAR, "recipe": {"steps": 9}}], ["steps 5", "steps 9"]),
        ([{**LINEAR, "head": "knn"}, {**LINEAR, "features": "embedding"}], None),
        ([{**LINEAR, "shots": 3}], ["no shots", "shots 3"]),
    ],
)
def test_what_differs_is_said(others: list[dict[str, Any]], words: list[str] | None, tmp_path: Path) -> None:
    store = stored(tmp_path, LINEAR, *others)
    found = [row.settings for row in spell_settings(store.rows(), store.runs)]
    assert found == (
        words or ["head linear, features mean", "head knn, features mean", "head linear, features embedding"]
    )


def test_hashes_stay_where_words_do_not_tell(tmp_path: Path) -> None:
    many = stored(tmp_path / "many", *({**LINEAR, f"only {number}": 1} for number in range(6)))
    assert spell_settings(many.rows(), many.runs) == many.rows()
    alone = stored(tmp_path / "alone", LINEAR)
    assert spell_settings(alone.rows(), alone.runs) == alone.rows()
    gone = stored(tmp_path / "gone", LINEAR, {**LINEAR, "head": "knn"})
    assert spell_settings(gone.rows(), list) == gone.rows()


def test_long_values_are_told_apart_and_never_taken_for_none(tmp_path: Path) -> None:
    store = stored(tmp_path, {**LINEAR, "prefix": ""}, {**LINEAR, "prefix": "a long beginning of every caption"})
    first, second = (row.settings for row in spell_settings(store.rows(), store.runs))
    assert first == 'prefix ""'
    assert re.fullmatch("prefix #[0-9a-f]{4}", second)
    lists = stored(tmp_path / "lists", LINEAR, {**LINEAR, "prompts": ["so {c}"]})
    assert [row.settings for row in spell_settings(lists.rows(), lists.runs)] == [
        'prompts ["a {c}"]',
        'prompts ["so {c}"]',
    ]


def test_a_damaged_run_file_stops_no_report(tmp_path: Path) -> None:
    store = stored(tmp_path, LINEAR, {**LINEAR, "head": "knn"})
    (tmp_path / "runs" / "20260101T000000Z-broken.json").write_text("{")
    assert run_coca("report", "--results", tmp_path) == 0
    assert spell_settings(store.rows(), store.runs) == store.rows()


def test_the_report_says_it_and_its_csv_keeps_hashes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = stored(tmp_path, LINEAR, {**LINEAR, "head": "knn"})
    for format in ("table", "markdown", "latex", "html"):
        assert run_coca("report", "--results", tmp_path, "--format", format) == 0
        out = capsys.readouterr().out
        assert "head linear" in out
        assert "head knn" in out
    assert run_coca("report", "--results", tmp_path, "--format", "csv") == 0
    out = capsys.readouterr().out
    assert all(row.settings in out for row in store.rows())
