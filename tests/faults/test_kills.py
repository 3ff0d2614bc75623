"""Commands that are killed at random moments: the next run of the same command gives what an undisturbed one gives."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from coca_cli.store import Store
from tests.commands.squares import save_model, save_pictures
from tests.faults.forked import run, run_killed
from tests.training.runs import words as pretrain_words

KILLS, ATTEMPTS = 7, 60
"""Of each command; eight commands make more than fifty. Some attempts come too late."""

DONE = "is there already"
"""What a command says that wrote its file and was killed before it ended."""

SUITE = """
[defaults]
limit = 60
precision = "fp32"
[[benchmark]]
task = "zeroshot"
dataset = "digits"
[[benchmark]]
task = "retrieval"
dataset = "scenes"
"""


class World(NamedTuple):
    """What commands work with: a model, pictures, and a folder of their own."""

    model: Path
    pictures: Path
    folder: Path

    @property
    def fixed(self) -> list[object]:
        """Where results and features go."""
        return ["--results", self.folder / "results", "--cache-dir", self.folder / "cache", "--precision", "fp32"]


class Command(NamedTuple):
    """A command that is killed.

    Attributes:
        words: The command line.
        outcome: What it must come to, read from the folder.
    """

    words: Callable[[World], list[object]]
    outcome: Callable[[World], Any]


def _values(world: World) -> list[tuple[object, ...]]:
    found = Store(world.folder / "results").rows()
    return sorted({(row.task, row.dataset, row.split, row.metric, row.value, row.n) for row in found})


def _weights(name: str) -> Callable[[World], Any]:
    def read(world: World) -> Any:
        return load_file(world.folder / name / "model.safetensors")

    return read


def _embedded(world: World) -> Any:
    with np.load(world.folder / "out.npz") as found:
        return {"ids": found["ids"].tolist(), "embeddings": torch.from_numpy(found["embeddings"])}


def _captions(world: World) -> Any:
    return [json.loads(line) for line in (world.folder / "out.jsonl").read_text().splitlines()]


def _suite_words(world: World) -> list[object]:
    (world.folder / "mine.toml").write_text(SUITE)
    named = ["--results", world.folder / "results", "--cache-dir", world.folder / "cache"]
    return ["suite", "run", world.folder / "mine.toml", "-m", world.model, *named]


def _finetune_words(world: World) -> list[object]:
    settings = ["--steps", 20, "--save-every", 4, "--batch-size", 8, "--precision", "fp32", "--eval-every", 10]
    return [
        *("finetune", "classification", "-m", world.model, "-d", f"folder:{world.pictures}"),
        *(*settings, "-o", world.folder / "finetuned"),
    ]


def _probe_words(world: World) -> list[object]:
    settings = ["--steps", 40, "--head-batch-size", 16, "--learning-rates", "0.003,0.03", "-o", world.folder / "probe"]
    return ["probe", "-m", world.model, "-d", f"folder:{world.pictures}", *settings, *world.fixed]


COMMANDS = {
    "pretrain": Command(lambda world: [*pretrain_words(world.folder / "run")], _weights("run")),
    "finetune": Command(_finetune_words, _weights("finetuned")),
    "probe": Command(_probe_words, _values),
    "embed": Command(
        lambda world: [
            *("embed", world.pictures, "-m", world.model, "-o", world.folder / "out.npz", "--batch-size", 4),
            *("--cache-dir", world.folder / "cache", "--precision", "fp32", "--overwrite"),
        ],
        _embedded,
    ),
    "caption": Command(
        lambda world: [
            *("caption", world.pictures / "test", "-m", world.model, "-o", world.folder / "out.jsonl"),
            *("--batch-size", 2, "--max-length", 8, "--precision", "fp32"),
        ],
        _captions,
    ),
    "zeroshot": Command(
        lambda world: [
            *("eval", "zeroshot", "-m", world.model, "-d", f"folder:{world.pictures}", "--batch-size", 4, *world.fixed)
        ],
        _values,
    ),
    "suite": Command(_suite_words, _values),
    "report": Command(
        lambda world: ["report", "--results", world.folder / "results", "-o", world.folder / "report.html"],
        lambda world: (world.folder / "report.html").read_text()[-20:],
    ),
}


def same(found: Any, expected: Any) -> bool:
    """Equal, tensors to the last bit."""
    if isinstance(expected, torch.Tensor):
        return torch.equal(found, expected)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    return bool(found == expected)


def prepare(name: str, folder: Path, model: Path, pictures: Path) -> World:
    world = World(model, pictures, folder)
    folder.mkdir()
    if name == "report":
        ended = run(COMMANDS["zeroshot"].words(world), folder / "first")
        assert ended.code == 0, ended.err
    return world


def look(folder: Path) -> None:
    """Nothing that stands under its final name is half written."""
    Store(folder / "results").rows()
    for run_file in (folder / "results/runs").glob("*.json"):
        json.loads(run_file.read_text())
    for weights in folder.rglob("*.safetensors"):
        if not any(part.startswith(".") for part in weights.relative_to(folder).parts):
            load_file(weights)
    report = folder / "report.html"
    assert not report.exists() or report.read_text().rstrip().endswith("</html>")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_command_that_is_killed_loses_nothing(name: str, model: Path, pictures: Path, tmp_path: Path) -> None:
    command, chance = COMMANDS[name], random.Random(name)
    undisturbed = prepare(name, tmp_path / "undisturbed", model, pictures)
    run(["--version"], tmp_path / "version")  # the first command waits for the server's imports
    whole = run(command.words(undisturbed), tmp_path / "whole")
    assert whole.code == 0, whole.err
    disturbed = prepare(name, tmp_path / "disturbed", model, pictures)
    kills = 0
    for number in range(ATTEMPTS):
        ended = run_killed(command.words(disturbed), tmp_path / f"log-{number}", chance.uniform(0, whole.seconds))
        look(disturbed.folder)
        kills += ended is None
        if kills == KILLS:
            break
        if ended is not None:
            assert ended.code == 0 or DONE in ended.err, ended.err
            assert same(command.outcome(disturbed), command.outcome(undisturbed))
            shutil.rmtree(disturbed.folder)
            disturbed = prepare(name, tmp_path / "disturbed", model, pictures)
    assert kills == KILLS
    last = run(command.words(disturbed), tmp_path / "last")
    assert last.code == 0 or DONE in last.err, last.err
    look(disturbed.folder)
    assert same(command.outcome(disturbed), command.outcome(undisturbed))
    left = [file for file in disturbed.folder.rglob("*") if file.name.endswith(".part")]
    assert len(left) <= KILLS, left
