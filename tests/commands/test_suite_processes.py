"""A suite that is killed, and one that two processes share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands.running import run
from tests.tasks.writer import save_writer

PATIENCE = 240.0
SUITE = """
[defaults]
limit = 40
precision = "fp32"
[[benchmark]]
task = "zeroshot"
dataset = "digits"
[[benchmark]]
task = "retrieval"
dataset = "scenes"
[[benchmark]]
task = "retrieval"
dataset = "scenes"
captions-per-image = "first"
"""
KILLED = """
import os, signal, sys
from coca_cli.cli import main
from coca_cli.tasks import retrieval_run

def half_done(request, chosen, placed, store, reporter, world):
    retrieval_run.embed_media(
        request.dataset, "test", chosen.examples, placed, request.reading, retrieval_run.Skipped(), reporter, world
    )
    os.kill(os.getpid(), signal.SIGKILL)

retrieval_run.run_retrieval = half_done
main(sys.argv[1:])
"""


def rows(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (results / "results.jsonl").read_text().splitlines()]


def words(tmp_path: Path, model: Path, results: Path) -> list[str]:
    (tmp_path / "mine.toml").write_text(SUITE)
    named = ["suite", "run", str(tmp_path / "mine.toml"), "-m", str(model), "--cache-dir", str(tmp_path / "cache")]
    return [*named, "--results", str(results)]


def start(command: list[str], *more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *more], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_a_killed_suite_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, results = save_writer(tmp_path / "model"), tmp_path / "results"
    asked = words(tmp_path, model, results)
    killed = start([sys.executable, "-c", KILLED], *asked)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert {row["task"] for row in rows(results)} == {"zeroshot"}
    (note,) = (results / "suites").iterdir()
    before = (note.read_bytes(), note.stat().st_mtime_ns)
    assert run(*asked) == 0
    assert "2 to do, 1 kept" in capsys.readouterr().err
    found = [(row["task"], row["settings"], row["metric"]) for row in rows(results)]
    assert len(found) == len(set(found)), "nothing ran twice"
    assert len({settings for task, settings, _ in found if task == "retrieval"}) == 2
    assert (note.read_bytes(), note.stat().st_mtime_ns) == before
    assert sorted(path.suffix for path in (results / "suites").iterdir()) == [".json"] * 3


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one(tmp_path: Path) -> None:
    model = save_writer(tmp_path / "model")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    together = start([*torchrun, "-m", "coca_cli"], *words(tmp_path, model, tmp_path / "together"), "--no-cache")
    assert together.returncode == 0, together.stderr
    assert together.stdout.count("In points; 95 % interval") == 1, "one process speaks for all"
    assert run(*words(tmp_path, model, tmp_path / "alone"), "--no-cache") == 0
    one, two = (
        [{key: row[key] for key in ("task", "metric", "value", "n", "settings")} for row in rows(tmp_path / name)]
        for name in ("alone", "together")
    )
    assert one == two
    again = start([*torchrun, "-m", "coca_cli"], *words(tmp_path, model, tmp_path / "together"), "--no-cache")
    assert again.returncode == 0, again.stderr
    assert "0 to do, 3 kept" in again.stderr
    assert again.stdout == together.stdout


@pytest.mark.slow
def test_with_two_processes_a_failure_ends_the_run(tmp_path: Path) -> None:
    model = save_writer(tmp_path / "model")
    (model / "model.safetensors").write_bytes(b"no weights")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = start([*torchrun, "-m", "coca_cli"], *words(tmp_path, model, tmp_path / "results"))
    assert ended.returncode != 0
    assert "coca: zeroshot digits" in ended.stderr
