"""Built-in statements about two scenes, true or false, as in NLVR2: each statement comes with a pair of either kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from coca_cli.datasets.digits import CLASS_NAMES
from coca_cli.datasets.example import Dataset, Example, Pixels
from coca_cli.datasets.image_folder import check_split
from coca_cli.datasets.nlvr2 import LABELS
from coca_cli.datasets.scene_captions import Dice, SceneFacts
from coca_cli.datasets.scene_questions import FIRST, facts_and_dice, scene_pixels
from coca_cli.datasets.scenes import COLOURS, SPLITS

STATEMENTS = {"test": 300, "train": 6_000}
BLOCKS = {"test": 10, "train": 100}
BLOCK = 80
"""Scenes that the pairs of a block of statements are drawn from; no two blocks share one, so that a part of the
statements can be held out with its scenes."""
_SEED = 300
TRIES = 90

Truth = Callable[[SceneFacts, SceneFacts], bool]


def _count(facts: SceneFacts) -> int:
    return len(facts.digits)


def _shows(word: str, facts: SceneFacts) -> bool:
    return any(word in (digit.word, digit.colour) for digit in facts.digits)


def draw_statement(dice: Dice) -> tuple[str, Truth]:
    """A sentence about a left and a right scene, and what tells whether it is true."""
    form = dice.pick(("more", "fewer", "same", "both", "one", "left", "right"))
    by_colour = dice.pick((True, False))
    word = dice.pick(tuple(COLOURS) if by_colour else CLASS_NAMES)
    thing = f"a digit in {word}" if by_colour else f"a digit {word}"
    statements: dict[str, tuple[str, Truth]] = {
        "more": ("the left picture shows more digits than the right picture.", lambda a, b: _count(a) > _count(b)),
        "fewer": ("the left picture shows fewer digits than the right picture.", lambda a, b: _count(a) < _count(b)),
        "same": ("both pictures show the same number of digits.", lambda a, b: _count(a) == _count(b)),
        "both": (f"both pictures show {thing}.", lambda a, b: _shows(word, a) and _shows(word, b)),
        "one": (f"exactly one of the pictures shows {thing}.", lambda a, b: _shows(word, a) != _shows(word, b)),
        "left": (f"the left picture shows {thing}.", lambda a, b: _shows(word, a)),
        "right": (f"the right picture shows {thing}.", lambda a, b: _shows(word, b)),
    }
    return statements[form]


def draw_pairs(split: str, index: int) -> tuple[str, dict[bool, tuple[int, int]]]:
    """A statement, and the numbers of two scenes of which it is true and of two of which it is false."""
    first = FIRST[split] + BLOCK * (index * BLOCKS[split] // STATEMENTS[split])
    for attempt in range(20):
        dice = Dice(_SEED, SPLITS.index(split), index, attempt)
        statement, holds = draw_statement(dice)
        pairs: dict[bool, tuple[int, int]] = {}
        for _ in range(TRIES // 2):
            pair = tuple(first + dice.between(0, BLOCK - 1) for _ in range(2))
            left, right = (facts_and_dice(split, number, _SEED)[0] for number in pair)
            pairs.setdefault(holds(left, right), (pair[0], pair[1]))
            if len(pairs) == 2:
                return statement, pairs
    raise AssertionError(f"no pair of scenes for the statement {split} {index}")


def _read(root: Path, split: str) -> Iterator[Example]:
    """The statements of one split; `root` is not looked at."""
    check_split("scene-pairs", split, SPLITS)
    for index in range(STATEMENTS[split]):
        statement, pairs = draw_pairs(split, index)
        for number, (truth, scenes) in enumerate(sorted(pairs.items())):
            media = tuple(
                Pixels(partial(scene_pixels, split, scene), f"scenes scene-{split}-{scene:04d}") for scene in scenes
            )
            name = f"{split}-{index}-{number}-0"
            yield Example(name, media, LABELS.index(str(truth)), question=statement, kind=f"{split}-{index}-0")


SCENE_PAIRS = Dataset(
    name="scene-pairs",
    task="reasoning",
    splits=SPLITS,
    source="composed from UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998) in scikit-learn",
    licence="CC BY 4.0",
    layout="(no files: the scenes are drawn from the scans that come with scikit-learn)",
    read=_read,
    built_in=True,
    answers=LABELS,
    pictures=2,
)
