from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from coca_cli.tasks.intervals import Estimate, mean_of_rates, wilson

CASES = [(0, 1), (1, 1), (0, 10), (10, 10), (8, 10), (1, 3), (37, 200), (1, 1000), (38_150, 50_000)]


@pytest.mark.parametrize(("hits", "n"), CASES)
def test_wilson_equals_scipy(hits: int, n: int) -> None:
    found = wilson(hits, n)
    expected = binomtest(hits, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert found.value == hits / n
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


def test_wilson_of_8_in_10_by_hand() -> None:
    assert wilson(8, 10) == pytest.approx((0.8, 0.4901625, 0.9433178), abs=1e-7)


@pytest.mark.parametrize("n", [1, 2, 7, 1000, 123_457])
def test_wilson_stays_within_0_and_1_and_around_the_rate(n: int) -> None:
    none, every = wilson(0, n), wilson(n, n)
    assert (none.value, none.low) == (0.0, 0.0)
    assert 0.0 < none.high < 1.0
    assert (every.value, every.high) == (1.0, 1.0)
    assert every.low == pytest.approx(1 - none.high, abs=1e-12)


def rates(hits: list[int], counts: list[int]) -> Estimate:
    return mean_of_rates(np.array(hits), np.array(counts))


@pytest.mark.parametrize(("hits", "n"), CASES)
def test_the_mean_of_one_group_is_its_wilson_interval(hits: int, n: int) -> None:
    assert rates([hits], [n]) == pytest.approx(wilson(hits, n), abs=1e-12)


def test_the_mean_of_two_groups_by_hand() -> None:
    # 1 of 2 is 0.5 with limits 0.0945312 and 0.9054688; 2 of 2 is 1 with limits 0.3423802 and 1. Below the mean stand
    # sqrt(0.4054688**2 + 0.6576198**2) / 2 = 0.3862865, above it sqrt(0.4054688**2 + 0) / 2 = 0.2027344.
    assert rates([1, 2], [2, 2]) == pytest.approx((0.75, 0.3637135, 0.9527344), abs=1e-6)


def test_groups_count_alike_whatever_their_size() -> None:
    assert rates([0, 1000], [1, 1000]).value == 0.5


def test_groups_without_examples_are_left_out() -> None:
    assert rates([0, 1, 0, 2, 0], [0, 2, 0, 2, 0]) == rates([1, 2], [2, 2])


def test_more_groups_of_the_same_kind_narrow_the_interval() -> None:
    few, many = rates([5] * 4, [10] * 4), rates([5] * 100, [10] * 100)
    assert few.value == many.value == 0.5
    assert many.high - many.low == pytest.approx((few.high - few.low) / 5)
