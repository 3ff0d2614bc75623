from __future__ import annotations

from dataclasses import replace

import pytest

from coca_cli.datasets.cifar import CIFAR10
from coca_cli.datasets.held_out import SplitNames, choose_splits, draw_shots, hold_out
from coca_cli.errors import CocaError, UnknownName


def test_the_usual_splits() -> None:
    assert choose_splits(CIFAR10, None, None, None) == SplitNames("train", None, "test")
    assert choose_splits(replace(CIFAR10, splits=("test1", "train1")), None, None, None).train == "train1"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((None, None, "train"), "trained on and scored on the same split, train"),
        ((None, "test", None), "--val-split test is also what is scored"),
        ((None, "train", None), "--val-split train is also what is trained on"),
    ],
)
def test_parts_that_meet_are_refused(names: tuple[str | None, str | None, str | None], message: str) -> None:
    with pytest.raises(CocaError, match=message):
        choose_splits(CIFAR10, *names)


def test_an_unknown_split() -> None:
    with pytest.raises(UnknownName):
        choose_splits(CIFAR10, "trein", None, None)


def test_a_part_of_every_class_is_held_out() -> None:
    labels = [0] * 20 + [1] * 10 + [2] * 2 + [3]
    kept, held = hold_out(labels, 0.1, seed=0)
    assert sorted(kept + held) == list(range(33))
    assert [sum(labels[row] == label for row in held) for label in range(4)] == [2, 1, 1, 0]
    assert hold_out(labels, 0.1, seed=0) == (kept, held)
    assert hold_out(labels, 0.1, seed=1) != (kept, held)


def test_shots() -> None:
    labels = [0] * 20 + [1] * 10 + [2]
    drawn = draw_shots(labels, 3, seed=0)
    assert [sum(labels[row] == label for row in drawn) for label in range(3)] == [3, 3, 1]
    assert draw_shots(labels, 3, seed=0) == drawn
    assert draw_shots(labels, 3, seed=1) != drawn
