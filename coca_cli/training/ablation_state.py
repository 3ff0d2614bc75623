"""What an ablation has finished, in a file of its folder: the next call does not do it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from coca_cli.errors import CocaError
from coca_cli.files import written_whole
from coca_cli.json_text import parse_json
from coca_cli.results import plain_data, settings_hash
from coca_cli.training.ablation_plan import AblationRun
from coca_cli.training.ablation_request import AblationRequest, Measure

STATE_FILE = "ablation.json"
OF_A_VARIANT = ("seed", "contrastive_weight", "caption_weight")
"""Numbers of a recipe that are not common to all runs."""


class RunOutcome(NamedTuple):
    """What is known of a finished run.

    Attributes:
        seconds: Of a training step, the median.
        operations: Floating-point operations of a training step.
        parameters: How many are trained.
        took: Seconds of all of it, with reading and measuring.
        scores: Measure -> points.
    """

    seconds: float
    operations: float
    parameters: int
    took: float
    scores: dict[str, float]


class AblationState:
    """The file.

    Args:
        request: What the user asks now.
        anew: Begin with nothing.

    Raises:
        CocaError: The folder holds an ablation with other settings, or the file is damaged.
    """

    def __init__(self, request: AblationRequest, *, anew: bool = False) -> None:
        self.path = request.output / STATE_FILE
        self.settings = common_settings(request)
        self._heads = plain_data(request.heads._asdict() | {"limit": request.base.limit})
        self._runs: dict[str, dict[str, Any]] = {}
        if not anew and self.path.exists():
            self._runs = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = parse_json(self.path.read_text(encoding="utf-8"))
            before, runs = dict(found["settings"]), dict(found["runs"])
        except (OSError, ValueError, KeyError, TypeError):
            raise CocaError(
                f"{self.path} cannot be read as the state of an ablation: choose another --output, or begin anew with "
                "--overwrite"
            ) from None
        names = sorted({*before, *self.settings})
        different = [name for name in names if before.get(name) != self.settings.get(name)]
        if different:
            words = "; ".join(f"{name} was {before.get(name)}, is {self.settings.get(name)}" for name in different[:5])
            raise CocaError(
                f"{self.path.parent} holds an ablation with other settings: {words}. Choose another --output, give the "
                "same settings to go on, or begin anew with --overwrite"
            )
        return runs

    def outcome(self, run: AblationRun) -> RunOutcome | None:
        """What is known of a run, with the scores that still hold; None where it is not trained."""
        entry = self._runs.get(run.name)
        if entry is None or entry["variant"] != variant_hash(run):
            return None
        scores = {
            measure.name: entry["scores"][measure.name]["value"]
            for measure in run.measures
            if entry["scores"].get(measure.name, {}).get("settings") == self._measure_hash(measure)
        }
        return RunOutcome(entry["seconds"], entry["operations"], entry["parameters"], entry["took"], scores)

    def finished(self, run: AblationRun) -> bool:
        """Whether nothing is left to do for a run."""
        outcome = self.outcome(run)
        return outcome is not None and len(outcome.scores) == len(run.measures)

    def record(self, run: AblationRun, outcome: RunOutcome) -> None:
        """Keep what a run gave, beside what was known."""
        before = self._runs.get(run.name, {})
        kept = before.get("scores", {}) if before.get("variant") == variant_hash(run) else {}
        by_name = {measure.name: measure for measure in run.measures}
        scores = {
            name: {"value": value, "settings": self._measure_hash(by_name[name])}
            for name, value in outcome.scores.items()
        }
        entry = outcome._asdict() | {"variant": variant_hash(run), "scores": {**kept, **scores}}
        self._runs[run.name] = entry
        content = {"settings": self.settings, "runs": self._runs}
        with written_whole(self.path) as file:
            file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def mean_seconds(self) -> float | None:
        """How long a finished run took; None where there is none."""
        taken = [float(entry["took"]) for entry in self._runs.values()]
        return sum(taken) / len(taken) if taken else None

    def _measure_hash(self, measure: Measure) -> str:
        heads = {} if measure.kind in ("zeroshot", "retrieval") else self._heads
        return settings_hash({"measure": measure.name, "heads": heads})


def variant_hash(run: AblationRun) -> str:
    """Short hash of what tells a run from the others."""
    return settings_hash({**asdict(run.variant), "seed": run.seed})


def common_settings(request: AblationRequest) -> dict[str, Any]:
    """All that decides what every run learns, as JSON."""
    base = request.base
    recipe: Mapping[str, Any] = asdict(base.recipe)
    settings: dict[str, Any] = plain_data(
        {
            "data": list(base.data),
            "weights": base.shares,
            "arch": base.architecture,
            "set": list(base.changes),
            "image_size": base.image_size,
            "tokenizer": base.tokenizer,
            "vocab_size": base.vocab_size,
            "limit": base.limit,
            **{name: value for name, value in recipe.items() if name not in OF_A_VARIANT},
            "augmentation": asdict(base.augmentation),
        }
    )
    return settings


def forget(folder: Path) -> None:
    """Take away the state of an ablation that is begun anew."""
    (folder / STATE_FILE).unlink(missing_ok=True)
