"""Is one model better than another on the same examples, or is it chance?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLED = 10_000
LEVEL = 0.05
Array = NDArray[np.float64]


class Paired(NamedTuple):
    """The difference of two means over the same examples.

    Attributes:
        difference: In the unit of the values.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Of a two-sided test that there is none.
        n: Pairs.
        test: Which test.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int
    test: str

    @property
    def significant(self) -> bool:
        """Whether p is below 5 %, not corrected for other tests."""
        return self.p < LEVEL


def compare_paired(first: Array, second: Array, clusters: Sequence[object] | None = None, seed: int = 0) -> Paired:
    """How much higher the second mean is.

    Examples that belong together, such as captions of one picture, are resampled together. The interval is the
    percentile bootstrap's over clusters, of 10,000 samples. p is that of McNemar's exact test where each example is
    right or wrong and stands alone, else of a permutation test in which each cluster's difference changes its sign.

    Args:
        first: (n,) of one model.
        second: (n,) of the other, of the same examples in the same order.
        clusters: (n,) which belong together; None for none.
        seed: Of the resampling.

    Raises:
        ValueError: No pairs, or of unequal number.

    Source: McNemar (1947), Psychometrika 12; Efron (1979), Annals of Statistics 7; Fisher's randomisation test.
    """
    if first.shape != second.shape or not len(first):
        raise ValueError(f"{len(first)} and {len(second)} values are no pairs")
    gaps = second - first
    names = np.arange(len(gaps)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    sums: Array = np.bincount(names, gaps).astype(np.float64)
    sizes: Array = np.bincount(names).astype(np.float64)
    random = np.random.default_rng(seed)
    low, high = np.quantile(_resampled(sums, sizes, random), [0.025, 0.975])
    value = float(gaps.mean())
    alone = len(sums) == len(gaps)
    binary = bool(np.isin(first, (0.0, 1.0)).all() and np.isin(second, (0.0, 1.0)).all())
    if alone and binary:
        better, worse = int((gaps > 0).sum()), int((gaps < 0).sum())
        p, test = (float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0), "McNemar"
    else:
        p, test = _sign_flips(sums, random), "permutation"
    return Paired(value, min(float(low), value), max(float(high), value), p, len(gaps), test)


def _resampled(sums: Array, sizes: Array, random: np.random.Generator) -> Array:
    """Means of samples of clusters with replacement."""
    n, means = len(sums), []
    step = max(1, 2_000_000 // n)
    for start in range(0, RESAMPLED, step):
        drawn = random.integers(n, size=(min(step, RESAMPLED - start), n))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(means)


def _sign_flips(sums: Array, random: np.random.Generator) -> float:
    """The part of all sign changes that give as large a sum; what was seen is one of them."""
    moving = sums[sums != 0]
    if not len(moving):
        return 1.0
    seen, as_large = abs(float(moving.sum())), 1
    step = max(1, 2_000_000 // len(moving))
    for start in range(0, RESAMPLED - 1, step):
        signs = random.integers(0, 2, size=(min(step, RESAMPLED - 1 - start), len(moving)), dtype=np.int8)
        totals = np.abs((2.0 * signs - 1.0) @ moving)
        as_large += int((totals >= seen * (1 - 1e-12)).sum())
    return as_large / RESAMPLED
