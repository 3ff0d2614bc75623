from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from coca_cli.datasets import find_dataset
from coca_cli.datasets.cifar import CIFAR10
from coca_cli.datasets.example import Example
from coca_cli.datasets.held_out import SplitNames, choose_splits, draw_shots, hold_out, hold_out_pictures
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


def asked(number: int, *pictures: str, kind: str = "") -> Example:
    return Example(str(number), tuple(Path(picture) for picture in pictures), question="why?", kind=kind)


def test_all_that_is_asked_of_a_picture_stays_together() -> None:
    examples = [asked(number, f"{number % 10}.jpg", kind="why") for number in range(40)]
    kept, held = hold_out_pictures(examples, 0.2, 0)
    assert sorted([*kept, *held]) == list(range(40))
    assert len(held) == 8
    assert not {examples[row].media for row in kept} & {examples[row].media for row in held}
    assert hold_out_pictures(examples, 0.2, 0) == (kept, held)
    assert hold_out_pictures(examples, 0.2, 1) != (kept, held)


def test_sets_of_pairs_stay_together_as_nlvr2_asks() -> None:
    """Two statements about the same two pairs, of 20 sets."""
    examples = [
        asked(4 * group + 2 * pair + statement, f"{group}-{pair}-0", f"{group}-{pair}-1", kind=f"{group}-{statement}")
        for group in range(20)
        for pair in range(2)
        for statement in range(2)
    ]
    kept, held = hold_out_pictures(examples, 0.1, 0)
    assert len(held) == 8
    assert not {medium for row in kept for medium in examples[row].media} & {
        medium for row in held for medium in examples[row].media
    }
    assert not {examples[row].kind for row in kept} & {examples[row].kind for row in held}


def test_scenes_are_not_in_both_parts() -> None:
    examples = list(find_dataset("scene-pairs").read(Path("nowhere"), "train"))
    kept, held = hold_out_pictures(examples, 0.1, 0)
    assert len(held) == pytest.approx(0.1 * len(examples), rel=0.01)
    assert not {str(m) for row in kept for m in examples[row].media} & {
        str(m) for row in held for m in examples[row].media
    }


def test_something_is_left_to_train_on() -> None:
    assert hold_out_pictures([asked(0, "a"), asked(1, "b")], 0.9, 0)[0] != []
    assert hold_out_pictures([asked(0, "a"), asked(1, "a")], 0.5, 0) == ([0, 1], [])
    popular = [asked(0, "b"), *(asked(number, "a") for number in range(1, 20))]
    assert all(hold_out_pictures(popular, 0.1, seed)[1] == [0] for seed in range(5))
    chained = [asked(number, f"{number}", f"{number + 1}") for number in range(5)]
    assert hold_out_pictures(chained, 0.5, 0) == ([0, 1, 2, 3, 4], [])
