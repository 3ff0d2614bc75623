"""`coca data list | tokenizer | pack` as a user runs them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from coca_cli.datasets import DATASETS
from coca_cli.datasets.sources import find_source
from coca_cli.media.images import read_image
from coca_cli.model.tokenizer import load_sentencepiece
from tests.commands.running import run
from tests.datasets.make_samples import SAMPLES
from tests.pictures import drawn


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


# --- check ---


def test_what_is_there_and_what_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("nlvr2", "objectnet"):
        shutil.copytree(SAMPLES / name, tmp_path, dirs_exist_ok=True)
    assert run("data", "check", "--data-root", tmp_path) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "nlvr2 dev 3 6,982 0 incomplete" in out
    assert "nlvr2 dev: its files list 3 examples, not 6,982. Fetch it again, or what is missing of it" in out
    assert "objectnet test 3 0 complete" in out
    assert "Not there: cifar10, cifar100, coco," in out
    assert run("data", "check", "objectnet", "--data-root", tmp_path) == 0
    assert "Not there" not in capsys.readouterr().out


def test_a_set_that_was_named_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "check", "imagenet", "--data-root", tmp_path) == 1
    out = capsys.readouterr().out
    assert "imagenet/val/WNID/*.JPEG" in out
    assert run("data", "check", "--data-root", tmp_path) == 1
    assert "coca data list says which files they need" in " ".join(capsys.readouterr().out.split())
    assert run("data", "check", "imagenett", "--data-root", tmp_path) == 1
    assert "Did you mean imagenet or" in capsys.readouterr().err


def test_missing_and_damaged_files_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(SAMPLES / "nlvr2", tmp_path, dirs_exist_ok=True)
    (tmp_path / "nlvr2/images/dev/dev-850-0-img1.png").unlink()
    (tmp_path / "nlvr2/test1.json").write_text("{")
    assert run("data", "check", "nlvr2", "--data-root", tmp_path) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "2 of 3 lack a file, such as" in out
    assert "nlvr2 test-p: " in out
    assert "damaged" in out


def test_a_folder_of_ones_own_is_checked_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "check", f"folder:{SAMPLES / 'folder'}", "--data-root", tmp_path) == 0
    assert "complete" in capsys.readouterr().out
