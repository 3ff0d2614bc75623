"""`coca data dedup` as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageOps

from coca_cli.datasets.keep_lists import read_keep_list
from tests.commands.running import run
from tests.photographs import photograph


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder, seeds in (("train/a", range(8)), ("train/b", range(8, 16)), ("eval", (50, 51))):
        (tmp_path / folder).mkdir(parents=True)
        for seed in seeds:
            photograph(seed).save(tmp_path / folder / f"{seed}.jpg")
    ImageOps.mirror(photograph(9)).save(tmp_path / "eval" / "turned.jpg", quality=60)
    return tmp_path


def test_a_list_a_table_and_the_pairs(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--against", data / "eval", "-o", data / "keep.txt", "--sheet", data / "sheet.png")
    assert run("data", "dedup", data / "train", *arguments) == 0
    out = capsys.readouterr().out
    assert f"{data / 'train'}: 1 of 16 removed (6.25 %)\n" in out
    last = out.splitlines()[-1]
    assert last.startswith(f"b/9.jpg  ~  {data / 'eval'}: turned.jpg (mirrored, correlation 0.9")
    assert read_keep_list(data / "keep.txt").ids == {
        *(f"a/{seed}.jpg" for seed in range(8)),
        *(f"b/{seed}.jpg" for seed in range(8, 16) if seed != 9),
    }
    assert (data / "keep.txt.removed.csv").read_text().count("\n") == 2
    with Image.open(data / "sheet.png") as sheet:
        assert sheet.format == "PNG"


def test_pairs_are_shown_as_many_as_asked_for(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "--against",
        data / "train" / "a",
        "--against",
        data / "eval",
        "-o",
        data / "keep.txt",
        "-q",
        "--overwrite",
    )
    for more, expected in ((("--show", 0), 0), ((), 5), (("--show", 20), 9)):
        assert run("data", "dedup", data / "train", *arguments, *more) == 0
        assert capsys.readouterr().out.count("  ~  ") == expected


def test_registered_training_data(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "dedup", "digits", "--against", data / "eval", "-o", data / "keep.txt", "--limit", 40) == 0
    out, err = capsys.readouterr()
    assert "digits: 0 of 40 removed (0.00 %)" in out
    assert "only the first 40 examples" in err
    assert read_keep_list(data / "keep.txt").source == "digits"


def test_weights_without_a_model(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--against", data / "eval", "-o", data / "keep.txt", "--pretrained", "w.safetensors")
    assert run("data", "dedup", data / "train", *arguments) == 1
    assert "--pretrained w.safetensors is of no use without --model" in capsys.readouterr().err
    assert not (data / "keep.txt").exists()


def test_a_model_that_is_not_there(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--against", data / "eval", "-o", data / "keep.txt", "-m", data / "no-model")
    assert run("data", "dedup", data / "train", *arguments) == 1
    assert "no model folder" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["--against", "-o"])
def test_what_must_be_given(data: Path, missing: str) -> None:
    given = {"--against": data / "eval", "-o": data / "keep.txt"}
    words = [word for flag, value in given.items() if flag != missing for word in (flag, value)]
    assert run("data", "dedup", data / "train", *words) == 2


def test_the_training_table_is_not_replaced_by_the_list(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = data / "mine.csv"
    table.write_text("image,caption\ntrain/a/1.jpg,a picture\n")
    before = table.read_bytes()
    for more in ((), ("--overwrite",)):
        assert run("data", "dedup", table, "--against", data / "eval", "-o", table, *more) == 1
        assert f"belongs to {table}, which is read" in capsys.readouterr().err
    assert table.read_bytes() == before
