"""Pictures: bytes -> RGB -> the square of pixels that a model was trained on."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from coca_cli.datasets.example import Medium, Member, Pixels, Streamed
from coca_cli.errors import BadExample

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)

Image.MAX_IMAGE_PIXELS = 250_000_000
"""Above twice this many pixels Pillow refuses a picture; real photographs stay far below."""
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
MAX_ASPECT = 500
"""Longer pictures are refused: resized by their shorter side they would fill the memory."""


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """How a picture becomes the model's input; bound to a checkpoint.

    Attributes:
        size: Side of the square in pixels.
        mean: Per-channel mean of values in [0, 1].
        std: Per-channel standard deviation.
        interpolation: How pictures are resized.
        resize: "shortest" resizes the shorter side and crops the centre; "squash" ignores the aspect ratio.
    """

    size: int = 224
    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize: Literal["shortest", "squash"] = "shortest"


def read_image(medium: Medium, border: int = 0) -> Image.Image:
    """The picture as RGB: first frame of an animation, palettes and CMYK converted, 16 bits scaled to 8.

    It is converted before it is resized, as torchvision's ImageFolder does; EXIF rotation is not applied, as in the
    published evaluations.

    Args:
        medium: Where the picture is.
        border: Pixels to cut from each side.

    Raises:
        BadExample: It is missing, cut off, no picture, or too large or too long to be one.
    """
    if isinstance(medium, Pixels):
        array = medium.array
        if array.ndim != 3:
            raise BadExample(f"{medium}: a drawn clip is no picture")
        picture = Image.fromarray(array)
    else:
        try:
            picture = _decode(medium)
        except FileNotFoundError:
            raise BadExample(f"{medium}: the file does not exist") from None
        except UnidentifiedImageError:
            raise BadExample(f"{medium}: not a picture that can be read") from None
        except Exception as error:  # Pillow's decoders raise a dozen kinds on damaged files
            raise BadExample(f"{medium}: damaged picture ({error})") from None
    if border:
        width, height = picture.size
        if min(width, height) <= 2 * border:
            raise BadExample(f"{medium}: {width} x {height} pixels leave nothing inside a border of {border}")
        picture = picture.crop((border, border, width - border, height - border))
    if max(picture.size) > MAX_ASPECT * min(picture.size):
        raise BadExample(f"{medium}: {picture.width} x {picture.height} pixels are a line, not a picture")
    return picture


def _decode(medium: Path | Member | Streamed) -> Image.Image:
    data = medium.read_bytes()
    with Image.open(io.BytesIO(data)) as opened:
        if opened.format == "EPS":  # a program, for which Pillow would start Ghostscript
            raise UnidentifiedImageError
        if opened.mode.startswith("I") or opened.mode == "F":
            return _narrowed(opened).convert("RGB")
        if opened.mode == "P" and "transparency" in opened.info:
            return opened.convert("RGBA").convert("RGB")
        return opened.convert("RGB")


def _narrowed(wide: Image.Image) -> Image.Image:
    """Values of 16 or 32 bits, and floats, in 8 bits; Pillow's own conversion clips them at 255: white, or all black.

    16 bits are what such pictures have as a rule, whatever their greatest value. Of other formats it tells the scale.
    """
    values = np.asarray(wide, dtype=np.float64)
    greatest = values.max(initial=0)
    usual = wide.mode.startswith("I;16") or wide.format == "PNG"
    scale = 256.0 if usual else next((s for most, s in _SCALES if greatest <= most), greatest / 255)
    return Image.fromarray((values / scale).clip(0, 255).astype(np.uint8))


_SCALES = ((1, 1 / 255), (255, 1), (65_535, 256))
"""A picture with no greater value than this has values this many times those of 8 bits."""


def fit_image(picture: Image.Image, settings: ImageSettings) -> NDArray[np.uint8]:
    """Resize and crop to the model's square, not yet normalised.

    Args:
        picture: An RGB picture.
        settings: The checkpoint's image settings.

    Returns:
        (3, size, size) uint8.
    """
    size = settings.size
    if settings.resize == "squash":
        picture = picture.resize((size, size), RESAMPLING[settings.interpolation])
    else:
        picture = _resize_shorter_side(picture, settings)
        left, top = (round((side - size) / 2) for side in picture.size)  # a half to the even number, as in torchvision
        picture = picture.crop((left, top, left + size, top + size))
    return np.asarray(picture).transpose(2, 0, 1)


def _resize_shorter_side(picture: Image.Image, settings: ImageSettings) -> Image.Image:
    """Rounds the longer side down, as torchvision does, which is not imported for it: that takes a second."""
    size, (width, height) = settings.size, picture.size
    longer = int(size * max(width, height) / min(width, height))
    return picture.resize((size, longer) if width <= height else (longer, size), RESAMPLING[settings.interpolation])


def fit_crops(picture: Image.Image, settings: ImageSettings, count: int) -> NDArray[np.uint8]:
    """Several squares of a picture, evenly spread along its longer side; its shorter side is theirs.

    Args:
        picture: An RGB picture.
        settings: The checkpoint's image settings, of which size and interpolation count.
        count: How many; 1 takes the middle.

    Returns:
        (count, 3, size, size) uint8.
    """
    size = settings.size
    resized = np.asarray(_resize_shorter_side(picture, settings))
    spare = max(resized.shape[:2]) - size
    places = np.linspace(0, spare, count) if count > 1 else np.array([spare / 2])
    wide = resized.shape[1] > resized.shape[0]
    squares = [
        resized[:size, place : place + size] if wide else resized[place : place + size, :size]
        for place in places.round().astype(int).tolist()
    ]
    return np.stack(squares).transpose(0, 3, 1, 2)


def normalise(pixels: torch.Tensor, settings: ImageSettings) -> torch.Tensor:
    """Pixels as the encoder wants them.

    Args:
        pixels: (B, 3, H, W) uint8.
        settings: The checkpoint's mean and standard deviation.

    Returns:
        (B, 3, H, W) fp32, on the same device.
    """
    mean = torch.tensor(settings.mean, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(settings.std, device=pixels.device).view(3, 1, 1)
    return pixels.to(torch.float32, copy=True).div_(255).sub_(mean).div_(std)
