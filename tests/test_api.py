"""`coca_cli.load` and `evaluate` against the commands that they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import coca_cli
from coca_cli import evaluate, load
from coca_cli.errors import CocaError, MissingFile, UnknownName
from tests.commands.running import run
from tests.commands.squares import save_model, save_pictures
from tests.tasks.writer import save_writer

SAME = (
    "task",
    "dataset",
    "split",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "model",
    "checkpoint",
    "settings",
    "precision",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_writer(tmp_path_factory.mktemp("models") / "writer")


def rows_of(store: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("task", "words", "dataset", "options"),
    [
        ("zeroshot", ("eval", "zeroshot", "--limit", 30), "digits", {"limit": 30}),
        (
            "retrieval",
            ("eval", "retrieval", "--limit", 30, "--prompt", "so {}"),
            "scenes",
            {"limit": 30, "prompt": "so {}"},
        ),
        ("probe", ("probe", "--head", "knn", "--limit", 300), "digits", {"head": "knn", "limit": 300}),
    ],
)
def test_its_rows_are_the_commands(
    task: str, words: tuple[object, ...], dataset: str, options: dict[str, Any], model: Path, tmp_path: Path
) -> None:
    fixed = ("-m", model, "-d", dataset, "--precision", "fp32", "--no-cache")
    assert run(*words, *fixed, "--results", tmp_path / "typed") == 0
    loaded = load(model, precision="fp32")
    table = evaluate(loaded, task, dataset, results=tmp_path / "called", cache=False, quiet=True, **options)
    typed, called = rows_of(tmp_path / "typed"), rows_of(tmp_path / "called")
    assert [[row[name] for name in SAME] for row in called] == [[row[name] for name in SAME] for row in typed]
    assert table["value"].tolist() == [row["value"] for row in called]


def test_pictures_of_a_data_root_are_found(tmp_path: Path) -> None:
    pictures, results = save_pictures(tmp_path / "pictures"), tmp_path / "results"
    loaded = load(save_model(tmp_path / "model"), precision="fp32")
    templates = tmp_path / "templates.txt"
    templates.write_text("a {c} square\n")
    words: dict[str, Any] = {"results": results, "cache_dir": tmp_path / "cache", "quiet": True, "data_root": tmp_path}
    table = evaluate(loaded, "zeroshot", f"folder:{pictures}", templates=templates, split="test", **words)
    assert set(table["n"]) == {30}
    assert (tmp_path / "cache").is_dir()


@pytest.mark.parametrize(
    ("task", "dataset", "options", "error", "message"),
    [
        ("zero-shot", "digits", {}, UnknownName, r"unknown task 'zero-shot'\. Did you mean zeroshot\?"),
        ("zeroshot", "digit", {}, UnknownName, "Did you mean digits"),
        ("zeroshot", "digits", {"limits": 3}, UnknownName, "unknown option 'limits'. Did you mean limit"),
        (
            "zeroshot",
            "digits",
            {"precision": "bf16"},
            CocaError,
            r"evaluate\(\) takes no precision: a model has it from",
        ),
        ("zeroshot", "digits", {"limit": "many"}, CocaError, "has a value that is refused"),
        ("zeroshot", "videos:nowhere.csv", {}, MissingFile, "nowhere"),
        (
            "understanding",
            "scene-questions",
            {},
            CocaError,
            ", and the task understanding needs a folder that",
        ),
    ],
)
def test_what_the_user_can_mend(
    task: str, dataset: str, options: dict[str, Any], error: type[CocaError], message: str, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        evaluate(load(model), task, dataset, results=tmp_path, cache=False, **options)


def test_the_door_is_light() -> None:
    code = "import sys, coca_cli; coca_cli.__version__; assert not {'torch', 'pandas'} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        coca_cli.nonsense  # noqa: B018
