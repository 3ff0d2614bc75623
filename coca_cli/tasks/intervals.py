"""95 % confidence intervals of rates."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLED = 1_000
Z95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


class Estimate(NamedTuple):
    """A rate with its 95 % interval, all in [0, 1]; of caption scores CIDEr alone goes up to 10."""

    value: float
    low: float
    high: float


def wilson(hits: int, n: int) -> Estimate:
    """A rate and its Wilson score interval.

    Args:
        hits: Successes.
        n: Trials, at least 1.

    Source: Wilson (1927), Journal of the American Statistical Association 22.
    """
    rate = hits / n
    centre = (rate + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(rate * (1 - rate) / n + Z95**2 / (4 * n**2))
    return Estimate(rate, max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half)))


def bootstrap_mean(values: NDArray[np.float64], clusters: NDArray[np.int64], seed: int = 0) -> Estimate:
    """A mean over examples, and its interval by bootstrap over clusters: questions about one picture are not alone.

    Args:
        values: (n,) from 0 to 1.
        clusters: (n,) which cluster each belongs to, numbered from 0.
        seed: Of the resampling.

    Source: Efron (1979), Annals of Statistics 7; percentile limits of 1,000 samples.
    """
    sums, counts = np.bincount(clusters, values), np.bincount(clusters).astype(np.float64)
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLED)
    for number in range(RESAMPLED):
        drawn = random.integers(len(sums), size=len(sums))
        means[number] = sums[drawn].sum() / counts[drawn].sum()
    value = float(values.mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def mean_of_rates(hits: NDArray[np.int64], counts: NDArray[np.int64]) -> Estimate:
    """The unweighted mean of several groups' rates, with the groups' Wilson limits combined.

    Args:
        hits: Successes per group.
        counts: Trials per group; groups without any are left out.

    Source: Zou & Donner (2008), Statistics in Medicine 27 (the MOVER method), on Wilson limits.
    """
    groups = [wilson(int(h), int(n)) for h, n in zip(hits, counts, strict=True) if n]
    value = sum(g.value for g in groups) / len(groups)
    below = math.sqrt(sum((g.value - g.low) ** 2 for g in groups)) / len(groups)
    above = math.sqrt(sum((g.high - g.value) ** 2 for g in groups)) / len(groups)
    return Estimate(value, max(0.0, value - below), min(1.0, value + above))
