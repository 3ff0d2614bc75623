"""`python:FILE.py`: what a file may say wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from coca_cli.datasets import find_dataset
from coca_cli.errors import BadExample, CocaError, MissingFile

SOUND = """
from coca_cli.datasets.example import Dataset, Example, Prompts
SET = Dataset(name={name!r}, task={task!r}, splits={splits!r}, source="", licence="", layout="", prompts={prompts},
              read=lambda root, split: iter([Example(id="1", media=(), label=0)]))
"""


def text(
    name: str = "mine", task: str = "classification", splits: tuple[str, ...] = ("test",), prompts: str = ""
) -> str:
    words = 'lambda root: Prompts(("a",), ("{c}",))'
    return SOUND.format(name=name, task=task, splits=splits, prompts=prompts or words)


def test_a_file_is_a_dataset(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text())
    dataset = find_dataset(f"python:{file}")
    assert (dataset.name, [example.id for example in dataset.read(tmp_path, "test")]) == ("mine", ["1"])


@pytest.mark.parametrize(
    ("written", "error", "message"),
    [
        ("", BadExample, r"mine\.py describes 0 datasets: at its end there must be one value of type Dataset"),
        (text() + text("other").replace("SET", "OTHER"), BadExample, "describes 2 datasets"),
        (text("imagenet"), CocaError, "calls its dataset imagenet, as another one is called"),
        (text(task="naming"), BadExample, "the task 'naming' is none of classification, captions"),
        (text(splits=()), BadExample, "a dataset needs a name and at least one split"),
        (text(prompts="None"), BadExample, "a dataset with classes needs prompts, a function that gives their names"),
        ("x = 1\ny = 1 / 0\n", BadExample, r"mine\.py, line 2, stops with ZeroDivisionError: division by zero"),
        ("def broken(:\n", BadExample, r"mine\.py, line 1, stops with SyntaxError"),
        ("raise __import__('coca_cli.errors').errors.MissingFile('gone')", MissingFile, "gone"),
    ],
)
def test_what_is_wrong_is_named(written: str, error: type[CocaError], message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(written)
    with pytest.raises(error, match=message):
        find_dataset(f"python:{file}")


def test_it_must_be_a_python_file_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"there is no file .*: give one that describes a dataset in Python"):
        find_dataset(f"python:{tmp_path}/none.py")
    (tmp_path / "mine.txt").write_text(text())
    with pytest.raises(BadExample, match=r"is no Python file by its name: it must end in \.py"):
        find_dataset(f"python:{tmp_path}/mine.txt")
