"""Means, deviations and paired differences on numbers that can be checked by hand."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from coca_cli.tasks.ablation_scores import Difference, TableScores, VariantScores, paired_difference, spread


def line(label: str, values: dict[int, float], seconds: dict[int, float] | None = None, **more: float) -> VariantScores:
    return VariantScores(
        label=label,
        paper="",
        scores={"zeroshot:digits": values} if values else {},
        seconds=dict.fromkeys(values, 1.0) if seconds is None else seconds,
        operations=more.get("operations", 100.0),
        parameters=10,
    )


def table(*lines: VariantScores, reference: int = 0, cost_base: int = 0) -> TableScores:
    return TableScores(
        name="8c",
        title="",
        measures=("zeroshot:digits",),
        lines=lines,
        reference=reference,
        cost_base=cost_base,
        notes=(),
    )


def test_mean_and_deviation_of_a_sample() -> None:
    assert spread([1.0, 2.0, 6.0]) == pytest.approx((3.0, math.sqrt(7), 3))
    mean, deviation, n = spread([4.0])
    assert (mean, n) == (4.0, 1)
    assert math.isnan(deviation)


def test_differences_are_those_of_equal_seeds() -> None:
    """What the seeds do to both is large here, and drops out: 1, 2 and 3 points."""
    found = paired_difference({0: 11.0, 1: 52.0, 2: 93.0, 7: 1.0}, {2: 90.0, 1: 50.0, 0: 10.0, 9: 5.0})
    assert found is not None
    half = 4.302652729911275 / math.sqrt(3)  # Student's with 2 degrees of freedom, a deviation of 1
    assert found == pytest.approx((2.0, 2.0 - half, 2.0 + half, 3))
    assert found.beyond_noise is False  # -0.48 to 4.48


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    one, other = [10.0, 12.0, 11.0, 15.0], [9.0, 10.0, 10.5, 12.0]
    found = paired_difference(dict(enumerate(one)), dict(enumerate(other)))
    expected = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.beyond_noise == (stats.ttest_rel(one, other).pvalue < 0.05)


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (Difference(2.0, 0.1, 3.9, 3), True),
        (Difference(-2.0, -3.9, -0.1, 3), True),
        (Difference(2.0, -0.1, 4.1, 3), False),
        (Difference(2.0, 1.9, 2.1, 2), None),  # two equal differences are soon a chance
        (Difference(2.0, math.nan, math.nan, 1), None),
    ],
)
def test_what_is_beyond_noise(difference: Difference, expected: bool | None) -> None:
    assert difference.beyond_noise is expected


def test_one_seed_has_a_difference_without_an_interval() -> None:
    found = paired_difference({0: 3.0}, {0: 1.0})
    assert found is not None
    assert (found.mean, found.n, found.beyond_noise) == (2.0, 1, None)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert paired_difference({0: 3.0}, {1: 1.0}) is None


def test_a_table_compares_with_its_line_of_reference() -> None:
    base, other, bare = line("a", {0: 1.0, 1: 2.0}), line("b", {0: 2.0, 1: 4.0}), line("c", {}, {0: 1.0})
    shown = table(other, base, bare, reference=1)
    found = shown.difference(other, "zeroshot:digits")
    assert found is not None
    assert found.mean == 1.5
    assert shown.difference(base, "zeroshot:digits") is None
    assert shown.difference(bare, "zeroshot:digits") is None
    assert shown.difference(other, "probe:digits") is None


def test_costs_are_mean_ratios_of_equal_seeds() -> None:
    base = line("a", {}, {0: 2.0, 1: 4.0}, operations=50.0)
    other = line("b", {}, {0: 3.0, 1: 4.0, 2: 100.0}, operations=75.0)
    shown = table(base, other, line("paper's alone", {}, {}))
    assert shown.cost(base) == (1.0, 1.0)
    assert shown.cost(other) == (1.25, 1.5)
    assert shown.cost(shown.lines[2]) is None
    assert [one.ours for one in shown.lines] == [True, True, False]
