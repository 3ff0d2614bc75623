"""Questions with their pictures and what was answered, in one picture, to be judged by eye."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

from coca_cli.files import written_whole
from coca_cli.media.contact_sheet import FORMATS

SIDE = 160
"""Pixels of each picture's longer side."""
_GAP, _TEXT = 12, 320
_RIGHT, _WRONG, _INK, _PAPER = (22, 140, 60), (190, 40, 30), (20, 20, 20), (255, 255, 255)


class AskedPicture(NamedTuple):
    """A question and its answer.

    Attributes:
        pictures: RGB; None where one can no longer be read.
        question: In words.
        answer: What was said.
        expected: What people said; empty where nobody knows.
        accuracy: How right the answer is, from 0 to 1; None where nobody knows.
    """

    pictures: Sequence[Image.Image | None]
    question: str
    answer: str
    expected: str
    accuracy: float | None


def write_question_sheet(path: Path, asked: Sequence[AskedPicture]) -> None:
    """Write a row for each question: its pictures, itself, the answer in green or red, what people said.

    Args:
        path: A .png or .jpg file; replaced if it is there.
        asked: At least one.
    """
    columns, cell = max(len(row.pictures) for row in asked), SIDE + _GAP
    sheet = Image.new("RGB", (_GAP + columns * cell + _TEXT, _GAP + len(asked) * cell), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for number, row in enumerate(asked):
        top, left = _GAP + number * cell, _GAP + columns * cell
        for column, picture in enumerate(row.pictures):
            large = (picture or Image.new("RGB", (1, 1), "grey")).convert("RGB")
            square = ImageOps.pad(large, (SIDE, SIDE), color="lightgrey", method=Image.Resampling.BICUBIC)
            sheet.paste(square, (_GAP + column * cell, top))
        lines = textwrap.wrap(drawable(row.question), width=36, max_lines=4, placeholder=" ...")
        draw.multiline_text((left, top + 6), "\n".join(lines), fill=_INK, font=font, spacing=4)
        below = top + 16 + 24 * len(lines)
        colour = _INK if row.accuracy is None else _RIGHT if row.accuracy >= 0.5 else _WRONG
        draw.text((left, below), drawable(row.answer), fill=colour, font=font)
        if row.expected and row.accuracy is not None and row.accuracy < 1:
            draw.text((left, below + 24), f"people said: {drawable(row.expected)}", fill=_INK, font=font)
    with written_whole(path) as temporary:
        sheet.save(temporary, FORMATS[path.suffix.lower()])


def drawable(text: str) -> str:
    """The text in letters that every font has which Pillow finds."""
    return text.encode("ascii", "replace").decode()
