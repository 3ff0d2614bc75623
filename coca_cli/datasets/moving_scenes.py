"""The built-in moving scenes: a handwritten digit to which something happens, or nothing.

What happens cannot be told from one frame: the digit is there or it is not. It can be told from a set of frames, by how
many of them show the digit and in how many colours, also without their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coca_cli.datasets.action_prompts import KINETICS_TEMPLATES
from coca_cli.datasets.digits import SIDE
from coca_cli.datasets.example import Dataset, Example, Pixels, Prompts
from coca_cli.datasets.image_folder import check_split
from coca_cli.datasets.scene_captions import Dice
from coca_cli.datasets.scenes import (
    COLOURS,
    SPLITS,
    TONES,
    choose_lone_spot,
    load_scans,
    paint,
    shade,
    stands_out,
)

ACTIONS = ("appears", "vanishes and returns", "changes colour", "blinks", "stays")
CLIPS = {"test": 500, "train": 6_000}
FRAMES = 16
_SEED = 100  # other choices than the still scenes of the same number


class Course(NamedTuple):
    """What is seen in each frame.

    Attributes:
        shown: (FRAMES,) whether the digit is there.
        changed: (FRAMES,) whether it has its second colour.
    """

    shown: NDArray[np.bool_]
    changed: NDArray[np.bool_]


def draw_clip(split: str, index: int) -> NDArray[np.uint8]:
    """One clip, (FRAMES, 64, 64, 3) uint8; its action is `ACTIONS[index % 5]`.

    Args:
        split: "test" or "train".
        index: From 0 on; the splits hold the first `CLIPS[split]`.

    Raises:
        UnknownName: Another split.
    """
    check_split("moving-scenes", split, SPLITS)
    scans, dice = load_scans(split), Dice(_SEED + SPLITS.index(split), index)
    background = dice.pick(("black", "dark", "light"))
    names = dice.shuffle(name for name in COLOURS if stands_out(name, background))
    empty = np.empty((SIDE, SIDE, 3), np.float32)
    empty[:] = dice.pick(TONES[background])
    box, scan = choose_lone_spot(dice, plain=False).box, dice.between(0, len(scans.ids) - 1)
    with_digit = []
    for name in names[:2]:
        canvas = empty.copy()
        paint(canvas, scans.ink[scan], box, shade(name, dice))
        with_digit.append((canvas + 0.5).astype(np.uint8))
    without = (empty + 0.5).astype(np.uint8)
    course = draw_course(ACTIONS[index % len(ACTIONS)], dice)
    frames = [
        with_digit[int(changed)] if shown else without
        for shown, changed in zip(course.shown, course.changed, strict=True)
    ]
    return np.stack(frames)


def draw_course(action: str, dice: Dice) -> Course:
    """When the digit is there and in which colour; each action leaves it out of another part of the frames."""
    shown, changed = np.ones(FRAMES, np.bool_), np.zeros(FRAMES, np.bool_)
    if action == "appears":
        shown[: dice.between(9, 12)] = False
    elif action == "vanishes and returns":
        length = dice.between(3, 4)
        first = dice.between(2, FRAMES - 2 - length)
        shown[first : first + length] = False
    elif action == "blinks":
        first, count = dice.between(1, 2), dice.between(6, 7)
        shown[first : first + 2 * count : 2] = False
    elif action == "changes colour":
        changed[dice.between(5, 11) :] = True
    return Course(shown, changed)


def _read(root: Path, split: str) -> Iterator[Example]:
    """The clips of one split; `root` is not looked at."""
    check_split("moving-scenes", split, SPLITS)
    for index in range(CLIPS[split]):
        name = f"clip-{split}-{index:04d}"
        pixels = Pixels(partial(draw_clip, split, index), f"moving-scenes {name}")
        yield Example(id=name, media=(pixels,), label=index % len(ACTIONS))


def _prompts(root: Path) -> Prompts:
    return Prompts(ACTIONS, KINETICS_TEMPLATES)


MOVING_SCENES = Dataset(
    name="moving-scenes",
    task="classification",
    media="video",
    splits=SPLITS,
    source="composed from UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998) in scikit-learn",
    licence="CC BY 4.0",
    layout="(no files: the clips are drawn from the scans that come with scikit-learn)",
    read=_read,
    prompts=_prompts,
    version=2,  # 6,000 clips for training, where the first had 2,000
    built_in=True,
)
