"""`coca probe` where tokens are computed on the fly: too large to be kept, or another picture each time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from coca_cli.tasks import token_features
from coca_cli.training import probe_loading
from tests.commands.squares import save_clips, save_model, save_pictures
from tests.commands.test_probe import QUICK, probe, rows, value

LIVE = ("--cache-budget", 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("pictures"))


def head_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "head.safetensors")


def assert_same_head(one: Path, other: Path) -> None:
    first, second = head_of(one), head_of(other)
    assert first.keys() == second.keys()
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, atol=1e-4, rtol=0, msg=name)


def test_kept_and_live_tokens_give_the_same_head(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"folder:{pictures}"
    assert probe(model, data, tmp_path / "kept", "-o", tmp_path / "kept/probe") == 0
    assert "tokens: kept in" in capsys.readouterr().err.replace("\n", " ")
    assert probe(model, data, tmp_path / "live", *LIVE, "-o", tmp_path / "live/probe") == 0
    err = " ".join(capsys.readouterr().err.split())
    assert "tokens: computed on the fly: kept in" in err
    assert "they would take 0.0 GB more, and --cache-budget is 0.0" in err
    assert not (tmp_path / "live/cache/features").exists()
    assert_same_head(tmp_path / "kept/probe", tmp_path / "live/probe")
    for one, other in zip(rows(tmp_path / "kept"), rows(tmp_path / "live"), strict=True):
        assert (one["metric"], one["value"], one["n"]) == (other["metric"], other["value"], other["n"])


def test_what_is_there_already_takes_no_room(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"folder:{pictures}"
    assert probe(model, data, tmp_path) == 0
    capsys.readouterr()
    assert probe(model, data, tmp_path, *LIVE) == 0
    assert "(all of them are there)" in " ".join(capsys.readouterr().err.split())


def test_without_a_budget_half_of_what_is_free_is_taken(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(probe_loading.shutil, "disk_usage", lambda path: free._replace(free=1000))
    assert probe(model, f"folder:{pictures}", tmp_path, "--steps", 2) == 0
    assert "tokens: computed on the fly" in " ".join(capsys.readouterr().err.split())
    assert probe(model, f"folder:{pictures}", tmp_path, "--steps", 2, "--no-cache") == 0
    assert "tokens: kept in memory" in " ".join(capsys.readouterr().err.split())


def test_a_system_that_does_not_say_how_much_memory_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 4000 kB\nMemAvailable:   2000 kB\n")
    monkeypatch.setattr(probe_loading, "MEMORY", tmp_path / "meminfo")
    assert probe_loading._room(None) == 1000 * 1024
    monkeypatch.setattr(probe_loading, "MEMORY", tmp_path / "nowhere")
    assert probe_loading._room(None) == probe_loading.UNKNOWN_MEMORY


def test_augmented_pictures_are_encoded_each_time_and_all_others_once(
    model: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, more = f"folder:{pictures}", ("--rand-augment", "2,5", "--flip", "--steps", 5)
    assert probe(model, data, tmp_path, "--steps", 5, "-o", tmp_path / "plain") == 0
    assert probe(model, data, tmp_path, *more, "-o", tmp_path / "one") == 0
    err = " ".join(capsys.readouterr().err.split())
    assert (
        "tokens of training examples: computed on the fly, as augmentation shows them in another way each time" in err
    )
    assert "tokens of all others: kept in" in err
    encode, encoded = token_features.encode_tokens, list[int]()

    def counted(*words: object) -> torch.Tensor:
        tokens = encode(*words)  # type: ignore[arg-type]
        encoded.append(len(tokens))
        return tokens

    monkeypatch.setattr(token_features, "encode_tokens", counted)
    assert probe(model, data, tmp_path, *more, "-o", tmp_path / "two") == 0
    assert sum(encoded) == 5 * 16  # the training batches alone
    assert_same_head(tmp_path / "one", tmp_path / "two")
    plain, augmented = head_of(tmp_path / "plain"), head_of(tmp_path / "one")
    assert any(not torch.allclose(plain[name], weight, atol=1e-3) for name, weight in augmented.items())
    assert value(tmp_path) > 30


def test_augmentation_and_no_room_at_all(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--min-crop", 0.9, "--turn", "--val-split", "test", "--split", "test")
    tree = tmp_path / "tree"
    shutil.copytree(pictures, tree)
    shutil.copytree(pictures / "test", tree / "val")
    more = ("--min-crop", 0.9, "--turn", "--val-split", "val", *LIVE)
    assert probe(model, f"folder:{tree}", tmp_path, *more) == 0
    assert "tokens of all others: computed on the fly" in " ".join(capsys.readouterr().err.split())
    assert rows(tmp_path)[0]["n"] == 30
    assert not (tmp_path / "cache/features").exists()


def test_pictures_that_cannot_be_read(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(pictures, tree)
    (tree / "train/red/00.png").write_bytes(b"no picture")
    (tree / "test/red/00.png").write_bytes(b"no picture")
    assert probe(model, f"folder:{tree}", tmp_path, *LIVE) == 0
    assert rows(tmp_path)[0]["n"] == 29
    assert rows(tmp_path)[0]["skipped"] == 1
    (run_file,) = (tmp_path / "results/runs").glob("*.json")
    assert "red/00.png" in run_file.read_text()
    assert probe(model, f"folder:{tree}", tmp_path, *LIVE, "--strict") == 1
    assert "Stopped because of --strict" in capsys.readouterr().err
    for number in range(1, 6):
        (tree / f"train/red/{number:02}.png").write_bytes(b"no picture")
    capsys.readouterr()
    assert probe(model, f"folder:{tree}", tmp_path, *LIVE) == 1
    assert "examples cannot be read, which is more than 5 %" in " ".join(capsys.readouterr().err.split())


def test_a_few_examples_per_class(model: Path, pictures: Path, tmp_path: Path) -> None:
    words = ("--shots", "2", "--draws", 2, "--flip", "--steps", 4)
    assert probe(model, f"folder:{pictures}", tmp_path, *words) == 0
    assert [row["metric"] for row in rows(tmp_path)] == ["2-shot top-1", "2-shot top-1 standard deviation"]


def test_one_of_a_few_that_cannot_be_read_is_replaced(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(pictures, tree)
    (tree / "train/red/00.png").write_bytes(b"no picture")
    words = ("--shots", "27", "--draws", 1, "--flip", "--steps", 12)  # all that are not held out
    assert probe(model, f"folder:{tree}", tmp_path, *words) == 0


def test_unreadable_training_pictures_are_told(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(pictures, tree)
    for number in range(2):
        (tree / f"train/red/{number:02}.png").write_bytes(b"no picture")
    assert probe(model, f"folder:{tree}", tmp_path, "--flip") == 0
    assert "left out: " in capsys.readouterr().err


def test_clips(model: Path, tmp_path: Path) -> None:
    data = f"videos:{save_clips(tmp_path / 'clips')}"
    words = ("--frames", 3, "--steps", 6, "--head-batch-size", 4)
    assert probe(model, data, tmp_path / "kept", *words, "-o", tmp_path / "kept/probe") == 0
    assert probe(model, data, tmp_path / "live", *words, *LIVE, "-o", tmp_path / "live/probe") == 0
    assert_same_head(tmp_path / "kept/probe", tmp_path / "live/probe")
    assert probe(model, data, tmp_path / "live", *words, "--flip", "--rand-augment", "1,10") == 0


@pytest.mark.slow
def test_two_processes_compute_live_tokens_as_one_does(model: Path, pictures: Path, tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "coca_cli", "probe"]
    more = ("--steps", 8, "--flip", *LIVE)
    words = [sys.executable, *launcher, "-m", str(model), "-d", f"folder:{pictures}", "-o", str(tmp_path / "two/head")]
    words += ["--results", str(tmp_path / "two/results"), "--no-cache", *map(str, (*QUICK, *more))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert probe(model, f"folder:{pictures}", tmp_path / "one", *more, "-o", tmp_path / "one/head") == 0
    assert_same_head(tmp_path / "one/head", tmp_path / "two/head")
    assert value(tmp_path / "one") == value(tmp_path / "two")


@pytest.mark.parametrize("text", ["2", "2,40", "many,1", "2,20,1"])
def test_a_strength_that_is_none(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert probe(model, f"folder:{pictures}", tmp_path, "--rand-augment", text) == 1
    assert "give the number of operations and their magnitude from 0 to 30, such as 2,20" in " ".join(
        capsys.readouterr().err.split()
    )


def test_the_run_file_names_the_augmentation(model: Path, pictures: Path, tmp_path: Path) -> None:
    assert probe(model, f"folder:{pictures}", tmp_path, "--steps", 2, "--rand-augment", "1,7", "--min-crop", 0.5) == 0
    (run_file,) = (tmp_path / "results/runs").glob("*.json")
    augmentation = json.loads(run_file.read_text())["settings"]["augmentation"]
    assert augmentation == {
        "min_area": 0.5,
        "flip": False,
        "turn": False,
        "rand_augment": [1, 7],
        "keep_colours": False,
    }
