"""Texts and the pictures that a model finds for them, in one picture, to be judged by eye."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

from coca_cli.files import written_whole
from coca_cli.media.contact_sheet import FORMATS
from coca_cli.media.question_sheet import drawable

SIDE = 160
"""Pixels of each picture's longer side."""
_GAP, _FRAME, _TEXT, _HEAD = 12, 5, 260, 30
_RIGHT, _INK, _PAPER = (22, 140, 60), (20, 20, 20), (255, 255, 255)


class Query(NamedTuple):
    """A text and what was found for it.

    Attributes:
        text: What was looked for.
        found: RGB pictures, the best first; None where one can no longer be read.
        right: For each of them, whether the text is its caption.
        place: The place of the right one among all.
        total: How many were searched.
    """

    text: str
    found: Sequence[Image.Image | None]
    right: Sequence[bool]
    place: int
    total: int


def write_retrieval_grid(path: Path, queries: Sequence[Query]) -> None:
    """Write a row for each text: itself, its place, and the pictures found; the right one has a green frame.

    Args:
        path: A .png or .jpg file; replaced if it is there.
        queries: At least one.
    """
    columns = max(len(query.found) for query in queries)
    cell = SIDE + 2 * _FRAME + _GAP
    grid = Image.new("RGB", (_GAP + _TEXT + columns * cell, _HEAD + len(queries) * cell + _GAP), _PAPER)
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(size=15)
    for column in range(columns):
        draw.text((_GAP + _TEXT + column * cell, _GAP - 4), f"{column + 1}", fill=_INK, font=font)
    for row, query in enumerate(queries):
        top = _HEAD + row * cell
        words = textwrap.wrap(drawable(query.text), width=30, max_lines=6, placeholder=" ...")
        draw.multiline_text((_GAP, top), "\n".join(words), fill=_INK, font=font, spacing=4)
        place = f"found at place {query.place:,} of {query.total:,}"
        colour = _RIGHT if any(query.right) else _INK
        draw.text((_GAP, top + SIDE - 12), place, fill=colour, font=font)
        for column, (picture, right) in enumerate(zip(query.found, query.right, strict=True)):
            left = _GAP + _TEXT + column * cell
            if right:
                side = SIDE + 2 * _FRAME
                draw.rectangle((left, top, left + side - 1, top + side - 1), fill=_RIGHT)
            square = ImageOps.pad(picture or Image.new("RGB", (1, 1), "grey"), (SIDE, SIDE), color="lightgrey")
            grid.paste(square, (left + _FRAME, top + _FRAME))
    with written_whole(path) as temporary:
        grid.save(temporary, FORMATS[path.suffix.lower()])
