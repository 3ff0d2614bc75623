"""One of four processes that train together dies: the others end soon, say why, and the run can go on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.training.runs import STEPS, finish, losses, run_whole, start, wait_for_step, words

PROCESSES = 4
PATIENCE = 60.0
"""Seconds within which the others must be gone."""


def trainers(launcher: int) -> list[int]:
    """The processes that torchrun started."""
    found = subprocess.run(["pgrep", "-P", str(launcher)], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in found.split()]


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_the_others_end_within_a_minute_and_the_run_goes_on(parallel: str, tmp_path: Path) -> None:
    more = ("--parallel", parallel)
    run_whole(words(tmp_path / "undisturbed", *more), PROCESSES)
    output = tmp_path / "run"
    process = start(words(output, *more), PROCESSES)
    wait_for_step(process, output, 3)
    ranks = trainers(process.pid)
    assert len(ranks) == PROCESSES
    os.kill(ranks[-1], signal.SIGKILL)
    killed = time.monotonic()
    code, errors = finish(process)
    assert time.monotonic() - killed < PATIENCE
    assert code != 0
    assert f"of {PROCESSES} has lost another one" in errors, errors
    run_whole(words(output, *more), PROCESSES)
    found, expected = losses(output), losses(tmp_path / "undisturbed")
    assert list(found) == list(range(1, STEPS + 1))
    assert found == pytest.approx(expected, rel=1e-6)  # processes add up in another order once they begin anew
