from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coca_cli.datasets.example import Example
from coca_cli.tasks.intervals import bootstrap_mean
from coca_cli.tasks.understanding_scores import question_scores, rate_answers, statement_scores, usual_accuracy

HERE = (Path("a.jpg"),)
LABELS = ("False", "True")


def question(answer: str, group: str = "", kind: str = "") -> Example:
    return Example("x", HERE, texts=(answer,), group=group, kind=kind)


def statement(label: int, kind: str = "") -> Example:
    return Example("x", HERE, label=label, kind=kind)


def test_answers_are_rated_by_people_s_or_by_the_label() -> None:
    assert rate_answers([question("yes"), question("no")], ["yes", "yes"]).tolist() == [1, 0]
    assert rate_answers([statement(1), statement(0)], ["True", "True"], LABELS).tolist() == [1, 0]


def test_questions_by_type_of_answer_and_of_question() -> None:
    examples = [question("a", "number", "how"), question("a", "other", "what"), question("a", "other", "how")]
    rates, pictures = np.array([1.0, 0.0, 1.0]), np.array([0, 1, 1])
    found = question_scores(examples, rates, pictures)
    assert {metric: estimate.value for metric, estimate in found.values.items()} == {
        "accuracy": pytest.approx(2 / 3),
        "number accuracy": 1,
        "other accuracy": 0.5,
    }
    assert found.counts == {"accuracy": 3, "number accuracy": 1, "other accuracy": 2}
    more = question_scores(examples, rates, pictures, by_kind=True)
    assert list(more.values)[3:] == ["'how' accuracy", "'what' accuracy"]
    assert more.counts["'how' accuracy"] == 2


def test_statements_are_consistent_where_all_their_pairs_are_right() -> None:
    examples = [statement(1, "a"), statement(0, "a"), statement(1, "b"), statement(1, "c")]
    found = statement_scores(examples, np.array([1.0, 0.0, 1.0, 1.0]))
    assert found.values["accuracy"].value == 0.75
    assert found.values["consistency"].value == pytest.approx(2 / 3)
    assert found.counts == {"accuracy": 4, "consistency": 3}
    assert list(statement_scores([statement(1)], np.array([1.0])).values) == ["accuracy"]


def test_the_usual_answers_reach_what_they_reach() -> None:
    examples = [
        question("yes", kind="is"),
        question("no", kind="is"),
        question("2", kind="how"),
        question("x", kind="why"),
    ]
    assert usual_accuracy(examples, {"": "x", "is": "yes", "how": "2"}) == 0.75
    assert usual_accuracy([statement(0), statement(1)], {"": "True"}, LABELS) == 0.5


def test_the_bootstrap_knows_that_questions_about_one_picture_belong_together() -> None:
    random = np.random.default_rng(0)
    alone = random.integers(0, 2, 400).astype(np.float64)
    found = bootstrap_mean(alone, np.arange(400))
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.1)
    together = bootstrap_mean(np.repeat(alone, 4), np.repeat(np.arange(400), 4))
    assert together.high - together.low == pytest.approx(found.high - found.low, rel=0.1)
    assert bootstrap_mean(np.ones(5), np.zeros(5, dtype=np.int64)) == (1, 1, 1)
