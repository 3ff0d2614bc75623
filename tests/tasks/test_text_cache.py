from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from coca_cli.datasets.example import Prompts
from coca_cli.tasks import text_cache as module
from coca_cli.tasks.text_cache import cached_texts, texts_path
from coca_cli.tasks.zeroshot import build_classifier
from tests.tasks.tiny import tiny_placed

PROMPTS = Prompts(("cat", "dog"), ("a {c}.",))


class Build:
    """Makes a classifier and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return torch.arange(6.0).view(2, 3)


def no_warning(text: str) -> None:
    pytest.fail(f"warned: {text}")


def test_the_second_run_builds_nothing(tmp_path: Path) -> None:
    build, path = Build(), tmp_path / "classifiers" / "a.safetensors"
    first = cached_texts(path, 2, build, no_warning)
    second = cached_texts(path, 2, build, no_warning)
    assert build.calls == 1
    assert torch.equal(first, second)
    assert second.dtype == torch.float32


def test_a_real_classifier_comes_back_bit_by_bit(tmp_path: Path) -> None:
    placed = tiny_placed()
    path = texts_path(tmp_path, placed, "classifiers", PROMPTS)
    made = cached_texts(path, 2, lambda: build_classifier(placed, PROMPTS), no_warning)
    found = cached_texts(path, 2, lambda: pytest.fail("built again"), no_warning)
    assert torch.equal(made, found)
    assert path.parent == tmp_path / "classifiers"


def test_one_path_for_one_model_and_its_words(tmp_path: Path) -> None:
    assert texts_path(tmp_path, tiny_placed(), "classifiers", PROMPTS) == texts_path(
        tmp_path, tiny_placed(), "classifiers", PROMPTS
    )


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": "89abcdef"},
        {"precision": "bf16"},
        {"name": "another"},
        {"device": torch.device("meta")},
    ],
)
def test_another_model_has_another_path(tmp_path: Path, change: dict[str, Any]) -> None:
    placed = tiny_placed()
    changed = replace(placed, **change)
    assert texts_path(tmp_path, placed, "classifiers", PROMPTS) != texts_path(tmp_path, changed, "classifiers", PROMPTS)


@pytest.mark.parametrize(
    "prompts",
    [
        Prompts(("cat", "dog"), ("the {c}.",)),
        Prompts(("cat", "fox"), ("a {c}.",)),
        Prompts(("dog", "cat"), ("a {c}.",)),
        Prompts(("cat",), ("dog", "a {c}.")),
    ],
)
def test_other_words_have_another_path(tmp_path: Path, prompts: Prompts) -> None:
    placed = tiny_placed()
    assert texts_path(tmp_path, placed, "classifiers", prompts) != texts_path(tmp_path, placed, "classifiers", PROMPTS)


def test_a_new_version_has_another_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = tiny_placed()
    before = texts_path(tmp_path, placed, "classifiers", PROMPTS)
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    assert texts_path(tmp_path, placed, "classifiers", PROMPTS) != before


def test_the_home_folder_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = texts_path(Path("~/.cache/coca"), tiny_placed(), "classifiers", PROMPTS)
    assert path.parent == tmp_path / ".cache" / "coca" / "classifiers"


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4)


def garble(path: Path) -> None:
    path.write_bytes(b"no tensors at all")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def rename(path: Path) -> None:
    save_file({"weights": load_file(path)["embeddings"]}, path)


def shorten(path: Path) -> None:
    save_file({"embeddings": torch.ones(1, 3)}, path)


@pytest.mark.parametrize("damage", [cut, garble, empty, rename, shorten])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    build, path = Build(), tmp_path / "a.safetensors"
    expected = cached_texts(path, 2, build, no_warning)
    damage(path)
    assert torch.equal(cached_texts(path, 2, build, no_warning), expected)
    assert torch.equal(cached_texts(path, 2, build, no_warning), expected)
    assert build.calls == 2
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    build, warnings = Build(), list[str]()
    found = cached_texts(tmp_path / "file" / "classifiers" / "a.safetensors", 2, build, warnings.append)
    assert torch.equal(found, Build()())
    assert len(warnings) == 1
    assert "embeddings of texts are not kept for the next run" in warnings[0]
    assert str(tmp_path / "file") in warnings[0]


def test_a_folder_in_the_file_s_place_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").mkdir()
    build, warnings = Build(), list[str]()
    assert torch.equal(cached_texts(tmp_path / "a.safetensors", 2, build, warnings.append), Build()())
    assert "embeddings of texts are not kept" in warnings[0]
