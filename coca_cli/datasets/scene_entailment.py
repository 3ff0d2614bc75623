"""Built-in visual entailment: a scene of which one digit lies under a card, and a sentence about one of its places.

The sentence is entailed or contradicted where the place can be seen, and neutral where the card lies on it. The three
kinds of sentence are worded alike, so that the sentence alone tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coca_cli.datasets.digits import CLASS_NAMES
from coca_cli.datasets.example import Dataset, Example, Pixels
from coca_cli.datasets.image_folder import check_split
from coca_cli.datasets.scene_captions import Dice, DigitFacts, SceneFacts
from coca_cli.datasets.scene_questions import FIRST, facts_and_dice, place_of, scene_pixels
from coca_cli.datasets.scenes import COLOURS, SPLITS
from coca_cli.datasets.snli_ve import LABELS

PICTURES = {"test": 400, "train": 6_000}
_SEED = 400
CARD, EDGE = (120, 120, 120), (90, 60, 30)


def covered_pixels(split: str, index: int, box: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A scene, (64, 64, 3) uint8, with a grey card with a brown edge on the box (left, top, side)."""
    array = scene_pixels(split, index).copy()
    left, top, side = box
    array[top : top + side, left : left + side] = EDGE
    array[top + 1 : top + side - 1, left + 1 : left + side - 1] = CARD
    return array


def write_sentence(label: str, facts: SceneFacts, covered: DigitFacts, dice: Dice) -> str:
    """A sentence about a digit at a place, of which the picture with the covered digit tells what the label says."""
    seen = tuple(digit for digit in facts.digits if digit is not covered)
    digit = covered if label == "neutral" else dice.pick(seen)
    word, colour = digit.word, digit.colour
    about = dice.pick(("word", "colour"))
    if label == "contradiction" or (label == "neutral" and dice.pick((True, False))):
        word = dice.pick(tuple(name for name in CLASS_NAMES if name != word))
        colour = dice.pick(tuple(name for name in COLOURS if name != colour))
    if about == "word":
        return dice.pick((f"the digit {place_of(digit)} is a {word}.", f"there is a {word} {place_of(digit)}."))
    return dice.pick((f"the digit {place_of(digit)} is {colour}.", f"there is a digit in {colour} {place_of(digit)}."))


def _read(root: Path, split: str) -> Iterator[Example]:
    """The pairs of one split, a sentence of each label to every picture; `root` is not looked at."""
    check_split("scene-entailment", split, SPLITS)
    index, made = FIRST[split], 0
    while made < PICTURES[split]:
        facts, dice = facts_and_dice(split, index, _SEED)
        if len(facts.digits) > 1:
            covered = dice.pick(facts.digits)
            name = f"scene-{split}-{index:04d}"
            medium = Pixels(partial(covered_pixels, split, index, covered.box), f"covered scenes {name}")
            for label, words in enumerate(LABELS):
                sentence = write_sentence(words, facts, covered, dice)
                yield Example(f"{name}-{words[0]}", (medium,), label, question=sentence)
            made += 1
        index += 1


SCENE_ENTAILMENT = Dataset(
    name="scene-entailment",
    task="entailment",
    splits=SPLITS,
    source="composed from UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998) in scikit-learn",
    licence="CC BY 4.0",
    layout="(no files: the scenes are drawn from the scans that come with scikit-learn)",
    read=_read,
    built_in=True,
    answers=LABELS,
)
