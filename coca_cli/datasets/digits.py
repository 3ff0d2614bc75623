"""The built-in handwriting: scikit-learn's 1,797 scanned digits, drawn white on black.

The scans are the test part of the UCI set "Optical Recognition of Handwritten Digits", whose 13 writers come one after
the other; who wrote what is not recorded. Every third scan is held out, so train and test share no scan, while
the same 13 hands wrote both: a score tells how well unseen scans are read, not unseen writers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coca_cli.datasets.example import Dataset, Example, Pixels, Prompts
from coca_cli.errors import UnknownName
from coca_cli.registry import unknown_name

SPLITS = ("test", "train")
CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEMPLATES = (
    "the digit {c}.",
    "a handwritten {c}.",
    "a picture of the number {c}.",
    "the number {c} written by hand.",
    "a white {c} on black.",
)
MOST_INK = 16  # the darkest value of a scan
SIDE = 64  # pixels, of the drawn picture
TEST_EVERY = 3  # scans 0, 3, 6, ... are held out


@lru_cache
def _load() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    # Loaded here because scikit-learn takes a second to import, and listing the datasets must be quick.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.asarray(bunch.images).astype(np.uint8), np.asarray(bunch.target).astype(np.int64)


def digit_scans(split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
    """The raw scans of one split, in the set's own order.

    Args:
        split: "test" (599 scans) or "train" (1,198 scans).

    Returns:
        The images, (n, 8, 8) from 0 (paper) to 16 (ink); the digits that they show, (n,) from 0 to 9; and n ids.

    Raises:
        UnknownName: Another split.
    """
    if split not in SPLITS:
        raise UnknownName(unknown_name("split of digits", split, SPLITS))
    images, labels = _load()
    held_out = np.arange(len(labels)) % TEST_EVERY == 0
    chosen = np.flatnonzero(held_out if split == "test" else ~held_out)
    return images[chosen], labels[chosen], tuple(f"scan-{index:04d}" for index in chosen)


def draw(scan: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One scan, (8, 8) from 0 to 16, as a smooth white-on-black picture, (64, 64, 3) RGB."""
    # A rim of paper first: strokes that touch the scan's edge would end in a hard line otherwise.
    rimmed = np.pad(scan.astype(np.uint16) * 255 // MOST_INK, 1).astype(np.uint8)  # (10, 10)
    grey = np.asarray(Image.fromarray(rimmed).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return np.repeat(grey[:, :, None], 3, axis=2)  # (64, 64, 3)


def read(root: Path, split: str) -> Iterator[Example]:
    """The drawn digits of one split; `root` is not looked at."""
    for scan, label, name in zip(*digit_scans(split), strict=True):
        yield Example(id=name, media=(Pixels(draw(scan), f"digits {name}"),), label=int(label))


def prompts(root: Path) -> Prompts:
    """The digits' names in words; `root` is not looked at."""
    return Prompts(CLASS_NAMES, TEMPLATES)


DIGITS = Dataset(
    name="digits",
    task="classification",
    splits=SPLITS,
    source="UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998), as scikit-learn ships it",
    licence="CC BY 4.0",
    layout="(no files: the scans come with scikit-learn)",
    read=read,
    prompts=prompts,
    built_in=True,
)
