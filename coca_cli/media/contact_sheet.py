"""Pairs of pictures side by side in one picture, to be judged by eye."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

from coca_cli.datasets.example import Medium
from coca_cli.errors import BadExample, CocaError
from coca_cli.files import make_folder, written_whole
from coca_cli.media.images import read_image

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
COLUMNS = 3
SIDE = 180
"""Pixels of each picture's longer side."""
_GAP, _TEXT = 8, 32


class Pair(NamedTuple):
    """Two pictures that are said to be one.

    Attributes:
        left: The first.
        right: The second.
        border: Pixels to cut from each side of the second.
        text: What is written below them.
    """

    left: Medium
    right: Medium
    border: int
    text: str


def check_sheet_path(path: Path, option: str = "--sheet") -> None:
    """See before the work that the sheet can be written.

    Args:
        path: The file.
        option: What named it.

    Raises:
        CocaError: Another ending than .png or .jpg, or a folder that cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise CocaError(f"{option} {path}: the file must end in .png or .jpg, which says its format")
    make_folder(path.parent)


def write_contact_sheet(path: Path, pairs: Sequence[Pair]) -> None:
    """Write the pairs in rows of three, each with its text below.

    Args:
        path: A .png or .jpg file; replaced if it is there.
        pairs: At least one.
    """
    width, height = 2 * SIDE + 3 * _GAP, SIDE + _GAP + _TEXT
    rows = -(-len(pairs) // COLUMNS)
    sheet = Image.new("RGB", (width * min(COLUMNS, len(pairs)), height * rows), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for number, pair in enumerate(pairs):
        left, top = number % COLUMNS * width + _GAP, number // COLUMNS * height + _GAP
        sheet.paste(_fitted(pair.left, 0), (left, top))
        sheet.paste(_fitted(pair.right, pair.border), (left + SIDE + _GAP, top))
        for line, text in enumerate(_lines(pair.text, draw, font, width - 2 * _GAP)):
            draw.text((left, top + SIDE + 2 + 14 * line), text, fill="black", font=font)
    with written_whole(path) as temporary:
        sheet.save(temporary, FORMATS[path.suffix.lower()])


def _fitted(medium: Medium, border: int) -> Image.Image:
    """The picture in a grey square; the square alone where it can no longer be read."""
    square = (SIDE, SIDE)
    try:
        return ImageOps.pad(read_image(medium, border), square, color="lightgrey")
    except BadExample:
        return Image.new("RGB", square, "lightgrey")


def _lines(
    text: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[str]:
    """Two lines of text: as much as fits on the first one, and the end of the rest, where the numbers stand."""
    drawable = text.encode("ascii", "replace").decode()  # other letters are not in every font that Pillow finds
    first = len(drawable)
    while draw.textlength(drawable[:first], font=font) > width:
        first -= 1
    second = first
    while draw.textlength(drawable[second:], font=font) > width:
        second += 1
    return [drawable[:first], drawable[second:]]
