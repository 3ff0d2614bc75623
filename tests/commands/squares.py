"""Three classes of pictures that a tiny model of random weights can be taught to tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from coca_cli.model.checkpoint import save_folder
from coca_cli.model.coca import CoCa
from coca_cli.model.config import tiny_config
from coca_cli.model.tokenizer import SentencePieceTokenizer, train_sentencepiece
from tests.datasets.make_samples import save_clip

CLASSES = ("blue", "green", "red")


def picture(label: int, seed: int) -> Image.Image:
    """Noise with a small square of the class's colour anywhere."""
    random = np.random.default_rng((label, seed))
    array = random.integers(0, 120, (32, 32, 3), dtype=np.uint8)
    top, left = random.integers(0, 20, 2)
    array[top : top + 12, left : left + 12] = np.eye(3, dtype=np.uint8)[2 - label] * 255
    return Image.fromarray(array)


def save_pictures(folder: Path) -> Path:
    """30 pictures of each class for training and 10 for the score."""
    for split, count, first in (("train", 30, 0), ("test", 10, 1000)):
        for label, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                picture(label, first + number).save(folder / split / name / f"{number:02}.png")
    return folder


def save_clips(folder: Path) -> Path:
    """Two classes of clips, 6 of each for training and 3 for the score."""
    for split, count in (("train", 6), ("test", 3)):
        for label, name in enumerate(("jumping", "waving")):
            for number in range(count):
                save_clip(folder / split / name / f"{number}.mp4", 10 * label + number)
    return folder


def save_model(folder: Path, *changes: str) -> Path:
    """A folder with a tiny CoCa of random weights."""
    words = train_sentencepiece([f"a photo of a {w} square" for w in CLASSES], 40)
    tokenizer = SentencePieceTokenizer(words, context=16)
    torch.manual_seed(0)
    config = tiny_config(tokenizer.vocab_size, image_size=32, context=16).with_changes(changes)
    save_folder(folder, CoCa(config), tokenizer, "tiny")
    return folder
