"""What an evaluation of answers keeps and shows: questions evenly spread over the set, not the best ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from coca_cli.details import Details
from coca_cli.media.question_sheet import AskedPicture, write_question_sheet
from coca_cli.media.thumbnails import see_medium, thumbnails_of
from coca_cli.tasks.answer_files import GivenAnswer
from coca_cli.tasks.answering import number_pictures
from coca_cli.tasks.evenly_spread import spread

SHOWN = 6
KEPT = 12


def spread_answers(given: Sequence[GivenAnswer], count: int = SHOWN) -> list[GivenAnswer]:
    """So many of them, from the first to the last, evenly spread."""
    return [given[place] for place in spread(len(given), count)]


def show_answers(path: Path, given: Sequence[GivenAnswer], answers: Sequence[str] = ()) -> None:
    """Write a picture of some questions with their pictures and answers.

    Args:
        path: A .png or .jpg file.
        given: What was answered; at least one.
        answers: What labels mean; empty for open questions.
    """
    rows = [
        AskedPicture(
            [see_medium(medium) for medium in one.example.media],
            one.example.question,
            one.answer,
            expected_answer(one, answers),
            one.accuracy,
        )
        for one in spread_answers(given)
    ]
    write_question_sheet(path, rows)


def expected_answer(given: GivenAnswer, answers: Sequence[str] = ()) -> str:
    """What most people said, or what the label means; "" where nobody knows."""
    example = given.example
    if example.texts:
        return Counter(example.texts).most_common(1)[0][0]
    return "" if example.label is None or not answers else answers[example.label]


def describe_answer(given: GivenAnswer) -> str:
    """Question and answer of an open question in one line, with what people said where that is something else."""
    right = given.accuracy is None or given.accuracy >= 1
    told = "" if right else f" (people said: {expected_answer(given)})"
    return f"{given.example.id}: {given.example.question} {given.answer}{told}"


def answer_details(given: Sequence[GivenAnswer], answers: Sequence[str] = (), *, border: int = 0) -> Details:
    """What is kept of an evaluation: how right each answer is, and a few questions with their pictures.

    Args:
        given: What was answered, with how right it is.
        answers: What labels mean; empty for open questions.
        border: Pixels to cut from each side of a picture.
    """
    columns: dict[str, Sequence[object]] = {
        "id": [one.example.id for one in given],
        "of": number_pictures([one.example for one in given]).tolist(),
        "answer": [one.answer for one in given],
        "expected": [expected_answer(one, answers) for one in given],
        "accuracy": [one.accuracy for one in given],
    }
    samples = [
        {
            "kind": "answer",
            "id": one.example.id,
            "pictures": thumbnails_of(one.example, border=border),
            "question": one.example.question,
            "answer": one.answer,
            "expected": expected_answer(one, answers),
            "accuracy": one.accuracy,
        }
        for one in spread_answers(given, KEPT)
    ]
    return Details(tables={"examples": columns}, samples=samples)
