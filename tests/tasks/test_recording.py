from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from coca_cli import __version__
from coca_cli.datasets.example import Dataset, Example
from coca_cli.results import Result, settings_hash
from coca_cli.store import Store
from coca_cli.tasks.intervals import Estimate
from coca_cli.tasks.recording import Evaluation
from tests.tasks.tiny import tiny_placed


def read(root: Path, split: str) -> Iterator[Example]:
    return iter(())


DATASET = Dataset(
    name="animals",
    task="classification",
    splits=("val",),
    source="a test",
    licence="none",
    version=3,
    layout="nothing",
    read=read,
)
SCORES = {"top-1": Estimate(0.75, 0.5, 0.875), "top-5": Estimate(1.0, 0.625, 1.0)}
SETTINGS = {"prompts": {"class_names": ("cat", "dog"), "templates": ("a {c}.",)}, "limit": None}


def evaluation() -> Evaluation:
    return Evaluation(
        task="zeroshot",
        dataset=DATASET,
        split="val",
        origin=tiny_placed().origin,
        settings=SETTINGS,
        seed=5,
        started=0.0,
    )


def record(store: Store, **changes: object) -> list[Result]:
    return replace(evaluation(), **changes).record(store, SCORES, 40, {"b.jpg": "cut off", "c.jpg": "no picture"})


def test_every_score_becomes_a_row_in_points(tmp_path: Path) -> None:
    rows = record(Store(tmp_path))
    assert [(row.metric, row.value, row.low, row.high) for row in rows] == [
        ("top-1", 75.0, 50.0, 87.5),
        ("top-5", 100.0, 62.5, 100.0),
    ]
    for row in rows:
        assert (row.task, row.dataset, row.dataset_version, row.split) == ("zeroshot", "animals", 3, "val")
        assert (row.n, row.skipped, row.seed) == (40, 2, 5)
        assert (row.model, row.checkpoint, row.device, row.precision) == ("tiny", "0123abcd", "cpu", "fp32")
        assert (row.coca, row.torch) == (__version__, version("torch"))
        assert row.settings == settings_hash(SETTINGS)
    assert Store(tmp_path).rows() == rows


def test_the_run_file_tells_the_command_settings_and_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/coca", "eval", "zeroshot", "-d", "folder:my pictures"])
    record(Store(tmp_path))
    (file,) = (tmp_path / "runs").iterdir()
    run = json.loads(file.read_text())
    assert run["command"] == "coca eval zeroshot -d 'folder:my pictures'"
    assert run["settings"]["prompts"]["templates"] == ["a {c}."]
    assert run["skipped"] == [{"id": "b.jpg", "reason": "cut off"}, {"id": "c.jpg", "reason": "no picture"}]
    assert run["versions"]["coca"] == __version__


def test_a_repeated_run_appends(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record(store)
    record(store)
    assert len(store.rows()) == 4
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_other_settings_have_another_hash(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record(store)
    record(store, settings={**SETTINGS, "limit": 5})
    assert len({row.settings for row in store.rows()}) == 2


def test_seconds_count_from_the_beginning(tmp_path: Path) -> None:
    (row, _) = record(Store(tmp_path), started=time.monotonic() - 12)
    assert 12 <= row.seconds < 30
