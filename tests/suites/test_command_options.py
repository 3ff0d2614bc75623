"""A suite's options are read as the command line reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from coca_cli.commands.task_commands import build_commands
from coca_cli.errors import CocaError, MissingFile, UnknownName
from coca_cli.options import DecayChoice, FrameMean, HeadChoice, Precision
from coca_cli.suites.command_options import Benchmark, read_benchmarks
from coca_cli.suites.requests import probe_request
from coca_cli.suites.suite_files import Entry, read_suite, suite_names
from tests.pictures import class_folders

OF_THE_RUN = {"data_root": Path("there"), "cache": True}


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    return build_commands()


def read(commands: dict[str, Any], task: str, options: dict[str, Any], **more: Any) -> Benchmark:
    entry = Entry(where="my.toml, benchmark 1", task=task, dataset="digits", options=options, **more)
    (found,) = read_benchmarks([entry], commands, {}, OF_THE_RUN)
    return found


def test_values_are_those_of_the_command_line(commands: dict[str, Any]) -> None:
    words = ["-m", "x", "-d", "digits", "--limit", "7", "--frame-mean", "normalise-then-mean", "--strict"]
    typed = commands["zeroshot"].make_context("zeroshot", words).params
    found = read(commands, "zeroshot", {"limit": 7, "frame-mean": "normalise-then-mean", "strict": True}).values
    assert found["frame_mean"] is FrameMean.normalise_first
    own = {"model", "data_root"}
    assert {k: v for k, v in found.items() if k not in own} == {k: v for k, v in typed.items() if k not in own}
    assert found["data_root"] == Path("there")


def test_underscores_lists_and_switches(commands: dict[str, Any]) -> None:
    options = {"head_batch_size": 16, "learning-rates": [1e-3, 1e-3, 0.01], "flip": True, "turn": False, "shots": "1,2"}
    found = read(commands, "probe", options).values
    assert (found["head_batch_size"], found["learning_rates"], found["weight_decays"]) == (16, [1e-3, 0.01], [0, 0.01])
    assert (found["flip"], found["turn"], found["shots"]) == (True, False, [1, 2])


def test_a_named_recipe_and_options_above_it(commands: dict[str, Any]) -> None:
    found = probe_request(read(commands, "probe", {"recipe": "paper", "epochs": 2}))
    assert (found.recipe.batch_size, found.recipe.label_smoothing, found.epochs) == (512, 0.2, 2)
    assert (found.head, found.recipe.decay, len(found.settings)) == (HeadChoice.attentional, DecayChoice.cosine, 1)
    assert found.augmentation.rand_augment == (2, 20)


def test_defaults_are_for_those_that_know_them(commands: dict[str, Any]) -> None:
    defaults = {"limit": 5, "beams": 2}
    assert read(commands, "zeroshot", {}, defaults=defaults).values["limit"] == 5
    found = read(commands, "caption", {"limit": 6}, defaults=defaults).values
    assert (found["limit"], found["beams"]) == (6, 2)


def test_what_the_user_types_stands_above_the_suite(commands: dict[str, Any]) -> None:
    entry = Entry(where="", task="understanding", dataset="digits", options={"limit": 5, "precision": "bf16"})
    given = {"limit": 3, "frames": 4}
    (found,) = read_benchmarks([entry], commands, given, {})
    assert (found.values["limit"], found.values["precision"]) == (3, Precision.bf16)
    assert "frames" not in found.values, "this command has no frames"


@pytest.mark.parametrize("name", suite_names())
def test_the_shipped_suites_make_sense(commands: dict[str, Any], name: str) -> None:
    suite = read_suite(name)
    assert len(read_benchmarks(list(suite.entries), commands, {}, OF_THE_RUN)) == len(suite.entries)


def test_the_suite_of_the_documentation(
    commands: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = Path(__file__).parents[2] / "docs/suites.md"
    (text,) = re.findall(r"^```toml\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(text)
    Path("prompts.txt").write_text("a photo of {c}\n")
    class_folders(Path("photos"))
    found = read_benchmarks(list(read_suite("mine.toml").entries), commands, {}, OF_THE_RUN)
    assert [benchmark.task for benchmark in found] == [*["retrieval"] * 2, "zeroshot", "retrieval", *["probe"] * 2]
    assert [bool(benchmark.missing) for benchmark in found] == [False, False, False, True, True, False]
    assert [benchmark.values["limit"] for benchmark in found] == [None, None, 1000, 1000, 1000, 1000]
    assert found[-1].values["learning_rates"] == [5e-4, 1e-3]


@pytest.mark.parametrize(
    ("task", "options", "kind", "message"),
    [
        ("zeroshot", {"limitt": 1}, UnknownName, "benchmark 1: unknown option 'limitt'. Did you mean limit?"),
        ("zeroshot", {"beams": 1}, UnknownName, "unknown option 'beams'"),
        ("zeroshot", {"model": "x"}, UnknownName, "unknown option 'model'"),
        ("zeroshot", {"predictions": "x.csv"}, UnknownName, "unknown option 'predictions'"),
        ("probe", {"frozen": False}, UnknownName, "unknown option 'frozen'"),
        ("zeroshot", {"limit": 0}, CocaError, "benchmark 1 has a value that is refused: .*--limit.*greater"),
        ("zeroshot", {"limit": "ten"}, CocaError, "value that is refused: .*--limit.*integer"),
        ("zeroshot", {"sampling": "random"}, CocaError, "value that is refused: .*'random' is not one of 'uniform'"),
        ("zeroshot", {"limit": True}, CocaError, "limit = True: this option takes a number or a text"),
        ("zeroshot", {"strict": "yes"}, CocaError, "strict = 'yes': this option takes true or false"),
        ("zeroshot", {"limit": {"n": 1}}, CocaError, "limit = .*: an option takes a number, a text, true or false"),
        ("zeroshot", {"templates": "no.txt"}, MissingFile, "templates = 'no.txt' is no file that is there"),
        (
            "probe",
            {"learning-rates": "fast"},
            CocaError,
            "learning-rates = 'fast': give numbers from 0 on, such as 1,2",
        ),
        ("probe", {"shots": [0]}, CocaError, "shots = '0': give numbers from 1 on"),
        ("probe", {"recipe": "papper"}, UnknownName, "benchmark 1: unknown recipe 'papper'. Did you mean paper"),
        ("probe", {"recipe": "show:paper"}, CocaError, "recipe = 'show:paper' would print a recipe: name the one"),
    ],
)
def test_what_the_command_line_refuses(
    commands: dict[str, Any], task: str, options: dict[str, Any], kind: type[CocaError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        read(commands, task, options)
    assert str(caught.value).startswith("my.toml, benchmark 1")


def test_an_unknown_dataset_names_its_benchmark(commands: dict[str, Any]) -> None:
    with pytest.raises(UnknownName, match=r"my\.toml, benchmark 2: unknown dataset 'digit'\. Did you mean digits"):
        read_benchmarks([Entry(where="my.toml, benchmark 2", task="zeroshot", dataset="digit")], commands, {}, {})


def test_a_default_that_no_command_has(commands: dict[str, Any]) -> None:
    with pytest.raises(UnknownName, match=r"sets for all benchmarks what none has: unknown option 'limits'\. Did"):
        read(commands, "zeroshot", {}, defaults={"limits": 3})


def test_a_recipe_must_not_set_what_a_suite_has_not(commands: dict[str, Any], tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("frozen = false\n")
    with pytest.raises(CocaError, match="the recipe sets frozen, which a suite has not: take it out"):
        read(commands, "probe", {"recipe": str(recipe)})
