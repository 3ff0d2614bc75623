"""What evaluations keep of single examples adds up to the rows that they print."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coca_cli.details import RunDetails
from coca_cli.results import Result
from coca_cli.store import Store
from tests.commands.running import run
from tests.commands.squares import save_clips, save_model, save_pictures

JPEG = b"\xff\xd8\xff"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


def kept(results: Path) -> tuple[RunDetails, dict[str, Result]]:
    store = Store(results)
    (file,) = store.runs()
    found = store.details(file)
    assert found is not None
    rows = {row.metric: row for row in store.rows()}
    assert all(file.made(row) for row in rows.values())
    return found, rows


def mean_of(table: dict[str, list[str]] | None, column: str) -> float:
    assert table is not None
    return 100 * float(np.mean([float(value) for value in table[column]]))


def test_zero_shot_keeps_what_was_said_of_each(model: Path, tmp_path: Path) -> None:
    pictures = save_pictures(tmp_path / "squares")
    asked = ("-d", f"folder:{pictures}", "--split", "test", "--results", tmp_path / "results", "--no-cache", "-q")
    assert run("eval", "zeroshot", "-m", model, *asked) == 0
    found, rows = kept(tmp_path / "results")
    table = found.table("examples")
    assert mean_of(table, "top-1") == pytest.approx(rows["top-1"].value)
    assert table is not None
    right = [label == said for label, said in zip(table["label"], table["said"], strict=True)]
    assert [int(value) for value in table["top-1"]] == [int(hit) for hit in right]
    assert found.facts["class_names"] == ["blue", "green", "red"]
    assert len(found.samples) == 8
    for sample in found.samples:
        (picture,), (grid,) = sample["pictures"], sample["maps"]
        assert picture.startswith(JPEG)
        assert np.shape(grid) == (4, 4)
        assert np.sum(grid) == pytest.approx(1, abs=1e-4)
        assert sample["said"][0][1] >= sample["said"][1][1]
    (run_file,) = Store(tmp_path / "results").runs()
    assert run_file.document["model_folder"] == str(model.resolve())


def test_a_probe_of_clips_shows_where_its_pooler_looked_in_each_frame(model: Path, tmp_path: Path) -> None:
    clips = save_clips(tmp_path / "clips")
    short = ("--frames", 4, "--steps", 3, "--learning-rates", "1e-3", "--weight-decays", 0, "--head-batch-size", 4)
    where = ("--results", tmp_path / "results", "--no-cache", "-q")
    assert run("probe", "-m", model, "-d", f"videos:{clips}", *short, *where) == 0
    found, rows = kept(tmp_path / "results")
    assert mean_of(found.table("examples"), "top-1") == pytest.approx(rows["top-1"].value)
    assert len(found.samples) == 3
    for sample in found.samples:
        assert np.shape(sample["maps"]) == (4, 4, 4)
        assert np.sum(sample["maps"]) == pytest.approx(1, abs=1e-4)
        assert all(picture.startswith(JPEG) for picture in sample["pictures"])


def test_a_linear_probe_has_no_pooler_to_look_with(model: Path, tmp_path: Path) -> None:
    pictures = save_pictures(tmp_path / "squares")
    where = ("--results", tmp_path / "results", "--no-cache", "-q")
    assert run("probe", "-m", model, "-d", f"folder:{pictures}", "--head", "linear", *where) == 0
    found, rows = kept(tmp_path / "results")
    assert mean_of(found.table("examples"), "top-1") == pytest.approx(rows["top-1"].value)
    assert all("maps" not in sample for sample in found.samples)


def test_retrieval_keeps_places_from_which_any_recall_follows(model: Path, tmp_path: Path) -> None:
    asked = ("-d", "scenes", "--limit", 30, "--results", tmp_path / "results", "--no-cache", "-q")
    assert run("eval", "retrieval", "-m", model, *asked) == 0
    found, rows = kept(tmp_path / "results")
    for way in ("image-to-text", "text-to-image"):
        table = found.table(way)
        assert table is not None
        places = np.array([int(place) for place in table["rank"]])
        assert places.mean() == pytest.approx(rows[f"{way} mean rank"].value)
        for k in (1, 5, 10):
            assert 100 * (places <= k).mean() == pytest.approx(rows[f"{way} recall@{k}"].value)
    captions = found.table("text-to-image")
    assert captions is not None
    assert captions["id"][:2] == [f"{captions['of'][0]}#0", f"{captions['of'][0]}#1"]
    assert len(set(captions["id"])) == len(captions["id"])
    for sample in found.samples:
        assert all(picture.startswith(JPEG) for picture in sample["found"])
        assert any(sample["right"]) == (sample["place"] <= len(sample["found"]))
