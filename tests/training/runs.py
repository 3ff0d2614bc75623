"""`coca pretrain` in processes of its own: alone, under torchrun, killed, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SMALL = ("image.size=16", "vision.layers=1", "text.unimodal_layers=1", "text.multimodal_layers=1", "text.context=24")
STEPS = 8
PATIENCE = 240.0
"""Seconds; these machines are slow at times."""


def words(output: Path, *more: object) -> list[str]:
    """The command's words: 8 steps on captions and labels, saved at every second."""
    settings = [word for change in SMALL for word in ("--set", change)]
    return list(
        map(
            str,
            (
                *("pretrain", "--data", "scenes", "--data", "digits", "--limit", 32, "--output", output),
                *("--steps", STEPS, "--batch-size", 8, "--save-every", 2, "--vocab-size", 200, "--precision", "fp32"),
                *("--workers", 1, "--quiet", *settings, *more),
            ),
        )
    )


def start(arguments: list[str], processes: int = 1) -> subprocess.Popen[str]:
    """Start the command; under torchrun where it is to be several processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher = torchrun if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "coca_cli", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::FutureWarning:coca_cli"}
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what stood on stderr."""
    try:
        _, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, errors


def run_whole(arguments: list[str], processes: int = 1) -> None:
    """Run to the end, which has to be a good one."""
    code, errors = finish(start(arguments, processes))
    assert code == 0, errors


def losses(output: Path) -> dict[int, float]:
    """Loss by step, of the whole lines in metrics.jsonl."""
    found: dict[int, float] = {}
    path = output / "metrics.jsonl"
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
        except ValueError:
            break
        assert record["step"] not in found, "a step stands twice"
        found[record["step"]] = record["loss"]
    return found


def wait_for_step(process: subprocess.Popen[str], output: Path, step: int) -> None:
    """Until the run has logged this step."""
    deadline = time.monotonic() + PATIENCE
    while not any(done >= step for done in losses(output)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
