"""A run folder that is there already: where to go on, whether that is the same run, whether it is finished."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coca_cli.errors import CocaError
from coca_cli.model.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from coca_cli.redaction import all_without_secrets
from coca_cli.training.checkpoints import CHECKPOINTS, latest_checkpoint
from coca_cli.training.loop import StepReport
from coca_cli.training.metrics_log import read_metrics
from coca_cli.training.run_file import RunFile, read_run_file
from coca_cli.training.run_request import RunRequest

BEST = "best"
UNSET = (None, False, 0, [0, 0])
"""Values of settings that do nothing: a run that is older than the setting had them."""
NOT_ALWAYS_KEPT = ("texts",)
"""What older runs did not write down, though they had it."""


def find_start(request: RunRequest) -> Path | None:
    """The checkpoint to go on from; None to begin.

    Raises:
        CocaError: The folder holds a model, or nothing to go on from.
    """
    output = request.output
    checkpoint = None if request.overwrite else latest_checkpoint(output)
    if checkpoint is None and not request.overwrite:
        if request.resume:
            raise CocaError(f"nothing to resume in {output}: it has no checkpoint; leave out --resume to begin")
        if (output / CONFIG_FILE).exists():
            raise CocaError(f"{output} already holds a model; choose another --output, or replace it with --overwrite")
    return checkpoint


def open_run_file(request: RunRequest, settings: Mapping[str, Any], checkpoint: Path | None) -> RunFile:
    """The file of the run that begins, or goes on; what an earlier run left is cleared where that is wanted.

    Raises:
        CocaError: The folder holds a run with other settings.
    """
    output = request.output
    settings = all_without_secrets(settings)  # a new token does not make another run
    if checkpoint is None:
        if request.overwrite:
            for name in (CHECKPOINTS, BEST, "tensorboard"):
                shutil.rmtree(output / name, ignore_errors=True)
        return RunFile(output, settings, {})
    before = read_run_file(output)
    different = _differences(before.get("settings") or {}, json.loads(json.dumps(settings)))
    if different:
        raise CocaError(
            f"{output} holds a run with other settings: {'; '.join(different[:5])}. Choose another --output, "
            "give the same settings to go on, or begin anew with --overwrite"
        )
    return RunFile(output, settings, before)


def holds_model(folder: Path, steps: int, file: RunFile) -> bool:
    """Whether the folder's model is that of this run after these steps."""
    try:
        trained = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["trained"]
        return (folder / WEIGHTS_FILE).is_file() and (trained["run"], trained["steps"]) == (file.id, steps)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def last_report(output: Path, noun: str) -> StepReport:
    """The report of a finished run, from its log.

    Args:
        output: The run folder.
        noun: What the examples are.

    Raises:
        CocaError: The log is gone or damaged.
    """
    fixed = ("loss", "gradient_norm", "learning_rate", f"{noun}_per_second", "utilisation")
    lines = [line for line in read_metrics(output) if line.keys() >= {"step", *fixed}]
    if not lines:
        raise CocaError(f"{output} is finished, but its metrics.jsonl is gone or damaged; --overwrite trains it anew")
    last = lines[-1]
    parts = {name: value for name, value in last.items() if name not in ("step", *fixed)}
    loss, norm, rate, per_second, used = (last[name] for name in fixed)
    return StepReport(last["step"], loss, parts, norm, rate, per_second, used, noun)


def _differences(was: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key in dict.fromkeys([*was, *now]):
        one, other = was.get(key), now.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differences(one, other, f"{prefix}{key}.")
        elif one != other and not (key not in was and (other in UNSET or key in NOT_ALWAYS_KEPT)):
            found.append(f"{prefix}{key} was {one}, is {other}")
    return found
