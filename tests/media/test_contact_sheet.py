from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coca_cli.datasets.example import Pixels
from coca_cli.errors import CocaError
from coca_cli.media.contact_sheet import SIDE, Pair, check_sheet_path, write_contact_sheet

RED, BLUE = (250, 10, 10), (10, 10, 250)


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (20, 20)) -> Pixels:
    return Pixels(np.full((*size, 3), colour, np.uint8), "plain")


def colour_at(path: Path, x: int, y: int) -> tuple[int, ...]:
    with Image.open(path) as sheet:
        return tuple(np.asarray(sheet.convert("RGB"))[y, x].tolist())


def test_pairs_stand_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    write_contact_sheet(path, [Pair(plain(RED), plain(BLUE), 0, "a ~ b")] * 4)
    with Image.open(path) as sheet:
        width, height = sheet.width // 3, sheet.height // 2
        assert sheet.height == 2 * height
    for column in range(3):
        assert colour_at(path, column * width + 8 + SIDE // 2, SIDE // 2) == RED
        assert colour_at(path, column * width + 16 + SIDE * 3 // 2, SIDE // 2) == BLUE
    assert colour_at(path, 8 + SIDE // 2, height + SIDE // 2) == RED
    assert colour_at(path, width + 8 + SIDE // 2, height + SIDE // 2) == (255, 255, 255)


def test_the_text_is_written_below_and_its_end_is_never_lost(tmp_path: Path) -> None:
    short, long = tmp_path / "short.png", tmp_path / "long.png"
    name = "größe/" + 60 * "name "
    for path, text in ((short, name), (long, f"{name} (correlation 0.98)")):
        write_contact_sheet(path, [Pair(plain(RED), plain(BLUE), 0, text)])
    below = [np.asarray(Image.open(path).convert("L"))[8 + SIDE + 2 :] for path in (short, long)]
    assert below[0].min() < 128
    assert not np.array_equal(*below)
    assert (below[1][:, -4:] == 255).all()  # nothing is cut off at the edge


def test_a_border_is_cut_off_and_a_missing_picture_is_grey(tmp_path: Path) -> None:
    framed = np.full((20, 20, 3), RED, np.uint8)
    framed[2:-2, 2:-2] = BLUE
    path = tmp_path / "sheet.png"
    write_contact_sheet(path, [Pair(tmp_path / "gone.jpg", Pixels(framed, "framed"), 2, "")])
    assert colour_at(path, 16 + SIDE + 2, 10) == BLUE
    assert colour_at(path, 8 + SIDE // 2, SIDE // 2) == (211, 211, 211)


@pytest.mark.parametrize("name", ["sheet.jpg", "SHEET.JPEG"])
def test_a_jpeg(tmp_path: Path, name: str) -> None:
    check_sheet_path(tmp_path / name)
    write_contact_sheet(tmp_path / name, [Pair(plain(RED), plain(BLUE), 0, "a")])
    with Image.open(tmp_path / name) as sheet:
        assert sheet.format == "JPEG"


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CocaError, match=r"the file must end in \.png or \.jpg, which says its format"):
        check_sheet_path(tmp_path / "sheet.pdf")
