"""`coca data list | tokenizer` as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from coca_cli.datasets import DATASETS
from coca_cli.model.tokenizer import load_sentencepiece
from tests.commands.running import run

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
