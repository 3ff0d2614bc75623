"""Scores of a model's variants over several seeds: means, deviations, and differences that are paired by seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scipy import stats

LEAST_SEEDS = 3
"""Fewer differences say nothing of their spread: of two, equal ones are often a chance."""
CONFIDENCE = 0.95


class Spread(NamedTuple):
    """Values of one variant over seeds.

    Attributes:
        mean: In the values' unit.
        deviation: Standard deviation of the sample; NaN of one value.
        n: How many.
    """

    mean: float
    deviation: float
    n: int


class Difference(NamedTuple):
    """How much higher a variant is than another one.

    Attributes:
        mean: Of the differences of equal seeds.
        low: Lower end of Student's 95 % interval of that mean; NaN of one difference.
        high: Its upper end.
        n: How many seeds both have.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def beyond_noise(self) -> bool | None:
        """Whether the interval leaves out 0; None where there are too few seeds to say so."""
        if self.n < LEAST_SEEDS:
            return None
        return self.low > 0 or self.high < 0


def spread(values: Sequence[float]) -> Spread:
    """Mean and deviation of one value or more."""
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(statistics.fmean(values), deviation, len(values))


def paired_difference(values: Mapping[int, float], base: Mapping[int, float]) -> Difference | None:
    """The mean difference over the seeds that both have, with its interval; None where they have none in common.

    Runs of one seed see the same examples in the same order, so what the seed does to both drops out.

    Args:
        values: Seed -> value of a variant.
        base: Seed -> value of the one that it is compared with.
    """
    found = [values[seed] - base[seed] for seed in sorted(values.keys() & base.keys())]
    if not found:
        return None
    mean, deviation, n = spread(found)
    if n < 2:
        return Difference(mean, math.nan, math.nan, n)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation / math.sqrt(n)
    return Difference(mean, mean - half, mean + half, n)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantScores:
    """One line of a table.

    Attributes:
        label: What it is, in words.
        paper: What the paper's line is called in the published numbers.
        scores: Measure -> seed -> points; a measure is missing where the variant has no such score.
        seconds: Seed -> seconds of a training step, the median.
        operations: Floating-point operations of a training step; 0 where nothing was trained.
        parameters: How many are trained.
    """

    label: str
    paper: str
    scores: Mapping[str, Mapping[int, float]]
    seconds: Mapping[int, float]
    operations: float
    parameters: int

    @property
    def ours(self) -> bool:
        """Whether it was trained here, or is the paper's alone."""
        return bool(self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableScores:
    """One table of the paper, with what was measured here.

    Attributes:
        name: In the paper, such as 8b.
        title: In words.
        measures: Those that it shows.
        lines: In the paper's order.
        reference: Which line the others are compared with.
        cost_base: Which line costs 1.
        notes: What a reader has to know.
    """

    name: str
    title: str
    measures: tuple[str, ...]
    lines: tuple[VariantScores, ...]
    reference: int
    cost_base: int
    notes: tuple[str, ...]

    def difference(self, line: VariantScores, measure: str) -> Difference | None:
        """From the line of reference; None of that line itself, and where one of the two has no score."""
        base = self.lines[self.reference]
        if line is base or measure not in line.scores or measure not in base.scores:
            return None
        return paired_difference(line.scores[measure], base.scores[measure])

    def cost(self, line: VariantScores) -> tuple[float, float] | None:
        """Seconds and operations of a step, both in those of the line that costs 1; None where one was not trained.

        Of the seconds it is the mean ratio of runs with equal seeds.
        """
        base = self.lines[self.cost_base]
        seeds = sorted(line.seconds.keys() & base.seconds.keys())
        if not seeds:
            return None
        seconds = statistics.fmean(line.seconds[seed] / base.seconds[seed] for seed in seeds)
        return seconds, line.operations / base.operations
