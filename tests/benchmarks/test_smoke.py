"""The benchmark scripts still run, at their smallest size: outputs are compared, figures come out."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent.parent.parent / "benchmarks"
QUICK = ("images", "zeroshot", "captions", "retrieval", "pretraining", "probing", "video")
LONG = ("scaling", "starting", "precision")


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module(name)


@pytest.fixture(autouse=True)
def _without_the_small_model() -> Iterator[None]:
    """open_clip's list of models is the process's own; other tests count it."""
    yield
    known = sys.modules.get("open_clip.factory")
    if known is not None:
        known._MODEL_CONFIGS.pop("coca_smoke", None)


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def run(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    script(name, monkeypatch).main(["--size", "smoke", "--rounds", "1"])
    found = last_line(capsys)
    assert found["benchmark"] == name
    rows = found["rows"]
    assert isinstance(rows, list)
    return rows


@pytest.mark.peer
@pytest.mark.parametrize("name", QUICK)
@pytest.mark.filterwarnings("ignore")
def test_a_script_runs(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("clip_benchmark", reason="CLIP_benchmark is not installed")
    rows = run(name, monkeypatch, capsys)
    assert rows or name == "video"  # without real clips that has nothing to read
    assert all(float(str(row["value"])) > 0 and row["target"] is None for row in rows)


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.parametrize("name", LONG)
@pytest.mark.filterwarnings("ignore")
def test_a_longer_script_runs(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run(name, monkeypatch, capsys)
    assert rows or name == "precision"  # without real data that has nothing to look at
    assert all(float(str(row["value"])) >= 0 for row in rows)


def test_the_table_says_whether_an_aim_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring, table = script("measuring", monkeypatch), script("run", monkeypatch)
    rows = [
        measuring.ratio_row("reading | writing", "a peer", [4.0, 6.0], [2.0, 2.0], target=2.0, equal="equal"),
        measuring.value_row("memory", "a peer", [60.0], unit="%", target=50, at_least=False),
    ]
    machine = {
        "date": "2026-01-02",
        "cpu": "one",
        "cores": 2,
        "memory": "24 GiB",
        "python": "3",
        "versions": {"a": "1"},
    }
    found = {"images": {"rows": [asdict(row) for row in rows], "machine": machine}}
    written = table.write_table(found)
    assert "Measured 2026-01-02 on 2 cores of an one with 24 GiB; Python 3, a 1." in written
    first, second, _, last = written.splitlines()[-4:]
    assert last.startswith("No figures here yet: zeroshot, captions, ")
    assert first == (
        "| reading \\| writing<br><sub>5.00 s against 2.00 s; equal</sub> | a peer | 2.50 times as fast | 2.00 to 3.00 "
        "| ≥ 2.00 | met |"
    )
    assert second.endswith("| 60.0 % | 60.0 to 60.0 | ≤ 50.0 | **not met** |")
    other = {"rows": [asdict(rows[1])], "machine": machine | {"instructions": "AVX2 without bf16"}}
    both = table.write_table(found | {"images, without bf16": other})
    assert both.startswith(written)  # never among those of another kind of processor
    assert "\n\nMeasured 2026-01-02 on 2 cores of an one (AVX2 without bf16) with 24 GiB; " in both
    assert both.splitlines()[-1] == second
    page = f"# T\n{table.BEGIN}old\n{table.END}\nafter\n"
    assert table.rewrite(page, written) == f"# T\n{table.BEGIN}{written}{table.END}\nafter\n"


def test_what_lies_in_the_folder_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    table = script("run", monkeypatch)
    parts = {"measuring", "models", "pictures", "run", "estimates", "aerial_questions"}
    assert {path.stem for path in FOLDER.glob("*.py")} - parts == set(table.SCRIPTS) == {*QUICK, *LONG}
    assert sys.path[0] == str(FOLDER)
