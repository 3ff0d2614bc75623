"""Training in bf16 on a processor without products of bf16 is told, and its rate is compared with fp32's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from coca_cli.progress import Reporter
from coca_cli.training import training_run
from coca_cli.training.run_request import RunRequest
from coca_cli.training.training_run import new_execution
from coca_cli.world import World


@pytest.mark.parametrize(
    ("precision", "able", "rank", "told", "mixed"),
    [
        ("bf16", False, 0, True, False),
        ("bf16", False, 1, False, False),
        ("bf16", True, 0, False, True),
        ("fp32", False, 0, False, False),
    ],
)
def test_bf16_without_its_products(
    precision: str,
    able: bool,
    rank: int,
    told: bool,
    mixed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[bool] = []

    def peak(device: torch.device, *, mixed: bool) -> float:
        asked.append(mixed)
        return 1.0

    monkeypatch.setattr(training_run, "runs_bf16_well", lambda _: able)
    monkeypatch.setattr(training_run, "measured_peak", peak)
    world = World(rank, 2)
    new_execution(RunRequest(output=tmp_path), world, torch.device("cpu"), precision, Reporter(quiet=True))
    warning = "warning: this processor has no products of bf16: --precision fp32 is several times as fast\n"
    assert capsys.readouterr().err == (warning if told else "")
    assert asked == [mixed]
