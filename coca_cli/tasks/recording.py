"""Scores -> rows of the store, with all that tells one run from another."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from coca_cli.datasets.example import Dataset
from coca_cli.details import Details
from coca_cli.model.placement import Origin
from coca_cli.redaction import typed_command
from coca_cli.results import Result, Run, installed_versions, settings_hash, utc_now
from coca_cli.store import Store
from coca_cli.tasks.intervals import Estimate
from coca_cli.version import __version__

Score = Estimate | float


def _in_points(score: Score) -> tuple[float, float, float]:
    if isinstance(score, Estimate):
        return 100 * score.value, 100 * score.low, 100 * score.high
    return score, math.nan, math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One evaluation on its way into the store.

    Attributes:
        task: Such as "zeroshot".
        dataset: What was evaluated.
        split: Which part.
        origin: The model.
        settings: Every setting that can move the number.
        seed: Seed of all randomness.
        started: time.monotonic() at the beginning.
    """

    task: str
    dataset: Dataset
    split: str
    origin: Origin
    settings: Mapping[str, object]
    seed: int = 0
    started: float = field(default_factory=time.monotonic)

    def record(
        self,
        store: Store,
        scores: Mapping[str, Score],
        n: int | Mapping[str, int],
        skipped: Mapping[str, str],
        chosen: Mapping[str, object] | None = None,
        details: Details | None = None,
    ) -> list[Result]:
        """Append one row per score.

        Args:
            store: Where to.
            scores: Metric -> estimate, recorded times 100, in points; or a plain number, recorded as it is.
            n: Examples scored; where metrics differ in that, by metric.
            skipped: Example id -> why it could not be read.
            chosen: What the run chose on the way, for the run file.
            details: What is kept of single examples.

        Returns:
            The rows.
        """
        when, seconds = utc_now(), round(time.monotonic() - self.started, 3)
        rows = [
            Result(
                task=self.task,
                dataset=self.dataset.name,
                dataset_version=self.dataset.version,
                split=self.split,
                metric=metric,
                value=value,
                low=low,
                high=high,
                n=n if isinstance(n, int) else n[metric],
                skipped=len(skipped),
                model=self.origin.name,
                checkpoint=self.origin.checkpoint,
                settings=settings_hash(self.settings),
                seed=self.seed,
                device=self.origin.device,
                precision=self.origin.precision,
                seconds=seconds,
                coca=__version__,
                torch=version("torch"),
                when=when,
            )
            for metric, (value, low, high) in zip(scores, map(_in_points, scores.values()), strict=True)
        ]
        run = Run(
            task=self.task,
            dataset=self.dataset.name,
            command=typed_command(),
            settings=self.settings,
            chosen=chosen or {},
            skipped=list(skipped.items()),
            versions=installed_versions(),
            seconds=seconds,
            when=when,
            model_folder=self.origin.folder,
        )
        store.append(rows, run, details)
        return rows
