from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from coca_cli.media.retrieval_grid import SIDE, Query, write_retrieval_grid

RED, BLUE, GREEN = (250, 10, 10), (10, 10, 250), (22, 140, 60)
LEFT, TOP, CELL = 12 + 260, 30, SIDE + 10 + 12


def plain(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (40, 40), colour)


def colour_at(path: Path, x: int, y: int) -> tuple[int, ...]:
    with Image.open(path) as grid:
        return tuple(np.asarray(grid.convert("RGB"))[y, x].tolist())


def test_each_text_has_a_row_and_the_right_picture_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    rows = [
        Query("a red one", [plain(RED), plain(BLUE)], [True, False], 1, 1000),
        Query("a blue one", [plain(RED), plain(BLUE)], [False, True], 2, 1000),
    ]
    write_retrieval_grid(path, rows)
    for row, right in enumerate((0, 1)):
        for column, colour in enumerate((RED, BLUE)):
            left, top = LEFT + column * CELL, TOP + row * CELL
            assert colour_at(path, left + 5 + SIDE // 2, top + 5 + SIDE // 2) == colour
            assert (colour_at(path, left + 2, top + SIDE // 2) == GREEN) == (column == right)


def test_the_text_is_written(tmp_path: Path) -> None:
    grids = []
    for number, text in enumerate(("", "größe 漢字 " * 100)):
        path = tmp_path / f"{number}.png"
        write_retrieval_grid(path, [Query(text, [plain(RED)], [False], 7, 9)])
        with Image.open(path) as grid:
            grids.append(np.asarray(grid.convert("L"))[TOP : TOP + 120, :260])
    assert grids[0].min() == 255
    assert (grids[1] < 128).sum() > 200


def test_a_picture_that_is_lost_is_grey(tmp_path: Path) -> None:
    path = tmp_path / "grid.jpg"
    write_retrieval_grid(path, [Query("a", [None, plain(RED)], [False, False], 3, 4)])
    middle = colour_at(path, LEFT + 5 + SIDE // 2, TOP + 5 + SIDE // 2)
    assert max(middle) - min(middle) < 8
    with Image.open(path) as grid:
        assert grid.format == "JPEG"
