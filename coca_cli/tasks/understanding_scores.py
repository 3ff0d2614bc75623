"""Scores of answers to questions and statements; needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coca_cli.datasets.example import Example
from coca_cli.tasks.intervals import Estimate, bootstrap_mean, wilson
from coca_cli.tasks.vqa_accuracy import vqa_accuracy


class Scores(NamedTuple):
    """What a table shows.

    Attributes:
        values: Estimates in [0, 1] by metric.
        counts: How many examples, or statements, each is of.
    """

    values: dict[str, Estimate]
    counts: dict[str, int]


def rate_answers(examples: Sequence[Example], said: Sequence[str], answers: Sequence[str] = ()) -> NDArray[np.float64]:
    """How right each answer is, (n,) from 0 to 1.

    Args:
        examples: n, with the answers of people, or with a label.
        said: n answers.
        answers: What labels mean; empty for open questions.
    """
    if answers:
        right = [text == answers[example.label or 0] for example, text in zip(examples, said, strict=True)]
        return np.array(right, dtype=np.float64)
    return np.array([vqa_accuracy(text, example.texts) for example, text in zip(examples, said, strict=True)])


def question_scores(
    examples: Sequence[Example],
    rates: NDArray[np.float64],
    pictures: NDArray[np.int64],
    *,
    by_kind: bool = False,
    seed: int = 0,
) -> Scores:
    """The accuracy over all questions, by type of answer and, if wanted, by type of question.

    Args:
        examples: n questions.
        rates: (n,) from `rate_answers`.
        pictures: (n,) which picture each is about.
        by_kind: Types of questions, too.
        seed: Of the bootstrap over pictures.
    """
    parts: dict[str, list[int]] = {"accuracy": list(range(len(examples)))}
    for row, example in enumerate(examples):
        if example.group:
            parts.setdefault(f"{example.group} accuracy", []).append(row)
    if by_kind:
        for row in sorted(range(len(examples)), key=lambda row: examples[row].kind):
            parts.setdefault(f"'{examples[row].kind}' accuracy", []).append(row)
    values: dict[str, Estimate] = {}
    for metric, rows in parts.items():
        _, clusters = np.unique(pictures[rows], return_inverse=True)
        values[metric] = bootstrap_mean(rates[rows], clusters.astype(np.int64), seed)
    return Scores(values, {metric: len(rows) for metric, rows in parts.items()})


def statement_scores(examples: Sequence[Example], rates: NDArray[np.float64]) -> Scores:
    """The accuracy, and for statements that come with several pairs how many are right with all of theirs.

    Args:
        examples: n statements.
        rates: (n,) 1 where right.

    Source: consistency as Suhr et al. 2019, arXiv 1811.00491, section 5, define it.
    """
    values = {"accuracy": wilson(int(rates.sum()), len(rates))}
    counts = {"accuracy": len(rates)}
    right: dict[str, bool] = {}
    for example, rate in zip(examples, rates.tolist(), strict=True):
        if example.kind:
            right[example.kind] = right.get(example.kind, True) and rate == 1
    if right:
        values["consistency"] = wilson(sum(right.values()), len(right))
        counts["consistency"] = len(right)
    return Scores(values, counts)


def usual_accuracy(examples: Sequence[Example], usual: Mapping[str, str], answers: Sequence[str] = ()) -> float:
    """What the most frequent training answer by type of question would reach, in [0, 1].

    Args:
        examples: With answers or labels.
        usual: From `usual_answers`.
        answers: What labels mean; empty for open questions.
    """
    said = [usual.get(example.kind, usual.get("", "")) for example in examples]
    return float(rate_answers(examples, said, answers).mean())
