from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from coca_cli.cli import main
from coca_cli.results import KINDS, Result, Run, settings_hash
from coca_cli.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two runs on digits, equal but for the time, and one on imagenet."""
    folder = tmp_path / "results"
    for dataset, value, day in (("digits", 90.0, 1), ("digits", 91.0, 2), ("imagenet", 75.0, 3)):
        when = f"2025-01-{day:02}T00:00:00Z"
        values: dict[str, object] = {
            name: {"str": name, "int": 1, "float": value}[kind] for name, kind in KINDS.items()
        }
        values |= {
            "task": "zeroshot",
            "split": "val",
            "dataset": dataset,
            "metric": "top-1",
            "when": when,
            "model": f"coca_{dataset}",
        }
        row = Result(**(values | {"settings": settings_hash({})}))  # type: ignore[arg-type]
        run = Run(task="zeroshot", dataset=dataset, command="coca", settings={}, versions={}, seconds=1.0, when=when)
        Store(folder).append([row], run)
    return folder


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as exit:
        main(["report", *map(str, words)])
    return int(exit.value.code or 0)


def read_values(text: str) -> list[str]:
    return [line["value"] for line in csv.DictReader(io.StringIO(text))]


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ([], ["91.0", "75.0"]),
        (["--all"], ["90.0", "91.0", "75.0"]),
        (["--dataset", "digits"], ["91.0"]),
        (["--dataset", "digits", "--all"], ["90.0", "91.0"]),
        (["-m", "coca_im*"], ["75.0"]),
        (["--task", "zeroshot"], ["91.0", "75.0"]),
    ],
)
def test_report_prints_the_wanted_rows(
    store: Path, capsys: pytest.CaptureFixture[str], words: list[str], values: list[str]
) -> None:
    assert call("--results", store, "--format", "csv", *words) == 0
    out, err = capsys.readouterr()
    assert read_values(out) == values
    assert err == ""


@pytest.mark.parametrize(("format", "start"), [("table", "zeroshot\n"), ("markdown", "### zeroshot"), ("json", "[\n")])
def test_report_prints_every_format(store: Path, capsys: pytest.CaptureFixture[str], format: str, start: str) -> None:
    assert call("--results", store, "--format", format) == 0
    assert capsys.readouterr().out.startswith(start)


def test_report_finds_the_store_by_the_environment(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COCA_RESULTS", str(store))
    assert call("--format", "json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_report_finds_the_store_in_the_working_folder(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COCA_RESULTS", raising=False)
    monkeypatch.chdir(store.parent)
    assert call("--format", "csv") == 0
    assert read_values(capsys.readouterr().out) == ["91.0", "75.0"]


def test_report_writes_a_file(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--results", store, "--output", tmp_path / "table.csv") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"coca: wrote 2 rows to {tmp_path / 'table.csv'}\n"
    assert read_values((tmp_path / "table.csv").read_text()) == ["91.0", "75.0"]


def test_report_wide_shows_the_settings(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--results", store, "--wide") == 0
    assert f"settings={settings_hash({})}" in capsys.readouterr().out


@pytest.mark.parametrize("exists", [True, False])
def test_report_without_results_says_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], exists: bool
) -> None:
    folder = tmp_path / "results"
    if exists:
        folder.mkdir()
    assert call("--results", folder) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"coca: no results in {folder} yet. Run coca demo or coca eval zeroshot first, ")


def test_report_of_an_unknown_dataset_names_those_that_exist(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--results", store, "--dataset", "cifar") == 1
    assert "no result has the dataset 'cifar'. The store has: digits, imagenet." in capsys.readouterr().err


def test_report_refuses_another_format(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--results", store, "--format", "xml") == 2
    assert "xml" in capsys.readouterr().err


def test_a_page_goes_to_a_file_or_a_pipe(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--results", store, "--output", tmp_path / "report.html", "--title", "Mine") == 0
    assert "<title>Mine</title>" in (tmp_path / "report.html").read_text()
    assert call("--results", store, "--format", "html") == 0
    assert "<title>CoCa: results</title>" in capsys.readouterr().out


def test_a_page_is_not_poured_out_on_a_terminal(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert call("--results", store, "--format", "html") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"to {store / 'report.html'}" in err
    assert (store / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json"])
def test_beside_the_paper_in_every_form(store: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    asked = ("--against", "paper:CoCa-Large", "--dataset", "imagenet", "--format", form)
    assert call("--results", store, *asked) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "CoCa-Large" in out
    assert "84.8" in out
    assert "coca_imagenet" in out.replace("\\_", "_")


def test_a_model_that_the_paper_has_not(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--results", store, "--against", "paper:CoCa-Lage") == 1
    assert "Did you mean CoCa-Large" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json"])
def test_beside_another_store_in_every_form(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    shutil.copytree(store, tmp_path / "other")
    asked = ("--all", "--task", "zeroshot", "--dataset", "digits", "--format", form)
    assert call("--results", store, "--against", tmp_path / "other", *asked) == 0
    out, _ = capsys.readouterr()
    assert "-1.0" in out  # the older of the two runs on digits is one point below the newest
    assert call("--results", store, "--against", f"{tmp_path / 'other'}@coca_digits", *asked) == 0
    assert "-1.0" in capsys.readouterr().out


def test_an_empty_folder_is_no_store(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert call("--results", store, "--against", tmp_path / "empty") == 1
    assert "a folder with other results, or a model here" in " ".join(capsys.readouterr().err.split())


def test_clip_benchmarks_files_out_and_in(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--results", store, "--clip-benchmark", tmp_path / "cb") == 0
    assert "wrote 2 evaluations" in capsys.readouterr().err
    assert call("--results", tmp_path / "none", "--beside", tmp_path / "cb", "--format", "csv") == 0
    assert sorted(read_values(capsys.readouterr().out)) == ["75.0", "91.0"]


def test_charts_go_to_a_folder(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    lines = [json.dumps({"step": step, "loss": 1 / step}) for step in (1, 2, 3)]
    (tmp_path / "run/metrics.jsonl").write_text("\n".join(lines))
    assert call("--results", store, "--plots", tmp_path / "figures", "--training", tmp_path / "run") == 0
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["results.png", "results.svg", "training-run.png", "training-run.svg"]
    assert "<svg" in (tmp_path / "figures/results.svg").read_text()
    assert capsys.readouterr().out == ""


def test_a_folder_that_is_no_training_run(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--results", store, "--training", tmp_path) == 1
    assert "there is no metrics.jsonl, which every training run" in " ".join(capsys.readouterr().err.split())


def test_nothing_to_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(
        json.dumps({"dataset": "a", "model": "b", "pretrained": "c", "task": "captioning", "metrics": {"METEOR": 0.3}})
    )
    assert call("--results", tmp_path, "--beside", tmp_path / "a.json", "--plots", tmp_path / "figures") == 1
    assert "there is nothing to draw in these results" in " ".join(capsys.readouterr().err.split())
