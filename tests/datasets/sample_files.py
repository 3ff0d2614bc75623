"""What samples are written with: texts, and small drawn pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 24  # pixels


def gradient(seed: int, side: int = SIDE) -> np.ndarray:
    """A smooth picture, (side, side, 3) uint8, another one for each seed."""
    steps = np.linspace(0, 255, side)
    planes = [np.add.outer(steps * (seed * k % 7) / 6, steps * (seed + k) % 256) % 256 for k in (1, 2, 3)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def save_pictures(folder: Path, names: tuple[str, ...], side: int = SIDE) -> None:
    """Draw one picture per name."""
    for seed, name in enumerate(names, start=1):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(gradient(seed, side)).save(folder / name)


def save_text(file: Path, text: str) -> None:
    """A text that ends in a line break."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")
