from __future__ import annotations

from pathlib import Path

import pytest

from coca_cli.datasets.example import Example
from coca_cli.errors import BadExample
from coca_cli.tasks.vqa_accuracy import AnswerList, as_spelled, frequent_answers, usual_answers, vqa_accuracy

HERE = (Path("a.jpg"),)


def answered(answer: str, kind: str = "") -> Example:
    return Example("x", HERE, answer=answer, kind=kind)


@pytest.mark.parametrize(("agreeing", "accuracy"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_ten_answers(agreeing: int, accuracy: float) -> None:
    answers = ["yes"] * agreeing + [f"no {number}" for number in range(10 - agreeing)]
    assert vqa_accuracy("yes", answers) == pytest.approx(accuracy)


def test_what_all_people_wrote_alike_is_not_cleaned() -> None:
    assert vqa_accuracy("two", ["two"] * 10) == 1
    assert vqa_accuracy("2", ["two"] * 10) == 0
    assert vqa_accuracy("2", ["two"] * 9 + ["2"]) == 1
    assert vqa_accuracy(" two\n", ["two"] * 10) == 1


def test_a_single_answer_is_the_same_or_not() -> None:
    assert vqa_accuracy("The dog.", ["dog"]) == 1
    assert vqa_accuracy("7", ["seven"]) == 1
    assert vqa_accuracy("cat", ["dog"]) == 0


def test_two_or_three_answers_can_be_reached() -> None:
    assert vqa_accuracy("a b", ["a b", "a b"]) == 1
    assert vqa_accuracy("x", ["x", "x", "x"]) == 1
    assert vqa_accuracy("x", ["x", "y"]) == pytest.approx(0.5)


def test_an_answer_list_says_how_right_each_of_its_answers_is() -> None:
    known = AnswerList(["yes", "t-shirt", "2"])
    assert len(known) == 3
    assert known.targets(["yes"] * 2 + ["no"] * 8) == {0: pytest.approx(0.6)}
    assert known.targets(["t-shirt"] * 10) == {1: 1.0}
    assert known.targets(["t shirt"] * 5 + ["two"] * 5) == {1: 1.0, 2: 1.0}
    assert known.targets(["green"] * 10) == {}
    assert known.targets(["tshirt"]) == {}
    with pytest.raises(BadExample, match="the answers '2' and 'two' are the same to the evaluation"):
        AnswerList(["2", "two"])


def test_the_most_frequent_answers_are_counted_cleaned_and_kept_as_most_wrote_them() -> None:
    said = ["no", "t-shirt", "yes", "t-shirt", "t shirt", "yes", "yes", "yes", "the dog", "", "?"]
    found = frequent_answers(map(answered, said), 3)
    assert found.words == ("yes", "t-shirt", "no")
    assert frequent_answers(map(answered, said), 100).words == ("yes", "t-shirt", "no", "the dog", "?")


def test_listed_answers_are_spelled_as_most_people_do() -> None:
    found = as_spelled(
        AnswerList(["Yes.", "t shirt", "purple"]), map(answered, ("yes", "t-shirt", "t-shirt", "t shirt"))
    )
    assert found.words == ("yes", "t-shirt", "purple")


def test_letters_are_answers() -> None:
    letters = AnswerList(["a", "b", "the"])
    assert letters.targets(["A"]) == {0: 1.0}
    assert letters.knows(["The"])
    assert not letters.knows(["c"])
    assert vqa_accuracy("a", ["the"]) == 0


def test_what_can_be_said_without_looking() -> None:
    said = [("is", "no"), ("is", "yes"), ("is", "yes"), ("how", "2"), ("how", "2"), ("how", "2"), ("", "x")]
    assert usual_answers(said) == {"": "2", "is": "yes", "how": "2"}
    assert usual_answers([]) == {}
