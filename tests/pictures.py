"""Small pictures that tests draw themselves, whole and broken."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def drawn(seed: int, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """A picture of coloured rectangles, (width, height) pixels."""
    random = np.random.default_rng(seed)
    array = np.full((size[1], size[0], 3), random.integers(0, 255, 3), dtype=np.uint8)
    for _ in range(4):
        top, left = random.integers(0, size[1] - 8), random.integers(0, size[0] - 8)
        array[top : top + 8, left : left + 8] = random.integers(0, 255, 3)
    return Image.fromarray(array)


def jpeg_bytes(picture: Image.Image) -> bytes:
    """The picture as JPEG."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=95)
    return out.getvalue()


def class_folders(root: Path, classes: tuple[str, ...] = ("cat", "dog"), per_class: int = 12) -> Path:
    """A class-per-folder tree of drawn JPEGs."""
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            drawn(100 * c + i).save(root / name / f"{i:03}.jpg", quality=95)
    return root
