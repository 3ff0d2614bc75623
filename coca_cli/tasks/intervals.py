"""95 % confidence intervals of rates."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
