"""Random crops and flips of training pictures, reproducible for each picture and epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coca_cli.datasets.example import Example
from coca_cli.media.images import ImageSettings, fit_image, read_image
from coca_cli.media.video import Sampling, read_frames
from coca_cli.training.rand_augment import NO_RAND_AUGMENT, RandAugmentStrength, rand_augment

View = Callable[[Example, np.random.Generator], NDArray[Any]]
"""An example and its random numbers -> its pixels, or what stands for them. Raises BadExample."""
ASPECT = (3 / 4, 4 / 3)
TRIES = 10


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to a training picture.

    Attributes:
        min_area: Smallest part of the picture that a crop keeps; 1 keeps pictures as evaluation sees them.
        flip: Mirror half of the pictures (wrong where captions speak of left and right).
        turn: Turn each picture by a random number of quarter turns (for views from above, which have no top).
        rand_augment: Random operations afterwards.
        keep_colours: None of them that change hues.
    """

    min_area: float = 0.9
    flip: bool = False
    turn: bool = False
    rand_augment: RandAugmentStrength = NO_RAND_AUGMENT
    keep_colours: bool = False

    @property
    def changes(self) -> bool:
        """Whether a picture is seen in more than one way."""
        return self.min_area < 1 or self.flip or self.turn or self.rand_augment.operations > 0

    def __call__(self, picture: Image.Image, settings: ImageSettings, random: np.random.Generator) -> NDArray[np.uint8]:
        """A random view of an RGB picture, (3, size, size) uint8."""
        box = self._crop(picture.width, picture.height, random) if self.min_area < 1 else None
        mirrored = self.flip and random.random() < 0.5
        quarters = int(random.integers(4)) if self.turn else 0
        if box is None:
            pixels = fit_image(picture, settings)
        else:
            how = Image.Resampling.BICUBIC if settings.interpolation == "bicubic" else Image.Resampling.BILINEAR
            resized = picture.resize((settings.size, settings.size), how, box=box)
            pixels = np.asarray(resized).transpose(2, 0, 1)
        pixels = np.rot90(pixels, quarters, axes=(1, 2))
        pixels = pixels[:, :, ::-1] if mirrored else pixels
        if not self.rand_augment.operations:
            return pixels
        changed = rand_augment(
            Image.fromarray(pixels.transpose(1, 2, 0)), self.rand_augment, random, keep_colours=self.keep_colours
        )
        return np.asarray(changed).transpose(2, 0, 1)

    def view(self, settings: ImageSettings, border: int = 0) -> View:
        """Pictures of examples as training sees them.

        Args:
            settings: The model's image settings.
            border: Pixels to cut from each side of every picture first.
        """
        return lambda example, random: self(read_image(example.media[0], border), settings, random)

    def pictures_view(self, settings: ImageSettings, border: int = 0) -> View:
        """All pictures of examples as training sees them, (P, 3, size, size), each changed in its own way.

        Args:
            settings: The model's image settings.
            border: Pixels to cut from each side of every picture first.
        """
        return lambda example, random: np.stack(
            [self(read_image(medium, border), settings, random) for medium in example.media]
        )

    def clip_view(self, settings: ImageSettings, sampling: Sampling) -> View:
        """Clips of examples as training sees them: all frames of one are cropped, turned and changed alike.

        Args:
            settings: The model's image settings.
            sampling: Which frames.
        """

        def view(example: Example, random: np.random.Generator) -> NDArray[np.uint8]:
            seed = random.integers(2**63)
            return read_frames(
                example.media[0], settings, sampling, lambda frame: self(frame, settings, np.random.default_rng(seed))
            )

        return view

    def _crop(self, width: int, height: int, random: np.random.Generator) -> tuple[int, int, int, int] | None:
        """A box with min_area to 1 of the area and an aspect ratio from 3/4 to 4/3, or None where none fits."""
        for _ in range(TRIES):
            area = width * height * random.uniform(self.min_area, 1.0)
            ratio = math.exp(random.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                left, top = int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1))
                return left, top, left + w, top + h
        return None
