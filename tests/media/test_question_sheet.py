from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coca_cli.media.question_sheet import SIDE, AskedPicture, drawable, write_question_sheet


def red(size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGB", size, (255, 0, 0))


def read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_row_for_each_question_with_all_its_pictures(tmp_path: Path) -> None:
    rows = [
        AskedPicture([red(), red((4, 8))], "are both red?", "yes", "yes", 1.0),
        AskedPicture([red(), None], "why " * 60, "so", "because", 0.0),
    ]
    write_question_sheet(tmp_path / "sheet.png", rows)
    pixels = read(tmp_path / "sheet.png")
    assert pixels.shape[0] > 2 * SIDE
    assert pixels.shape[1] > 2 * SIDE
    assert (pixels[20, 20] == (255, 0, 0)).all()
    write_question_sheet(tmp_path / "other.jpg", [AskedPicture([red()], "which?", "ü", "", None)])
    with Image.open(tmp_path / "other.jpg") as written:
        assert written.format == "JPEG"


def test_right_and_wrong_answers_have_their_colours(tmp_path: Path) -> None:
    def colours(accuracy: float | None) -> set[str]:
        path = tmp_path / "sheet.png"
        write_question_sheet(path, [AskedPicture([], "which?", "MMMM", "x", accuracy)])
        right = read(path).astype(int)
        green = (right[..., 1] > right[..., 0] + 60).any()
        crimson = (right[..., 0] > right[..., 1] + 60).any()
        return {name for name, there in (("green", green), ("red", crimson)) if there}

    assert colours(1.0) == {"green"}
    assert colours(0.0) == {"red"}
    assert colours(None) == set()


def test_letters_that_fonts_lack() -> None:
    assert drawable("é ü") == "? ?"
