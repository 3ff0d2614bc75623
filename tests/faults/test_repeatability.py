"""The same command gives the same numbers; what can move a number tells rows apart, and nothing else does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from coca_cli.cli import app
from tests.commands.asked import save_answerless_model, save_questions
from tests.commands.running import run
from tests.commands.squares import save_model, save_pictures
from tests.tasks.writer import save_writer

IDENTITY = ("task", "dataset", "dataset_version", "split", "model", "checkpoint", "settings", "seed", "precision")
"""What tells rows of one metric apart."""

SAME: dict[str, tuple[object, ...]] = {
    "--data-root": ("--data-root", "{work}"),
    "--batch-size": ("--batch-size", 3),
    "--device": ("--device", "cpu"),
    "--workers": ("--workers", 0),
    "--strict": ("--strict",),
    "--cache-dir": ("--cache-dir", "{work}/another"),
    "--cache": ("--no-cache",),
    "--cache-budget": ("--cache-budget", 2),
    "--output": ("--output", "{work}/another-output"),
    "--overwrite": ("--overwrite",),
    "--predictions": ("--predictions", "{work}/p.csv"),
    "--grid": ("--grid", "{work}/g.png"),
    "--save": ("--save", "{work}/saved.json"),
    "--draw": ("--draw", "{work}/drawn.png"),
    "--format": ("--format", "json"),
    "--quiet": ("--quiet",),
    "--verbose": (),  # what is logged is logged by the whole process
    "--java": (),  # not every machine has one of its own
}
"""Options that cannot move a number, and words that change each."""

MOVING: dict[str, tuple[object, ...]] = {
    "--precision": ("--precision", "bf16"),
    "--limit": ("--limit", 5),
    "--image-size": ("--image-size", 48),
}
GIVEN_BY_THE_TEST = {"--results", "--model", "--dataset", "--pretrained", "--recipe"}
"""Which model, which data: they have columns of their own. A recipe is a name for other options."""


class Asked(NamedTuple):
    """A command whose options are all tried.

    Attributes:
        words: The command as it is first run.
        moving: Options of its own that can move a number, and words that change each.
        same: Options of its own that cannot.
        clips: Options that count where clips are read, and not for pictures.
        beside: Options that count beside others alone, and those others.
        in_place_of: Options that stand in the place of another one of `words`.
    """

    words: tuple[object, ...]
    moving: dict[str, tuple[object, ...]]
    same: dict[str, tuple[object, ...]] = {}  # noqa: RUF012 - a named tuple never changes it
    clips: tuple[str, ...] = ()
    beside: dict[str, tuple[object, ...]] = {}  # noqa: RUF012
    in_place_of: dict[str, str] = {}  # noqa: RUF012


FRAMES = ("--frames", "--sampling", "--frame-mean")
UNFROZEN = ("--no-frozen", "--output", "{work}/another-output")
SEEDED = {"--seed": ("--seed", 3)}
COMMANDS = {
    ("eval", "zeroshot"): Asked(
        ("-m", "{model}", "-d", "folder:{pictures}", "--limit", 12),
        {
            **SEEDED,
            "--split": ("--split", "train"),
            "--classnames": ("--classnames", "{work}/names.txt"),
            "--templates": ("--templates", "{work}/templates.txt"),
        },
        clips=FRAMES,
    ),
    ("eval", "retrieval"): Asked(
        ("-m", "{writer}", "-d", "scenes", "--limit", 12),
        {
            **SEEDED,
            "--split": ("--split", "train"),
            "--captions-per-image": ("--captions-per-image", "first"),
            "--prompt": ("--prompt", "a photo of {{}}"),
        },
        {"--protocol": ()},  # the built-in set has one
        FRAMES,
    ),
    ("eval", "caption"): Asked(
        ("-m", "{writer}", "-d", "scenes", "--limit", 6, "--max-length", 5),
        {
            **SEEDED,
            "--split": ("--split", "train"),
            "--captions": (),  # another source of captions: see its own tests
            "--partial": ("--partial",),
            "--decoding": ("--decoding", "greedy"),
            "--beams": ("--beams", 2),
            "--length-penalty": ("--length-penalty", 0.5),
            "--min-length": ("--min-length", 2),
            "--max-length": ("--max-length", 6),
            "--temperature": ("--temperature", 0.5),
            "--top-k": ("--top-k", 3),
            "--top-p": ("--top-p", 0.5),
            "--repetition-penalty": ("--repetition-penalty", 1.2),
            "--prefix": ("--prefix", "a"),
        },
        clips=("--frames", "--sampling"),
        beside=dict.fromkeys(("--temperature", "--top-k", "--top-p"), ("--decoding", "sample")),
    ),
    ("eval", "understanding"): Asked(
        ("-m", "{answerer}", "-d", "questions:{asked}", "--limit", 12),
        {
            **SEEDED,
            "--split": ("--split", "train"),
            "--answers": (),  # answers without a model: see its own tests
            "--shuffle-pictures": ("--shuffle-pictures",),
        },
        {"--question-types": ("--question-types",)},
    ),
    ("eval", "classification"): Asked(
        ("-m", "{classifier}", "-d", "folder:{pictures}"),
        {**SEEDED, "--split": ("--split", "train")},
        {"--backbone": ("--backbone", "{work}/moved")},
        ("--views", "--span", "--crops"),
    ),
    ("probe",): Asked(
        (
            *("-m", "{model}", "-d", "folder:{pictures}", "--steps", 4, "--head-batch-size", 8),
            *("--learning-rates", "1e-3", "--weight-decays", "0"),
        ),
        {
            **SEEDED,
            "--split": ("--split", "valid"),
            "--train-split": ("--train-split", "valid"),
            "--val-split": ("--val-split", "valid"),
            "--val-part": ("--val-part", 0.2),
            "--frozen": UNFROZEN,
            "--encoder-learning-rate": ("--encoder-learning-rate", 1e-3),
            "--head": ("--head", "linear"),
            "--features": ("--features", "mean"),
            "--learning-rates": ("--learning-rates", "1e-3,2e-3"),
            "--weight-decays": ("--weight-decays", "0,0.01"),
            "--steps": ("--steps", 5),
            "--epochs": ("--epochs", 1),
            "--head-batch-size": ("--head-batch-size", 16),
            "--warmup": ("--warmup", 0.5),
            "--decay": ("--decay", "linear"),
            "--optimizer": ("--optimizer", "adamw"),
            "--clip": ("--clip", 0.5),
            "--ema": ("--ema", 0.9),
            "--label-smoothing": ("--label-smoothing", 0.2),
            "--min-crop": ("--min-crop", 0.5),
            "--flip": ("--flip",),
            "--turn": ("--turn",),
            "--rand-augment": ("--rand-augment", "2,15"),
            "--shots": ("--shots", 2),
            "--draws": ("--draws", 2),
            "--limit": ("--limit", 60),
        },
        clips=("--frames", "--sampling", "--times"),
        beside={
            "--encoder-learning-rate": UNFROZEN,
            "--features": ("--head", "linear"),
            "--draws": ("--shots", 2),
        },
        in_place_of={"--epochs": "--steps"},
    ),
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    save_model(folder / "model")
    save_writer(folder / "writer")
    save_pictures(folder / "pictures")
    save_questions(folder / "asked")
    save_answerless_model(folder / "untaught")
    settings = ("--steps", 4, "--batch-size", 8, "--precision", "fp32")
    words = ("-m", folder / "untaught", "-d", f"questions:{folder}/asked/asked.jsonl", *settings)
    assert run("finetune", "vqa", *words, "-o", folder / "answerer") == 0
    shutil.copytree(folder / "pictures/test", folder / "pictures/valid")
    words = ("-m", folder / "model", "-d", f"folder:{folder}/pictures", "--steps", 4, "--precision", "fp32")
    assert run("probe", *words, "-o", folder / "classifier", "--results", folder / "results") == 0
    shutil.copytree(folder / "model", folder / "moved")
    (folder / "names.txt").write_text("azure\nemerald\nscarlet\n")
    (folder / "templates.txt").write_text("a drawing of a {c}.\n")
    return folder


def identities(work: Path, command: tuple[str, ...], words: tuple[object, ...]) -> set[tuple[object, ...]]:
    """What tells the rows of this command from others; it is run."""
    store = work / "results"
    shutil.rmtree(store, ignore_errors=True)
    shutil.rmtree(work / "another-output", ignore_errors=True)
    places = {name: work / name for name in ("model", "writer", "pictures", "answerer", "classifier")}
    filled = [str(word).format(work=work, asked=work / "asked/asked.jsonl", **places) for word in words]
    assert run(*command, *filled, "--results", store) == 0, filled
    rows = [json.loads(line) for line in (store / "results.jsonl").read_text().splitlines()]
    return {tuple(row[name] for name in IDENTITY) for row in rows}


def options(command: tuple[str, ...]) -> list[str]:
    found = typer.main.get_command(app)
    for word in command:
        found = found.commands[word]  # type: ignore[attr-defined]
    return [parameter.opts[0] for parameter in found.params]


@pytest.mark.slow
@pytest.mark.parametrize("command", list(COMMANDS), ids=" ".join)
def test_rows_differ_exactly_where_a_setting_can_move_the_number(command: tuple[str, ...], work: Path) -> None:
    asked = COMMANDS[command]
    moving, same = MOVING | asked.moving, {**SAME, "--seed": (), **asked.same}

    def found(*words: object, instead_of: str = "") -> set[tuple[object, ...]]:
        first = list(asked.words)
        if instead_of:
            place = first.index(instead_of)
            del first[place : place + 2]
        return identities(work, command, (*first, "--precision", "fp32", *words))

    plain = found()
    assert found() == plain
    for option in options(command):
        if option in GIVEN_BY_THE_TEST or option in asked.clips:
            continue
        assert (option in moving) or (option in same), f"{option}: can it move a number?"
        words = moving.get(option) if option in moving else same[option]
        if not words:
            continue
        others = asked.beside.get(option, ())
        base = found(*others) if others else plain
        changed = found(*others, *words, instead_of=asked.in_place_of.get(option, ""))
        if option in moving:
            assert not changed & base, option
        else:
            assert changed == base, option


def test_the_same_command_gives_the_same_numbers(work: Path, tmp_path: Path) -> None:
    values = []
    for number in range(2):
        store = tmp_path / str(number)
        words = ("-m", work / "model", "-d", f"folder:{work}/pictures", "--no-cache", "--results", store)
        assert run("eval", "zeroshot", *words) == 0
        values.append([json.loads(line)["value"] for line in (store / "results.jsonl").read_text().splitlines()])
    assert values[0] == values[1]
