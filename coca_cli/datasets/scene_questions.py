"""Built-in questions about the built-in scenes, three about each: how many, which, where, what colour, is there one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coca_cli.datasets.digits import CLASS_NAMES
from coca_cli.datasets.example import Dataset, Example, Pixels
from coca_cli.datasets.image_folder import check_split
from coca_cli.datasets.scene_captions import PLACES, Dice, DigitFacts, SceneFacts
from coca_cli.datasets.scenes import COLOURS, SPLITS, draw_scene

SCENES = {"test": 500, "train": 6_000}
EACH = 3
_SEED = 200  # other choices than the scenes' own
FIRST = {"test": 1_000, "train": 0}
"""Test questions are about scenes that the set `scenes` does not have; training asks about those that it trains on."""


class Asked(NamedTuple):
    """A question about a scene.

    Attributes:
        kind: Its type.
        question: In words.
        answer: One word or a few.
    """

    kind: str
    question: str
    answer: str


def ask(facts: SceneFacts, dice: Dice) -> tuple[Asked, ...]:
    """Three questions of three kinds, each with one right answer.

    Args:
        facts: What is in the scene.
        dice: Makes the choices.
    """
    counts = Counter(digit.digit for digit in facts.digits)
    colours = Counter(digit.colour for digit in facts.digits)
    sole = [digit for digit in facts.digits if counts[digit.digit] == 1]
    alone_in_colour = [digit for digit in facts.digits if colours[digit.colour] == 1]
    any_digit = dice.pick(facts.digits)
    asked = [
        Asked("how many", "how many digits are there?", ("one", "two", "three")[len(facts.digits) - 1]),
        Asked("which digit is", f"which digit is {place_of(any_digit)}?", any_digit.word),
        Asked("what colour is", f"what colour is the digit {place_of(any_digit)}?", any_digit.colour),
        _is_there(facts, dice),
    ]
    if sole:
        digit = dice.pick(sole)
        asked.append(Asked("what colour is", f"what colour is the {digit.word}?", digit.colour))
        asked.append(Asked("where is", f"where is the {digit.word}?", digit.place))
        asked.append(Asked("is it small", f"is the {digit.word} small or large?", digit.size))
    if alone_in_colour:
        digit = dice.pick(alone_in_colour)
        asked.append(Asked("which digit is", f"which digit is {digit.colour}?", digit.word))
    return dice.shuffle(asked)[:EACH]


def _is_there(facts: SceneFacts, dice: Dice) -> Asked:
    """Yes as often as no."""
    wanted = dice.pick((True, False))
    by_colour = dice.pick((True, False))
    shown = {digit.colour if by_colour else digit.word for digit in facts.digits}
    words = COLOURS if by_colour else CLASS_NAMES
    word = dice.pick(tuple(word for word in words if (word in shown) == wanted))
    return Asked("is there", f"is there a digit in {word}?" if by_colour else f"is there a digit {word}?", _yes(wanted))


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def facts_and_dice(split: str, index: int, seed: int) -> tuple[SceneFacts, Dice]:
    """What a scene shows, and the choices of a set that is made from it."""
    return _facts(split, index), Dice(seed, SPLITS.index(split), index)


@lru_cache(maxsize=20_000)
def _facts(split: str, index: int) -> SceneFacts:
    return draw_scene(split, index).facts


def scene_pixels(split: str, index: int) -> NDArray[np.uint8]:
    """The picture of a scene, (64, 64, 3) uint8."""
    return draw_scene(split, index).array


def place_of(digit: DigitFacts) -> str:
    """Where a digit lies, as captions say it."""
    return PLACES[digit.place][2][0]


def _read(root: Path, split: str) -> Iterator[Example]:
    """The questions of one split; `root` is not looked at."""
    check_split("scene-questions", split, SPLITS)
    for index in range(FIRST[split], FIRST[split] + SCENES[split]):
        facts, dice = facts_and_dice(split, index, _SEED)
        name = f"scene-{split}-{index:04d}"
        medium = Pixels(partial(scene_pixels, split, index), f"scenes {name}")
        for number, (kind, question, answer) in enumerate(ask(facts, dice)):
            yield Example(f"{name}-{number}", (medium,), None, (answer,), question, answer, kind=kind)


SCENE_QUESTIONS = Dataset(
    name="scene-questions",
    task="questions",
    splits=SPLITS,
    source="composed from UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998) in scikit-learn",
    licence="CC BY 4.0",
    layout="(no files: the scenes are drawn from the scans that come with scikit-learn)",
    read=_read,
    built_in=True,
)
