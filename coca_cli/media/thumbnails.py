"""Small pictures of examples, to be looked at."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coca_cli.datasets.example import Example, Medium
from coca_cli.errors import BadExample
from coca_cli.media.images import ImageSettings, read_image
from coca_cli.media.video import Sampling, read_frames

SIDE = 224
"""Pixels of a thumbnail's longer side at most."""
QUALITY = 80


def see_medium(medium: Medium, *, clips: bool = False, border: int = 0, side: int = SIDE) -> Image.Image | None:
    """The picture, or the middle frame of a clip, as RGB; None where it cannot be read.

    Args:
        medium: Where it is.
        clips: It is a clip; a drawn one is taken as it is.
        border: Pixels to cut from each side of a picture.
        side: Of the square that is cut from a frame.
    """
    try:
        if clips:
            frames = read_frames(medium, ImageSettings(size=side), Sampling(frames=1, kind="segments"))
            return Image.fromarray(frames[0].transpose(1, 2, 0).copy())
        return read_image(medium, border)
    except BadExample:
        return None


def thumbnail(picture: Image.Image) -> bytes:
    """The picture as JPEG, no side longer than `SIDE`; small ones keep their size."""
    small = picture.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    data = io.BytesIO()
    small.save(data, "JPEG", quality=QUALITY)
    return data.getvalue()


def thumbnails_of(example: Example, *, clips: bool = False, border: int = 0) -> list[bytes]:
    """JPEGs of the pictures of an example that can be read."""
    seen = (see_medium(medium, clips=clips, border=border) for medium in example.media)
    return [thumbnail(picture) for picture in seen if picture is not None]


def pixels_thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """JPEG of (3, H, W) pixels as a model gets them."""
    return thumbnail(Image.fromarray(pixels.transpose(1, 2, 0).copy()))
