"""Which answers are shown of an evaluation: evenly spread over the set, not the best ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from coca_cli.datasets.example import Medium
from coca_cli.errors import BadExample
from coca_cli.media.images import read_image
from coca_cli.media.question_sheet import AskedPicture, write_question_sheet
from coca_cli.tasks.answer_files import GivenAnswer

SHOWN = 6


def spread_answers(given: Sequence[GivenAnswer], count: int = SHOWN) -> list[GivenAnswer]:
    """So many of them, from the first to the last, evenly spread."""
    places = np.linspace(0, len(given) - 1, min(count, len(given))).round().astype(int)
    return [given[place] for place in places.tolist()]


def show_answers(path: Path, given: Sequence[GivenAnswer], answers: Sequence[str] = ()) -> None:
    """Write a picture of some questions with their pictures and answers.

    Args:
        path: A .png or .jpg file.
        given: What was answered; at least one.
        answers: What labels mean; empty for open questions.
    """
    rows = [
        AskedPicture(
            [_picture(medium) for medium in one.example.media],
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


def _picture(medium: Medium) -> Image.Image | None:
    try:
        return read_image(medium)
    except BadExample:
        return None
