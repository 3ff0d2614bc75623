"""What a run measured: metrics.jsonl always, TensorBoard and Weights & Biases where they are wanted."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from coca_cli.extras import missing
from coca_cli.files import written_whole
from coca_cli.json_text import parse_json
from coca_cli.options import LogChoice
from coca_cli.training.failed_writes import writing

METRICS_FILE = "metrics.jsonl"
MODULES = {LogChoice.tensorboard: "torch.utils.tensorboard", LogChoice.wandb: "wandb"}


class MetricsLog:
    """Appends to a run's logs.

    Args:
        folder: The run folder.
        step: Steps done already; later lines of an earlier, killed run are dropped.
        extras: Further logs.
        settings: What W&B shall show beside the curves.
        run_id: Of this run among all of them; a run that goes on has the one that it began with.

    Raises:
        MissingExtra: A package is not installed.
        CocaError: The log cannot be written.
    """

    def __init__(
        self, folder: Path, step: int, extras: Sequence[LogChoice], settings: Mapping[str, Any], run_id: str
    ) -> None:
        tensorboard, wandb = (_load(MODULES[c], c) if c in extras else None for c in LogChoice)
        self._path = folder / METRICS_FILE
        kept = [line for line in read_metrics(folder) if line["step"] <= step] if step else []
        with writing(str(self._path)):
            with written_whole(self._path) as file:
                file.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            self._file = self._path.open("a", encoding="utf-8")
        self._tensorboard: Any = None
        self._wandb: Any = None
        if tensorboard is not None:
            self._tensorboard = tensorboard.SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        if wandb is not None:
            self._wandb = wandb.init(
                project="coca", name=folder.name, id=run_id, dir=str(folder), resume="allow", config=dict(settings)
            )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line, on the disk at once.

        Args:
            step: Steps done.
            values: Numbers by name.

        Raises:
            CocaError: The disk is full.
        """
        with writing(str(self._path)):
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()
        if self._tensorboard is not None:
            for name, value in values.items():
                self._tensorboard.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(dict(values), step=step)

    def close(self) -> None:
        """Finish all logs."""
        with suppress(OSError):  # a line that failed has been told of, and fails again here
            self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.finish()


def check_extras(extras: Sequence[LogChoice]) -> None:
    """See that the packages of further logs are there, before any work is done.

    Raises:
        MissingExtra: One is not installed.
    """
    for extra in extras:
        _load(MODULES[extra], extra)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's metrics.jsonl; a last line that a kill has cut off is left out."""
    path = folder / METRICS_FILE
    found: list[dict[str, Any]] = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = parse_json(line)
            except ValueError:
                break
            if isinstance(record, dict) and type(record.get("step")) is int:
                found.append(record)
    return found


def _load(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise missing(extra, f"--log {extra}", extra) from None
