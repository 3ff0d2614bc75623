"""RandAugment (Cubuk et al., arXiv 1909.13719) with torchvision's operations, reproducible in threads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image
from torchvision.transforms import InterpolationMode, RandAugment
from torchvision.transforms.autoaugment import _apply_op

from coca_cli.training_options import MAX_MAGNITUDE

BINS = MAX_MAGNITUDE + 1
"""Magnitudes from 0 to 30, as in torchvision; the paper's 20 is two thirds of the way."""
CHANGES_HUES = ("Color", "Posterize", "Solarize", "AutoContrast", "Equalize")
"""Also the last two, which stretch each channel by itself. None of all operations mirrors."""
_SPACES = RandAugment(num_magnitude_bins=BINS)


class RandAugmentStrength(NamedTuple):
    """How much is done.

    Attributes:
        operations: One after the other on each picture; 0 does nothing.
        magnitude: From 0 to 30.
    """

    operations: int = 0
    magnitude: int = 0


NO_RAND_AUGMENT = RandAugmentStrength()


def rand_augment(
    picture: Image.Image, strength: RandAugmentStrength, random: np.random.Generator, *, keep_colours: bool = False
) -> Image.Image:
    """The picture after operations that are drawn anew for it.

    torchvision's own transform draws from torch's one generator, which threads would share, so here the draws come from
    the picture's generator; the operations and their ranges are torchvision's.

    Args:
        picture: RGB.
        strength: How much is done.
        random: Decides what.
        keep_colours: Leave out what changes hues, for pictures that colours are asked about.
    """
    space = _SPACES._augmentation_space(BINS, (picture.height, picture.width))
    names = [name for name in space if not (keep_colours and name in CHANGES_HUES)]
    for _ in range(strength.operations):
        name = names[int(random.integers(len(names)))]
        magnitudes, signed = space[name]
        magnitude = float(magnitudes[strength.magnitude]) if magnitudes.ndim else 0.0
        if signed and random.integers(2):
            magnitude = -magnitude
        picture = _apply_op(picture, name, magnitude, interpolation=InterpolationMode.NEAREST, fill=None)
    return picture
