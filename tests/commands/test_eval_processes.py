"""Evaluation by two processes gives the numbers of one, to the last digit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coca_cli.tasks.feature_store import PART
from tests.commands.test_eval_retrieval import model  # noqa: F401  (a fixture)

PATIENCE = 240.0


def rows(results: Path) -> list[dict[str, object]]:
    found = [json.loads(line) for line in (results / "results.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in ("metric", "value", "low", "high", "n", "skipped")} for row in found]


def evaluate(words: list[str], results: Path, processes: int) -> list[dict[str, object]]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher = torchrun if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "coca_cli", "eval", *words, "--results", str(results), "--no-cache"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("In points; 95 % interval") == 1, "one process speaks for all"
    return rows(results)


@pytest.mark.parametrize(
    "words", [["zeroshot", "-d", "digits"], pytest.param(["retrieval", "-d", "scenes"], marks=pytest.mark.slow)]
)
def test_two_processes_score_each_example_once(model: Path, tmp_path: Path, words: list[str]) -> None:  # noqa: F811
    """Two parts and a bit, so that the processes have different shares."""
    words = [*words, "-m", str(model), "--precision", "fp32", "--limit", str(2 * PART + 10)]
    alone = evaluate(words, tmp_path / "alone", 1)
    together = evaluate(words, tmp_path / "together", 2)
    assert together == alone
    assert alone[0]["n"] == 2 * PART + 10
