"""What is kept of a picture so that its copies can be found: a digest, hashes of parts of it, a small grey thumbnail.

A crop is found because parts of both pictures are hashed. A training picture is hashed as a whole and without its
margins, and both mirrored; an evaluation picture is hashed with each side cut by nothing, half of `MARGIN` or the whole
of it. Where training shows a crop, its whole is among the parts of the evaluation picture; where the evaluation
picture is the crop, the training picture without its margins is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from coca_cli.extras import needs
from coca_cli.media.images import ImageSettings, fit_image

with needs("train", "looking for near-duplicates"):
    import imagehash

THUMBNAIL = 64
"""Side of the square grey thumbnail: all that is compared of a picture is made from it."""
MARGIN = 0.1
"""Of width and height: what may be missing on each side of either picture."""
DIGEST = 16  # bytes
_HASHED = 32  # the side that the 64-bit hash looks at


class Crop(NamedTuple):
    """What is cut off each side, as a part of the width or height."""

    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0


class Look(NamedTuple):
    """A part of a picture, as it is or mirrored."""

    crop: Crop
    mirrored: bool = False


WHOLE = Crop()
MIDDLE = Crop(MARGIN, MARGIN, MARGIN, MARGIN)

TRAINING_LOOKS = tuple(Look(crop, mirrored) for mirrored in (False, True) for crop in (WHOLE, MIDDLE))

_CUTS = ((0.0, 0.0), (MARGIN, 0.0), (0.0, MARGIN), (MARGIN, MARGIN), (MARGIN / 2, MARGIN / 2))
EVALUATION_LOOKS = tuple(Look(Crop(left, top, right, bottom)) for left, right in _CUTS for top, bottom in _CUTS)
"""25 of them. 81, three steps for each side on its own, would bring the nearest hashes of a crop from 12 bits to 8, at
three times the price for every pair of pictures."""


def fingerprint_type(looks: int, size: int = 0) -> np.dtype[Any]:
    """The record that is kept of a picture.

    Args:
        looks: How many parts of it are hashed.
        size: Side of the model's input, where the pictures are embedded, too.
    """
    return np.dtype(
        [
            ("hashes", np.uint64, (looks,)),
            ("digest", np.uint8, (DIGEST,)),
            ("thumbnail", np.uint8, (THUMBNAIL, THUMBNAIL)),
            ("pixels", np.uint8, (3, size, size)),
        ]
    )


def fingerprint(picture: Image.Image, looks: Sequence[Look], model: ImageSettings | None = None) -> NDArray[np.uint8]:
    """What is kept of a picture, as the bytes of one record.

    Args:
        picture: An RGB picture.
        looks: The parts to hash.
        model: Image settings of a model that embeds it; None for none.

    Returns:
        (bytes,) uint8; to be read with `.view(fingerprint_type(...))`.
    """
    record = np.zeros(1, fingerprint_type(len(looks), model.size if model else 0))
    thumbnail = make_thumbnail(picture)
    record["digest"] = np.frombuffer(_digest(picture), np.uint8)
    record["thumbnail"] = np.asarray(thumbnail)
    record["hashes"] = [hash_look(thumbnail, look) for look in looks]
    if model:
        record["pixels"] = fit_image(picture, model)
    return record.view(np.uint8)


def make_thumbnail(picture: Image.Image) -> Image.Image:
    """The picture in grey, squeezed or stretched to a small square."""
    # the gap makes large pictures much quicker to reduce
    return picture.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR, reducing_gap=2.0)


def hash_look(thumbnail: Image.Image, look: Look) -> int:
    """The 64-bit perceptual hash of a part of a thumbnail.

    Half of the bits are always set, so two hashes differ in an even number of bits.
    """
    left, top, right, bottom = (round(cut * THUMBNAIL, 6) for cut in look.crop)
    box = (left, top, THUMBNAIL - right, THUMBNAIL - bottom)
    part = thumbnail.resize((_HASHED, _HASHED), Image.Resampling.BICUBIC, box=box)
    bits = imagehash.phash(ImageOps.mirror(part) if look.mirrored else part).hash
    return int.from_bytes(np.packbits(bits).tobytes())


def _digest(picture: Image.Image) -> bytes:
    """The same for the same pixels, whatever file format they came in."""
    digest = hashlib.blake2b(f"{picture.mode} {picture.size}".encode(), digest_size=DIGEST)
    digest.update(picture.tobytes())
    return digest.digest()
