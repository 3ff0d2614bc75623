"""Real photographs for the scripts: those of a folder, or crops of scikit-learn's two where there is none."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

IMAGENET = "imagenet/val"
"""Below --data: photographs of ImageNet's usual sizes, a folder for each class."""
SIDES = (375, 500)
"""Of the crops: ImageNet's most frequent size."""


def jpeg_files(data: Path | None, folder: Path, count: int, below: str = IMAGENET) -> list[Path]:
    """So many JPEG files in a folder; where there are fewer photographs, each lies there several times.

    Args:
        data: Real data, or None for crops of scikit-learn's photographs.
        folder: Where they are written.
        count: How many.
        below: Where the photographs are in the data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = (
        [] if data is None else sorted(p for p in (data / below).rglob("*") if p.suffix.lower() in (".jpeg", ".jpg"))
    )
    if not found:
        found = _crops(folder / "crops", min(count, 100))
    files = []
    for number, source in zip(range(count), itertools.cycle(found), strict=False):
        files.append(folder / f"{number:05}.jpg")
        shutil.copyfile(source, files[-1])
    return files


def _crops(folder: Path, count: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    whole = [Image.fromarray(array) for array in load_sample_images().images]
    random = np.random.default_rng(0)
    height, width = SIDES
    files = []
    for number in range(count):
        picture = whole[number % len(whole)]
        left, top = (int(random.integers(0, spare)) for spare in (picture.width - width, picture.height - height))
        files.append(folder / f"{number:05}.jpg")
        picture.crop((left, top, left + width, top + height)).save(files[-1], quality=90)
    return files
