"""Splits whose files are the same files."""

from __future__ import annotations

from pathlib import Path

import pytest

from coca_cli.datasets.example import Dataset, Example, Prompts
from coca_cli.datasets.held_out import SplitNames
from coca_cli.errors import CocaError
from coca_cli.training.task_parts import select_parts


def dataset(tmp_path: Path, test: int) -> Dataset:
    """Four training examples, and four for the score of which the first has this number."""

    def read(root: Path, split: str) -> list[Example]:
        first = 0 if split == "train" else test
        return [Example(id=str(n), media=(tmp_path / f"{first + n}.jpg",), label=0) for n in range(4)]

    return Dataset(
        name="mine",
        task="classification",
        splits=("test", "train"),
        source="",
        licence="",
        layout="",
        read=read,  # type: ignore[arg-type]
        prompts=lambda root: Prompts(("a",), ("{c}",)),
    )


def test_what_is_scored_must_not_have_been_trained_on(tmp_path: Path) -> None:
    names = SplitNames("train", None, "test")
    assert len(select_parts(dataset(tmp_path, 4), tmp_path, names, None).test.examples) == 4
    with pytest.raises(CocaError, match=r"1 files of mine's split test belong to train, too, so that what is scored"):
        select_parts(dataset(tmp_path, 3), tmp_path, names, None)
