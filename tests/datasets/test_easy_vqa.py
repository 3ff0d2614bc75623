from __future__ import annotations

import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from coca_cli.datasets.easy_vqa import EASY_VQA
from coca_cli.datasets.example import Example
from coca_cli.errors import BadExample, MissingFile
from tests.datasets.make_samples import SAMPLES

SAMPLE = SAMPLES / "easy-vqa"


def read(root: Path, split: str = "test") -> list[Example]:
    return list(EASY_VQA.read(root, split))


def test_questions_their_answers_and_pictures() -> None:
    first, second = read(SAMPLE)
    assert (first.question, first.answer, first.texts) == ("what color is the shape?", "blue", ("blue",))
    assert first.media == (SAMPLE / "easy-vqa/test/images/0.png",)
    assert second.media == (SAMPLE / "easy-vqa/test/images/1.png",)
    assert (first.kind, second.kind) == ("what color", "is there")
    assert first.id != read(SAMPLE, "train")[0].id


def test_the_files_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "easy_vqa"
    shutil.copytree(SAMPLE / "easy-vqa", package / "data")
    module = ModuleType("easy_vqa")
    module.__spec__ = ModuleSpec("easy_vqa", None, origin=str(package / "__init__.py"))
    monkeypatch.setitem(sys.modules, "easy_vqa", module)
    (tmp_path / "empty").mkdir()
    assert read(tmp_path / "empty")[0].media == (package / "data/test/images/0.png",)
    monkeypatch.setitem(sys.modules, "easy_vqa", None)
    with pytest.raises(MissingFile, match="pip install easy-vqa"):
        read(tmp_path / "empty")


@pytest.mark.parametrize("content", ["{", '[["what?", "blue"]]', '[["what?", "blue", "first"]]', "3"])
def test_questions_that_are_damaged(tmp_path: Path, content: str) -> None:
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    (tmp_path / "easy-vqa/test/questions.json").write_text(content)
    with pytest.raises(BadExample, match=r"is no list of \[question, answer, number\]"):
        read(tmp_path)


def test_a_part_that_is_missing(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    (tmp_path / "easy-vqa/test/questions.json").unlink()
    with pytest.raises(MissingFile, match="cannot read the questions"):
        read(tmp_path)
