"""A run that is killed or stopped goes on as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from coca_cli.training.checkpoints import latest_checkpoint
from tests.training.runs import STEPS, finish, losses, run_whole, start, wait_for_step, words


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "undisturbed"
    run_whole(words(output, "--ema", 0.9))
    return output


def assert_same_course(output: Path, undisturbed: Path) -> None:
    found, expected = losses(output), losses(undisturbed)
    assert list(found) == list(range(1, STEPS + 1))
    for step, loss in expected.items():
        assert found[step] == pytest.approx(loss, abs=1e-6), step
    weights, right = (load_file(folder / "model.safetensors") for folder in (output, undisturbed))
    assert weights.keys() == right.keys()
    assert all(torch.equal(weights[name], right[name]) for name in right)  # the moving average, too


@pytest.mark.slow
def test_sigterm_saves_and_sigkill_loses_nothing(undisturbed: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    process = start(words(output, "--ema", 0.9))
    wait_for_step(process, output, 1)
    os.kill(process.pid, signal.SIGTERM)
    code, errors = finish(process)
    assert code == 128 + signal.SIGTERM
    assert "the same command" in errors.replace("\n", " ")
    checkpoint = latest_checkpoint(output)
    assert checkpoint is not None
    assert checkpoint.name == f"step-{max(losses(output)):08d}"  # saved where it stopped
    process = start(words(output, "--ema", 0.9))
    wait_for_step(process, output, max(losses(output)) + 1)
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    run_whole(words(output, "--ema", 0.9, "--resume"))
    assert_same_course(output, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_sigkill_at_any_moment_loses_nothing(undisturbed: Path, tmp_path: Path, seed: int) -> None:
    output, chance = tmp_path / "run", random.Random(seed)
    for _ in range(4):
        process = start(words(output, "--ema", 0.9))
        reached = max(losses(output), default=0)
        if reached < STEPS - 1:
            wait_for_step(process, output, reached + chance.randint(0, 2) if reached else 1)
        try:
            process.wait(timeout=chance.uniform(0, 0.3))
        except subprocess.TimeoutExpired:  # it is still at work, as it should be
            os.killpg(process.pid, signal.SIGKILL)
        finish(process)
    run_whole(words(output, "--ema", 0.9))
    assert_same_course(output, undisturbed)
