"""Strange and broken pictures: each is read, or named in one line; none is lost, and none stops the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coca_cli.errors import BadExample
from coca_cli.media.images import ImageSettings, fit_image, read_image
from tests.commands.running import run
from tests.commands.squares import save_model
from tests.faults.pictures import Picture, all_pictures, first_frame, strange_pictures

PICTURES = all_pictures()
SETTINGS = ImageSettings(size=32)


def name_of(picture: Picture) -> str:
    return picture.name.encode("unicode_escape").decode()


def save(folder: Path, pictures: list[Picture]) -> Path:
    folder.mkdir()
    for picture in pictures:
        (folder / picture.name).write_bytes(picture.content)
    return folder


@pytest.mark.parametrize("picture", PICTURES, ids=name_of)
def test_a_picture_is_read_or_named(picture: Picture, tmp_path: Path) -> None:
    file = tmp_path / picture.name
    file.write_bytes(picture.content)
    if not picture.readable:
        with pytest.raises(BadExample) as refused:
            read_image(file)
        assert picture.name in str(refused.value)
        assert len(str(refused.value).replace(str(file), "").splitlines()) == 1
        return
    found = read_image(file)
    assert found.mode == "RGB"
    pixels = fit_image(found, SETTINGS)
    assert pixels.shape == (3, 32, 32)
    if picture.name not in ("one-pixel.png", "one-pixel.jpg", "one-pixel-wide.png") and "animated" not in picture.name:
        assert "gif-called" in picture.name or "pages" in picture.name or pixels.std() > 10  # neither white nor black


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    for picture in strange_pictures():
        if picture.name.startswith("animated"):
            (tmp_path / picture.name).write_bytes(picture.content)
            np.testing.assert_array_equal(read_image(tmp_path / picture.name), first_frame(picture.content))


def test_a_folder_of_everything_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save(tmp_path / "found", PICTURES)
    model = save_model(tmp_path / "model")
    names = {picture.name for picture in PICTURES if picture.readable}
    assert run("embed", folder, "-m", model, "-o", tmp_path / "out.npz", "--precision", "fp32") == 0
    with np.load(tmp_path / "out.npz") as found:
        assert {Path(name).name for name in found["ids"]} == names
        assert np.isfinite(found["embeddings"]).all()
    said = capsys.readouterr()
    assert f"{len(names)} embeddings, {len(PICTURES) - len(names)} files could not be read" in said.out
    assert "Traceback" not in said.err
    assert "\x1b" not in said.out + said.err  # a name writes no escape codes on the terminal
