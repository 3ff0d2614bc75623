from __future__ import annotations

import numpy as np
import pytest

from coca_cli.reports.paired import compare_paired


def test_mcnemar_by_hand() -> None:
    first = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], dtype=float)
    second = np.array([0, 1, 1, 1, 1, 1, 1, 1, 0, 0], dtype=float)  # one lost, five won
    found = compare_paired(first, second)
    assert found.difference == pytest.approx(0.4)
    assert found.p == pytest.approx(2 * (1 + 6) / 2**6)  # two-sided binomial: 0, 1 or 5, 6 of 6
    assert (found.n, found.test, found.significant) == (10, "McNemar", False)
    assert found.low <= found.difference <= found.high


def test_equal_predictions_differ_by_nothing() -> None:
    same = np.array([0.0, 1.0, 1.0])
    found = compare_paired(same, same)
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    values = np.array([0.3, 0.6])
    assert compare_paired(values, values).p == 1.0


def test_permutation_test_of_values_by_hand() -> None:
    gaps = np.array([1.0, 2.0, 3.0, 4.0])
    found = compare_paired(np.zeros(4), gaps)
    assert found.test == "permutation"
    assert found.p == pytest.approx(2 / 16, abs=0.02)  # all of one sign: 2 of 16 changes


def test_examples_that_belong_together_count_as_one() -> None:
    random = np.random.default_rng(0)
    clusters = np.repeat(np.arange(40), 25)
    pulls = random.normal(size=40)[clusters]  # all captions of a picture move together
    alone, together = (compare_paired(np.zeros(1000), pulls, of) for of in (None, clusters))
    assert together.high - together.low > 3 * (alone.high - alone.low)
    assert together.p > alone.p
    assert together.difference == pytest.approx(alone.difference)


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    covered = rejected = 0
    for _ in range(60):
        first = (random.random(150) < 0.6).astype(float)
        second = (random.random(150) < 0.6).astype(float)
        found = compare_paired(first, second, list(range(150)))
        covered += found.low <= 0 <= found.high
        rejected += found.significant
    assert covered >= 52
    assert rejected <= 8


def test_no_pairs() -> None:
    with pytest.raises(ValueError, match="are no pairs"):
        compare_paired(np.zeros(2), np.zeros(3))
