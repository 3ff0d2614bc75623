"""Surprises in the files that say what is to be done, and in those that say what was done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coca_cli.store import Store
from coca_cli.suites.suite_files import read_suite
from tests.commands.running import run
from tests.commands.squares import save_model, save_pictures
from tests.faults.changes import as_json, as_lines, changes, spoiled_bytes
from tests.faults.judging import MOST_LETTERS, NAMED, outcome

RECIPES = {
    "unknown.toml": b"batch-sise = 4\n",
    "unknown.yaml": b"batch-sise: 4\n",
    "text-for-a-number.toml": b'steps = "many"\n',
    "list-for-a-number.toml": b"steps = [1, 2]\n",
    "table-for-a-number.toml": b"[steps]\nmany = 1\n",
    "date-for-a-number.toml": b"steps = 2024-01-01\n",
    "not-a-number.toml": b"learning-rate = nan\n",
    "infinite.toml": b"learning-rate = inf\n",
    "negative.toml": b"steps = -1\n",
    "zero.toml": b"batch-size = 0\n",
    "huge.toml": b"steps = 1" + b"0" * 400 + b"\n",
    "too-long-a-number.yaml": b"steps: 1" + b"0" * 10_000 + b"\n",
    "word-for-a-switch.toml": b'overwrite = "perhaps"\n',
    "unknown-choice.toml": b'optimizer = "sgdw"\n',
    "twice.toml": b"steps = 1\nsteps = 2\n",
    "cut-off.toml": b'optimizer = "ada',
    "cut-off.yaml": b"data: [a, b\n",
    "list.yaml": b"- steps\n- 4\n",
    "text.yaml": b"hello\n",
    "object-of-python.yaml": b"!!python/object/apply:os.system ['touch it-ran']\n",
    "name-of-python.yaml": b"steps: !!python/name:os.system\n",
    "itself.yaml": b"a: &a [*a]\n",
    "million-laughs.yaml": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]\n".encode() for p, n in zip("abcdefg", "bcdefgh", strict=True)),
    "deep.yaml": b"[" * 20_000,
    "deep.toml": b"a = " + b"[" * 20_000,
    "latin-1.toml": b'arch = "caf\xe9"\n',
    "utf-16.toml": "steps = 4\n".encode("utf-16"),
    "zeros.toml": bytes(100),
    "page.toml": b"<!DOCTYPE html><html></html>",
    "page.yaml": b"<!DOCTYPE html><html></html>",
    "tabs.yaml": b"\tsteps: 4\n",
}
SUITE = {
    "title": "mine",
    "models": ["one"],
    "defaults": {"limit": 4},
    "benchmark": [{"task": "zeroshot", "dataset": "digits", "limit": 3}],
}


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_surprising_recipe_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(RECIPES[name])
    assert run("pretrain", "--data", "digits", "--recipe", name, "-o", tmp_path / "run") in (1, 2)
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert len(told) < 4 * MOST_LETTERS
    assert not (tmp_path / "it-ran").exists()
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def _toml(value: Any) -> str:
    if value is None:
        return '""'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return {"inf": "inf", "nan": "nan"}.get(str(value), repr(value))
    return json.dumps(value)


def test_a_changed_suite_is_refused_or_means_the_same_length(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    for name, document in changes(SUITE):
        text = (
            "\n".join(f"{key} = {_toml(value)}" for key, value in document.items())
            if isinstance(document, dict)
            else ""
        )
        file.write_bytes(text.encode(errors="surrogatepass"))
        found = outcome(lambda: len(read_suite(str(file)).entries))
        assert found.count in (1, NAMED), (name, found)
        assert len(found.message) < MOST_LETTERS, name


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    model, pictures = save_model(folder / "model"), save_pictures(folder / "pictures")
    words = ("-m", model, "-d", f"folder:{pictures}", "--results", folder / "store", "--precision", "fp32")
    assert run("eval", "zeroshot", *words) == 0
    return folder / "store"


def test_a_changed_row_is_refused_or_still_a_row(results: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (results / "results.jsonl").read_text().splitlines()]
    for name, document in changes(rows[0]):
        (tmp_path / "results.jsonl").write_bytes(as_lines([document, *rows[1:]]))
        found = outcome(lambda: len(Store(tmp_path).rows()))
        assert found.count in (len(rows), NAMED), (name, found)
        assert len(found.message) < MOST_LETTERS, name


def test_results_that_were_spoiled_on_their_way_are_named(results: Path, tmp_path: Path) -> None:
    content = (results / "results.jsonl").read_bytes()
    for name, spoiled, same in spoiled_bytes(content):
        (tmp_path / "results.jsonl").write_bytes(spoiled)
        found = outcome(lambda: len(Store(tmp_path).rows()))
        if same:
            assert found.count == content.count(b"\n"), name
        elif name not in (
            "empty",
            "blank",
            "half",
            "compressed",
            "deep",
            "deep objects",
        ):  # half a line is what a killed run leaves
            assert found.count == NAMED, (name, found)


def test_a_report_shows_changed_runs_or_refuses_them(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_file,) = (results / "runs").glob("*.json")
    document = json.loads(run_file.read_text())
    small = {key: document[key] for key in ("task", "dataset", "settings_hash", "when", "rows", "versions")}
    small["skipped"] = [{"id": "a.jpg", "reason": "damaged"}]
    (tmp_path / "runs").mkdir()
    (tmp_path / "results.jsonl").write_bytes((results / "results.jsonl").read_bytes())
    shown = 0
    for number, (name, changed) in enumerate(changes(small)):
        kept = document | changed if isinstance(changed, dict) else changed
        for key in set(small) - set(changed) if isinstance(changed, dict) else ():
            del kept[key]
        file = tmp_path / "runs" / f"{number:05}.json"
        file.write_bytes(as_json(kept))
        found = outcome(lambda: len(Store(tmp_path).runs()))
        assert len(found.message) < MOST_LETTERS, name
        if found.count == NAMED:
            assert file.name in found.message, name
            assert "is damaged: its" in found.message or "cannot be read" in found.message, name
            file.unlink()
        else:
            shown += 1
    assert shown > 20
    assert run("report", "--results", tmp_path, "--format", "html", "-o", tmp_path / "page.html") == 0
    assert "Traceback" not in capsys.readouterr().err
