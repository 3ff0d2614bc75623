"""Pictures with the texture of photographs, and what is done to copies of them on the web."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps

Edit = Callable[[Image.Image, np.random.Generator], Image.Image]


def photograph(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Noise in three colours, stronger the coarser it is, as in photographs; (width, height) pixels."""
    random = np.random.default_rng(seed)
    whole = np.zeros((size[1], size[0], 3))
    for cells in (2, 4, 8, 16, 32, 64):
        noise = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        whole += (np.asarray(Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)) - 127.5) * cells**-0.7
    return Image.fromarray(np.clip(127.5 + 0.7 * whole, 0, 255).astype(np.uint8))


def encoded(picture: Image.Image, kind: str, quality: int = 75) -> bytes:
    """A picture file."""
    out = io.BytesIO()
    picture.save(out, kind, quality=quality)
    return out.getvalue()


def encoded_anew(kind: str, quality: int = 75) -> Edit:
    """To a picture file and back."""
    return lambda picture, _: Image.open(io.BytesIO(encoded(picture, kind, quality))).convert("RGB")


def resized(factor: float) -> Edit:
    """By one factor for width and height."""
    return lambda picture, _: picture.resize((round(picture.width * factor), round(picture.height * factor)))


def squeezed(side: int) -> Edit:
    """To a square."""
    return lambda picture, _: picture.resize((side, side))


def cropped(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Up to a tenth off each side."""
    width, height = picture.size
    left, top, right, bottom = random.uniform(0, 0.1, 4)
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return picture.crop(tuple(round(edge) for edge in box))


def tenth_off(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Just a tenth off each side."""
    width, height = picture.size
    return picture.crop((round(0.1 * width), round(0.1 * height), round(0.9 * width), round(0.9 * height)))


def mirrored(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    """Left and right exchanged."""
    return ImageOps.mirror(picture)


def after(*edits: Edit) -> Edit:
    """One edit after the other."""

    def apply(picture: Image.Image, random: np.random.Generator) -> Image.Image:
        for edit in edits:
            picture = edit(picture, random)
        return picture

    return apply


EDITS: dict[str, Edit] = {
    "png": encoded_anew("PNG"),
    "jpeg 30": encoded_anew("JPEG", 30),
    "jpeg 50": encoded_anew("JPEG", 50),
    "jpeg 95": encoded_anew("JPEG", 95),
    "webp 50": encoded_anew("WEBP", 50),
    "half": resized(0.5),
    "double": resized(2.0),
    "96 x 96": squeezed(96),
    "grey": lambda picture, _: picture.convert("L").convert("RGB"),
    "cropped": cropped,
    "a tenth off": tenth_off,
    "mirrored": mirrored,
    "mirrored, cropped": after(mirrored, cropped),
    "mirrored, cropped, jpeg 50": after(mirrored, cropped, encoded_anew("JPEG", 50)),
    "half, jpeg 50": after(resized(0.5), encoded_anew("JPEG", 50)),
}
