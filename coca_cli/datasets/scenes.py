"""The built-in scenes: one to three handwritten digits in colour, with five captions each, composed on the fly.

The handwriting is scikit-learn's; the test scenes use only scans that no train scene uses. About half of the scenes
show a single digit, and some of these are drawn as the `digits` set draws them, so that what is learnt here can be
tried there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coca_cli.datasets.digits import MOST_INK, SIDE, digit_scans
from coca_cli.datasets.example import Dataset, Example, Pixels
from coca_cli.datasets.image_folder import check_split
from coca_cli.datasets.scene_captions import PLACES, Dice, DigitFacts, SceneFacts, describe

SPLITS = ("test", "train")
SCENES = {"test": 1_000, "train": 8_000}  # how many scenes each split has

# Colours whose names people agree on, RGB. A digit's own colour differs by up to `COLOUR_SPREAD` in each channel.
COLOURS = {
    "red": (230, 35, 35),
    "orange": (255, 135, 0),
    "yellow": (250, 230, 40),
    "green": (30, 170, 60),
    "blue": (50, 105, 245),
    "purple": (165, 55, 205),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
COLOUR_SPREAD = 10
TONES = {
    "black": ((0, 0, 0),),
    "dark": ((44, 44, 44), (24, 30, 54), (50, 26, 30), (20, 44, 34), (42, 34, 22)),
    "light": ((255, 255, 255), (234, 234, 234), (250, 242, 222), (222, 236, 248), (226, 244, 226), (250, 228, 230)),
}
PALE = ("white", "yellow")  # what cannot be read on a light background

# Sides, from and to, in pixels of the square that a scan is drawn in; the ink takes about four fifths of it.
SMALL = (18, 24)
LARGE = (30, 32)
LARGE_ALONE = (38, 42)
LARGE_CENTRE = (46, 64)
LIKE_DIGITS = (56, 64)
SWAY = 8  # pixels that a large digit in the centre moves at most, from end to end

# Places that stand well together, from left to right or top to bottom, and the side in pixels of each one's room.
_TWO = (
    (("left", "right"), 32),
    (("left", "right"), 32),
    (("top", "bottom"), 32),
    (("top", "bottom"), 32),
    (("top left", "bottom right"), 32),
    (("top right", "bottom left"), 32),
    (("top left", "top right"), 32),
    (("bottom left", "bottom right"), 32),
    (("top left", "bottom left"), 32),
    (("top right", "bottom right"), 32),
)
_THREE = (
    (("left", "centre", "right"), 21),
    (("top", "centre", "bottom"), 21),
    (("top left", "top right", "bottom"), 32),
    (("top", "bottom left", "bottom right"), 32),
    (("left", "top right", "bottom right"), 32),
    (("top left", "bottom left", "right"), 32),
)


class Scene(NamedTuple):
    """A composed picture.

    Attributes:
        array: (64, 64, 3) uint8 RGB.
        captions: Five different texts.
        facts: What is in the picture, for questions about it.
    """

    array: NDArray[np.uint8]
    captions: tuple[str, ...]
    facts: SceneFacts


class Scans(NamedTuple):
    """Handwriting to draw with: ink, the digit of each scan, and ids."""

    ink: NDArray[np.float32]  # (n, 10, 10) from 0 to 1
    labels: tuple[int, ...]
    ids: tuple[str, ...]


class Spot(NamedTuple):
    """Where a digit goes."""

    place: str
    size: Literal["small", "large"]
    box: tuple[int, int, int]  # left, top, side in pixels


def draw_scene(split: str, index: int) -> Scene:
    """One scene, always the same for the same split and index.

    Args:
        split: "test" or "train".
        index: From 0 on; the splits hold the first `SCENES[split]`, and any further one can be drawn.

    Raises:
        UnknownName: Another split.
    """
    check_split("scenes", split, SPLITS)
    scans, dice = load_scans(split), Dice(SPLITS.index(split), index)
    count, plain = dice.pick((1, 1, 2, 3)), dice.pick((True, False, False))
    plain = plain and count == 1  # as the `digits` set draws it: large, white on black
    background = "black" if plain else dice.pick(("black", "dark", "dark", "light", "light"))
    colours = ("white",) if plain else tuple(name for name in COLOURS if stands_out(name, background))
    spots = _choose_spots(dice, count) if count > 1 else (choose_lone_spot(dice, plain),)
    canvas = np.empty((SIDE, SIDE, 3), np.float32)
    canvas[:] = dice.pick(TONES[background])
    digits = []
    for place, size, box in spots:
        scan, colour = dice.between(0, len(scans.ids) - 1), dice.pick(colours)
        paint(canvas, scans.ink[scan], box, COLOURS[colour] if plain else shade(colour, dice))
        digits.append(DigitFacts(scans.labels[scan], colour, size, place, scans.ids[scan], box))
    facts = SceneFacts(background, tuple(digits))
    return Scene((canvas + 0.5).astype(np.uint8), describe(facts, dice), facts)


@lru_cache
def load_scans(split: str) -> Scans:
    """The scans of one split, each with a rim of paper."""
    images, labels, ids = digit_scans(split)
    # The rim of paper keeps strokes that touch the scan's edge from ending in a hard line.
    ink = np.pad(images.astype(np.float32) / np.float32(MOST_INK), ((0, 0), (1, 1), (1, 1)))  # (n, 10, 10)
    return Scans(ink, tuple(labels.tolist()), ids)


def choose_lone_spot(dice: Dice, plain: bool) -> Spot:
    """A place for a single digit; `plain` for one that is drawn as the `digits` set draws it."""
    kind = "centre" if plain else dice.pick(("centre", "large", "small", "small"))
    if kind == "centre":
        side = dice.between(*(LIKE_DIGITS if plain else LARGE_CENTRE))
        return _spot("centre", "large", side, min(side + SWAY, SIDE), dice)
    place = dice.pick(tuple(PLACES))
    if kind == "large":
        return _spot(place, "large", dice.between(*LARGE_ALONE), LARGE_ALONE[1], dice)
    return _spot(place, "small", dice.between(*SMALL), SMALL[1], dice)


def _choose_spots(dice: Dice, count: int) -> tuple[Spot, ...]:
    places, room = dice.pick(_TWO if count == 2 else _THREE)
    spots = []
    for place in places:
        large = dice.pick((True, False)) and room >= LARGE[1]
        side = dice.between(*LARGE) if large else dice.between(SMALL[0], min(SMALL[1], room))
        spots.append(_spot(place, "large" if large else "small", side, room, dice))
    return tuple(spots)


def _spot(place: str, size: Literal["small", "large"], side: int, room: int, dice: Dice) -> Spot:
    """A square of the given side somewhere in the place's room, which is a square too (sides in pixels)."""
    column, row, _ = PLACES[place]
    left, top = (third * (SIDE - room) // 2 + dice.between(0, room - side) for third in (column, row))
    return Spot(place, size, (left, top, side))


def stands_out(colour: str, background: str) -> bool:
    """Whether a digit of that colour can be read on the background."""
    return colour not in PALE if background == "light" else colour != "black"


def shade(colour: str, dice: Dice) -> tuple[int, ...]:
    """RGB near the colour's own."""
    spread = (dice.between(-COLOUR_SPREAD, COLOUR_SPREAD) for _ in range(3))
    return tuple(min(max(value + change, 0), 255) for value, change in zip(COLOURS[colour], spread, strict=True))


def paint(
    canvas: NDArray[np.float32], ink: NDArray[np.float32], box: tuple[int, int, int], colour: tuple[int, ...]
) -> None:
    """Draw one scan, (10, 10) from 0 to 1, into the box of the canvas, (64, 64, 3), smoothly enlarged."""
    left, top, side = box
    enlarge = _enlarger(side)
    # Clipped after each axis, as picture libraries do: a digit alone looks as it does in the `digits` set.
    cover = np.clip(enlarge @ np.clip(ink @ enlarge.T, 0, 1), 0, 1)[:, :, None]  # (side, side, 1)
    below = canvas[top : top + side, left : left + side]
    below += cover * (np.asarray(colour, np.float32) - below)


@lru_cache
def _enlarger(side: int) -> NDArray[np.float32]:
    """(side, 10): bicubic enlargement along one axis, as a matrix, since it is far quicker than resizing each scan."""
    rows = np.eye(10, dtype=np.float32)
    return np.asarray(Image.fromarray(rows).resize((10, side), Image.Resampling.BICUBIC))


def _read(root: Path, split: str) -> Iterator[Example]:
    """The scenes of one split; `root` is not looked at."""
    check_split("scenes", split, SPLITS)
    for index in range(SCENES[split]):
        scene, name = draw_scene(split, index), f"scene-{split}-{index:04d}"
        yield Example(id=name, media=(Pixels(scene.array, f"scenes {name}"),), texts=scene.captions)


SCENES_SET = Dataset(
    name="scenes",
    task="captions",
    splits=SPLITS,
    source="composed from UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998) in scikit-learn",
    licence="CC BY 4.0",
    layout="(no files: the scenes are drawn from the scans that come with scikit-learn)",
    read=_read,
    built_in=True,
)
