"""An ablation goes on where it stopped: nothing that is finished is trained or measured again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from coca_cli.errors import CocaError
from coca_cli.progress import Reporter
from coca_cli.training import ablation_run as module
from coca_cli.training.ablation_dry_run import plan_ablation
from coca_cli.training.ablation_measures import Measuring
from coca_cli.training.ablation_request import AblationRequest, HeadNumbers, Measure
from coca_cli.training.ablation_run import run_ablation
from coca_cli.training.ablation_state import RunOutcome
from coca_cli.training.pretrain_request import PretrainRequest
from tests.training.ablations import ablation

QUIET = Reporter(quiet=True)


class Seen(NamedTuple):
    """What would have been done."""

    trained: list[str]
    measured: list[str]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Nothing is trained: a folder is made, and every measure is the number of the run."""
    found = Seen([], [])

    def train(request: PretrainRequest, reporter: Reporter) -> object:
        found.trained.append(request.output.name)
        (request.output / "checkpoints").mkdir(parents=True)
        (request.output / "config.json").write_text("{}")
        return object()

    def measure(self: Measuring, measure: Measure) -> float:
        found.measured.append(f"{self.folder.name} {measure.name}")
        return float(10 * self.seed + len(self.folder.name))

    monkeypatch.setattr(module, "run_pretrain", train)
    monkeypatch.setattr(module, "run_classes", train)
    monkeypatch.setattr(module, "_trained", lambda training, run: RunOutcome(0.5, 100.0, 7, 0.0, {}))
    monkeypatch.setattr(Measuring, "measure", measure)
    return found


def stopping(after: int, error: type[BaseException]) -> Callable[..., Any]:
    """`run_pretrain` that is stopped when it has trained so many."""
    inner, count = module.run_pretrain, iter(range(after + 1))

    def train(request: PretrainRequest, reporter: Reporter) -> object:
        if next(count) == after:
            raise error(143) if error is SystemExit else error
        return inner(request, reporter)

    return train


def test_the_default_is_trained_once_for_all_tables(tmp_path: Path, seen: Seen) -> None:
    tables = run_ablation(ablation(tmp_path, seeds=1), QUIET)
    assert len(seen.trained) == len(set(seen.trained)) == 14
    assert len(seen.measured) == len(set(seen.measured))
    shown = [line.scores for table in tables for line in table.lines if "default" in line.label]
    assert len(shown) == 5
    assert {scores["zeroshot:digits"][0] for scores in shown if "zeroshot:digits" in scores} == {len("default-seed0")}
    assert tables[1].lines[1].scores.keys() == {"questions:scene-questions"}  # captioning alone
    assert [line.ours for line in tables[4].lines] == [True, False, True, False]


def test_checkpoints_go_when_a_run_is_finished(tmp_path: Path, seen: Seen) -> None:
    run_ablation(ablation(tmp_path, ("ratio",), seeds=1), QUIET)
    assert not list(tmp_path.glob("runs/*/checkpoints"))
    assert len(list(tmp_path.glob("runs/*/config.json"))) == 3


def test_finished_runs_are_neither_trained_nor_measured_again(tmp_path: Path, seen: Seen) -> None:
    first = run_ablation(ablation(tmp_path, ("objectives",)), QUIET)
    counts = len(seen.trained), len(seen.measured)
    assert counts == (6, 10)
    assert run_ablation(ablation(tmp_path, ("objectives",)), QUIET) == first
    assert (len(seen.trained), len(seen.measured)) == counts


def test_more_seeds_and_tables_add_to_what_is_there(tmp_path: Path, seen: Seen) -> None:
    run_ablation(ablation(tmp_path, ("objectives",), seeds=1), QUIET)
    del seen.trained[:], seen.measured[:]
    run_ablation(ablation(tmp_path, ("objectives", "ratio")), QUIET)
    assert sorted(seen.trained) == [
        *("captioning-alone-seed1", "contrastive-alone-seed1", "default-seed1"),
        *("ratio-1-1-seed0", "ratio-1-1-seed1", "ratio-1-2-seed0", "ratio-1-2-seed1"),
    ]
    assert not any(name.startswith("default-seed0") for name in seen.measured)


def test_a_new_measure_is_taken_of_the_models_that_are_there(tmp_path: Path, seen: Seen) -> None:
    few = ablation(tmp_path, ("ratio",), seeds=1, measures=("zeroshot:digits",))
    run_ablation(few, QUIET)
    del seen.trained[:], seen.measured[:]
    (table,) = run_ablation(ablation(tmp_path, ("ratio",), seeds=1), QUIET)
    assert seen.trained == []
    assert {name.split()[1] for name in seen.measured} == {"questions:scene-questions"}
    assert table.lines[0].scores.keys() == {"zeroshot:digits", "questions:scene-questions"}


def test_heads_of_other_numbers_are_measured_anew(tmp_path: Path, seen: Seen) -> None:
    run_ablation(ablation(tmp_path, ("ratio",), seeds=1), QUIET)
    del seen.trained[:], seen.measured[:]
    run_ablation(ablation(tmp_path, ("ratio",), seeds=1, heads=HeadNumbers(3, 8, 1e-3)), QUIET)
    assert seen.trained == []
    assert {name.split()[1] for name in seen.measured} == {"questions:scene-questions"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_stopped_ablation_goes_on(
    tmp_path: Path,
    seen: Seen,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: type[BaseException],
) -> None:
    request = ablation(tmp_path, ("poolers",), seeds=1)
    with monkeypatch.context() as patched:
        patched.setattr(module, "run_pretrain", stopping(2, error))
        with pytest.raises(error):
            run_ablation(request, QUIET)
    assert "stopped with 2 of 5 runs; the same command goes on" in capsys.readouterr().err
    assert "5 runs, 2 of them finished; the others take about 0 min, as those did" in plan_ablation(request)
    assert len(seen.trained) == 2
    run_ablation(request, QUIET)
    assert len(seen.trained) == len(set(seen.trained)) == 5


def test_a_run_that_was_killed_before_it_was_kept_is_done_again(
    tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own folder knows how far it came; of the others nothing is lost."""
    request = ablation(tmp_path, ("ratio",), seeds=1)
    with monkeypatch.context() as patched:
        patched.setattr(module.AblationState, "record", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            run_ablation(request, QUIET)
    assert seen.trained == ["ratio-1-1-seed0"]
    assert (tmp_path / "runs" / "ratio-1-1-seed0" / "checkpoints").is_dir()


def other_settings(request: AblationRequest) -> AblationRequest:
    return replace(request, base=replace(request.base, recipe=replace(request.base.recipe, steps=3)))


def test_other_settings_are_refused_and_overwritten_where_that_is_asked(tmp_path: Path, seen: Seen) -> None:
    request = ablation(tmp_path, ("ratio",), seeds=1)
    run_ablation(request, QUIET)
    with pytest.raises(CocaError, match="holds an ablation with other settings: steps was 2, is 3"):
        run_ablation(other_settings(request), QUIET)
    trained = len(seen.trained)
    again = other_settings(request)
    for name in tmp_path.glob("runs/*"):
        (name / "config.json").unlink()
    run_ablation(replace(again, base=replace(again.base, overwrite=True)), QUIET)
    assert len(seen.trained) == 2 * trained
    state = json.loads((tmp_path / "ablation.json").read_text())
    assert state["settings"]["steps"] == 3
    assert set(state["runs"]) == {"ratio-1-1-seed0", "ratio-1-2-seed0", "default-seed0"}


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": {}}', '{"settings": 3, "runs": {}}'])
def test_a_damaged_state_is_refused(tmp_path: Path, seen: Seen, text: str) -> None:
    (tmp_path / "ablation.json").write_text(text)
    with pytest.raises(CocaError, match="cannot be read as the state of an ablation: choose another --output"):
        run_ablation(ablation(tmp_path, ("ratio",)), QUIET)
    assert seen.trained == []


def test_jobs_are_not_for_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(CocaError, match="--jobs is for one process: under torchrun all of them train one model"):
        run_ablation(ablation(tmp_path, ("ratio",), jobs=2), QUIET)


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        ("questions:digits", "--measures questions:digits: digits is for classification; name a set with open"),
        ("zeroshot:imagenet", "imagenet"),
        ("probe:nothing", "unknown dataset 'nothing'"),
    ],
)
def test_data_that_cannot_be_measured_are_found_before_training(
    tmp_path: Path, seen: Seen, measure: str, message: str
) -> None:
    with pytest.raises(CocaError) as caught:
        run_ablation(ablation(tmp_path, ("ratio",), measures=(measure,), everywhere=True), QUIET)
    assert message in str(caught.value)
    assert seen.trained == []


def test_the_plan_has_variants_tables_seeds_and_time(tmp_path: Path) -> None:
    text = plan_ablation(ablation(tmp_path, data=("scenes",)))
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "8b 8c 8d 8e 8f" in rows["default"]
    assert "1 contrastive + 0 caption" in rows["contrastive-alone"]
    assert "each: 2 steps of 8 from scenes; then zeroshot:digits, questions:scene-questions" in text
    assert "24 runs, 0 of them finished; " in text
    assert "table 8a is trained on labelled pictures, and --data has none: it is left out" in text
    assert not (tmp_path / "ablation.json").exists()
