"""`coca ablate` as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from pathlib import Path

import pytest

from coca_cli.recipes import recipe_names, recipe_text
from coca_cli.store import Store
from coca_cli.training import ablation_run, training_run
from coca_cli.training.ablation_plan import base_config, make_plan
from coca_cli.training.ablation_request import AblationRequest
from tests.commands.running import run
from tests.training.ablations import SMALL
from tests.training.runs import finish, run_whole, start, wait_for_step

WORDS = tuple(word for change in SMALL for word in ("--set", change))


@pytest.fixture(autouse=True)
def _no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_run, "measured_peak", lambda device, mixed: 1e9)


def ablate(output: Path, *more: object) -> int:
    """One seed of two steps on 64 pictures with a very small model, unless `more` says otherwise."""
    return run(
        *("ablate", *more, "--output", output, "--seeds", 1, "--steps", 2, "--batch-size", 8, "--limit", 64),
        *("--head-steps", 2, "--head-batch-size", 8, "--jobs", 1, "--workers", 0, "--quiet", *WORDS),
    )


def asked(monkeypatch: pytest.MonkeyPatch, *argv: object) -> AblationRequest:
    """What the command asks for; nothing is done."""
    found: list[AblationRequest] = []

    def take(request: AblationRequest, reporter: object) -> list[object]:
        found.append(request)
        return []

    monkeypatch.setattr(ablation_run, "run_ablation", take)
    assert run("ablate", *argv) == 0
    return found.pop()


@pytest.mark.slow
def test_objectives_are_trained_measured_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate(tmp_path / "out", "objectives", "--format", "csv") == 0
    out = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["variant"].split()[0], row["measure"]) for row in rows] == [
        (variant, measure)
        for variant in ("contrastive", "captioning", "both")
        for measure in ("zeroshot:digits", "questions:scene-questions")
    ]
    assert [row["mean"] == "" for row in rows] == [False, False, True, False, False, False]
    assert [row["paper"] for row in rows] == ["70.7", "59.2", "", "68.9", "71.6", "69.0"]
    assert float(rows[0]["operations"]) == 1.0 < float(rows[2]["operations"])
    found = Store(tmp_path / "out" / "results").rows()
    assert {(row.task, row.model) for row in found} == {
        ("zeroshot", "contrastive-alone-seed0"),
        ("zeroshot", "default-seed0"),
        ("understanding", "contrastive-alone-seed0-questions"),
        ("understanding", "captioning-alone-seed0-questions"),
        ("understanding", "default-seed0-questions"),
    }
    top = next(row for row in found if row.metric == "top-1" and row.model == "default-seed0")
    assert float(rows[4]["mean"]) == pytest.approx(top.value, abs=1e-3)
    state = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert set(state["runs"]) == {"contrastive-alone-seed0", "captioning-alone-seed0", "default-seed0"}
    assert ablate(tmp_path / "out", "objectives", "--format", "csv") == 0
    assert capsys.readouterr().out == out
    assert len(Store(tmp_path / "out" / "results").rows()) == len(found)


@pytest.mark.slow
def test_all_other_tables_in_processes_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("8a", "8e", "--jobs", 2, "--format", "markdown")
    words = [str(word) for word in (*more, "--output", tmp_path / "out", "--seeds", 1, "--steps", 2)]
    numbers = ("--batch-size", 8, "--limit", 64, "--head-steps", 2, "--head-batch-size", 8, "--quiet", *WORDS)
    assert run("ablate", *words, *numbers) == 0
    out = capsys.readouterr().out
    assert "### 8a: Classification or captioning" in out
    assert "### 8e: [CLS] tokens of the text" in out
    assert "| 1 + text tokens" in out
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 4


def in_process(output: Path, *more: object) -> list[str]:
    """The command's words, for a process of its own."""
    numbers = ("--seeds", 1, "--batch-size", 8, "--limit", 64, "--head-steps", 2, "--head-batch-size", 8, *WORDS)
    return [str(word) for word in ("ablate", *more, "--output", output, *numbers)]


@pytest.mark.slow
def test_two_processes_under_torchrun_train_one_model_together(tmp_path: Path) -> None:
    run_whole(in_process(tmp_path / "out", "8a", "8b", "--jobs", 1, "--steps", 2, "--quiet"), processes=2)
    state = json.loads((tmp_path / "out" / "ablation.json").read_text())
    scores = {name: set(entry["scores"]) for name, entry in state["runs"].items()}
    assert scores == {
        "labels-classes-seed0": {"probe:digits", "linear:digits"},
        "labels-captions-seed0": {"probe:digits", "linear:digits"},
        "contrastive-alone-seed0": {"zeroshot:digits", "questions:scene-questions"},
        "captioning-alone-seed0": {"questions:scene-questions"},
        "default-seed0": {"zeroshot:digits", "questions:scene-questions"},
    }


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_runs_side_by_side_save_when_they_are_stopped(tmp_path: Path, stop: signal.Signals, code: int) -> None:
    """Ctrl-C reaches all processes of a terminal, a SIGTERM the first one alone."""
    output = tmp_path / "out"
    words = in_process(output, "ratio", "--jobs", 2, "--steps", 5000, "--save-every", 1)
    process = start(words)
    folders = [output / "runs" / name for name in ("ratio-1-1-seed0", "ratio-1-2-seed0")]
    for folder in folders:
        wait_for_step(process, folder, 2)
    if stop is signal.SIGINT:
        os.killpg(process.pid, stop)
    else:
        process.send_signal(stop)
    found, errors = finish(process)
    assert found == code
    assert "stopped with 0 of 3 runs; the same command goes on" in errors
    assert errors.count("of 5000; the same command goes on") == 2
    assert all(list((folder / "checkpoints").iterdir()) for folder in folders)


def test_a_dry_run_prints_the_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate(tmp_path / "out", "poolers", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "queries-0" in out
    assert "5 runs, 0 of them finished" in out
    assert not (tmp_path / "out").exists()


def test_the_tiny_preset_needs_no_word_more(monkeypatch: pytest.MonkeyPatch) -> None:
    request = asked(monkeypatch)
    assert request == asked(monkeypatch, "--preset", "tiny")
    assert (list(request.base.data), request.output.name) == (["scenes", "digits"], "coca-ablation")
    assert len(make_plan(request).tables) == 6
    assert request.everywhere is False


def test_the_command_line_goes_before_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("8c", "--steps", 7, "--seeds", 5, "--measures", "retrieval:scenes", "--set", "vision.width=32")
    request = asked(monkeypatch, *words, "--seed", 3, "-o", "mine")
    assert (request.base.recipe.steps, list(request.all_seeds)) == (7, [3, 4, 5, 6, 7])
    assert [measure.name for measure in request.measures] == ["retrieval:scenes"]
    assert request.everywhere is True
    config = base_config(request.base)
    assert (config.vision.width, config.text.width) == (32, 64)


def test_weights_of_a_preset_belong_to_its_own_data(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch).base.shares == [3.0, 1.0]
    assert asked(monkeypatch, "--data", "scenes").base.shares is None
    assert asked(monkeypatch, "--data", "scenes", "--weights", "2").base.shares == [2.0]
    assert asked(monkeypatch, "--weights", "2,1").base.shares == [2.0, 1.0]


def test_the_paper_s_preset_is_the_paper_s_ablation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 4.3: CoCa-Base with 12 decoder layers, batch 4,096; the rest as section 4.1."""
    request = asked(monkeypatch, "--preset", "paper", "--data", "scenes", "--data", "digits", "-o", "out")
    config, recipe = base_config(request.base), request.base.recipe
    assert (config.vision.width, config.text.unimodal_layers, config.text.multimodal_layers) == (768, 6, 6)
    assert (config.pooler.wiring, config.pooler.queries, recipe.batch_size) == ("cascade", 256, 4096)
    assert (recipe.optimizer, recipe.learning_rate, recipe.weight_decay) == ("adafactor", 8e-4, 0.01)
    labels = {table.name: [line.label for line in table.lines] for table in make_plan(request).tables}
    assert labels["8d"] == ["3", "6 (default)", "9"]
    assert labels["8f"][2:] == ["0 queries", "1 query", "32 queries"]


def test_the_paper_s_preset_needs_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ablate", "--preset", "paper", "-o", "out") == 2
    assert "--data" in capsys.readouterr().err


@pytest.mark.parametrize("name", recipe_names("ablate"))
def test_presets_can_be_looked_at(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run("ablate", "--preset", f"show:{name}") == 0
    assert capsys.readouterr().out == recipe_text(name, "ablate")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("poler",), "unknown table 'poler'"),
        (("--preset", "tiney"), "unknown recipe 'tiney'. Did you mean tiny?"),
        (("8b", "--measures", "fid:scenes"), "unknown measure 'fid'"),
        (("8b", "--measures", "zeroshot:digist"), "unknown dataset 'digist'. Did you mean digits"),
        (("8b", "--set", "vision.breadth=3"), "expected KEY=VALUE"),
        (("8b", "--data", "nothing-there"), "nothing-there"),
    ],
)
def test_mistakes_end_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert run("ablate", *words, "-o", tmp_path / "out", "--dry-run") == 1
    assert message in capsys.readouterr().err
