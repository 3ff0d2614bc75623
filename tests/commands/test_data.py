"""`coca data list | tokenizer | pack` as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from coca_cli.datasets import DATASETS
from coca_cli.datasets.sources import find_source
from coca_cli.media.images import read_image
from coca_cli.model.tokenizer import load_sentencepiece
from tests.commands.running import run
from tests.pictures import drawn

SAMPLES = Path(__file__).parent.parent / "samples"


def test_list_names_every_dataset_and_its_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "list") == 0
    out = capsys.readouterr().out
    for name in DATASETS.names():
        assert f"\n{name}" in out
    assert "imagenet/val/WNID/*.JPEG" in out


def test_tokenizer_learns_from_a_text_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions, model = tmp_path / "captions.txt", tmp_path / "words.model"
    captions.write_text("A red Seven on the left\na small blue two\n\nthree green digits\n" * 20)
    assert run("data", "tokenizer", captions, "-o", model, "--vocab-size", 60) == 0
    assert capsys.readouterr().out == f"{model}\n"
    tokenizer = load_sentencepiece(model, context=16)
    assert tokenizer.decode(tokenizer.encode(["A Red seven"])[0].tolist()) == "a red seven"


def test_tokenizer_learns_from_training_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "words.model"
    assert run("data", "tokenizer", SAMPLES / "folder", "-o", model, "--vocab-size", 500) == 0
    assert "the captions gave" in capsys.readouterr().err
    assert model.is_file()


def test_tokenizer_refuses_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "tokenizer", tmp_path / "none.txt", "-o", tmp_path / "words.model") == 1
    assert "there is no caption file" in capsys.readouterr().err


def test_pack_writes_shards_of_any_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "shards"
    words = (SAMPLES / "pairs" / "pairs.csv", f"labels:{SAMPLES / 'folder'}", "-o", out, "--shard-size", 2)
    assert run("data", "pack", *words) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out}: 6 pictures in 3 shards\n"
    assert f"--data pairs:{out} --data labels:{out}" in captured.err
    assert sorted(path.name for path in out.glob("*.tar")) == ["00000.tar", "00001.tar", "00002.tar"]

    assert run("data", "pack", *words) == 1
    assert "replace them with --overwrite" in capsys.readouterr().err
    assert run("data", "pack", *words, "--overwrite", "--quiet", "--limit", 1, "--shorter-side", 4) == 0
    assert capsys.readouterr() == (f"{out}: 2 pictures in 1 shards\n", "")
    example, *_ = find_source(str(out), tmp_path).read()
    assert min(read_image(example.media[0]).size) == 4


def test_pack_says_how_many_pictures_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{number}.jpg" for number in range(25)]
    for name in names[1:]:
        drawn(1).save(tmp_path / name)
    (tmp_path / "0.jpg").write_bytes(b"")
    (tmp_path / "a.csv").write_text("image,caption\n" + "".join(f"{name},a cat\n" for name in names))
    assert run("data", "pack", tmp_path / "a.csv", "-o", tmp_path / "out") == 0
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'out'}: 24 pictures in 1 shards, 1 left out\n"
    assert "0.jpg: not a picture that can be read" in captured.err


def test_the_captions_are_not_replaced_by_the_vocabulary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions, model = tmp_path / "captions.txt", tmp_path / "words.model"
    captions.write_text("A red seven on the left\nthree green digits\n" * 20)
    for more in ((), ("--overwrite",)):
        assert run("data", "tokenizer", captions, "-o", captions, "--vocab-size", 40, *more) == 1
        assert f"belongs to {captions}, which is read" in capsys.readouterr().err
    assert captions.read_text().startswith("A red seven")
    model.write_text("mine")
    words = ("data", "tokenizer", captions, "-o", model, "--vocab-size", 40)
    assert run(*words) == 1
    assert "replace it with --overwrite" in capsys.readouterr().err
    assert model.read_text() == "mine"
    assert run(*words, "--overwrite") == 0
    assert load_sentencepiece(model, context=16)
