"""`coca doctor`: what is well, what is worth knowing, what is in the way."""

from __future__ import annotations

import importlib.metadata
import io
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from coca_cli import doctor
from coca_cli.doctor import Finding
from coca_cli.model import placement
from coca_cli.reports.findings import render_finding
from tests.commands.running import run


def test_this_machine_is_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--results", tmp_path / "results", "--cache-dir", tmp_path / "cache", "--data-root", tmp_path)
    assert run("doctor", "--no-network", *words) == 0
    out = capsys.readouterr().out
    for word in ("coca", "packages", "torchvision  fits torch", "precision", "Java", "hub", "data"):
        assert word in out
    assert "problem" not in out


def found(state: str, subject: str, findings: Any) -> str:
    (one,) = [f.text for f in findings if (f.state, f.subject) == (state, subject)]
    return str(one)


def test_packages_that_are_too_old_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        "numpy>=99",
        "not-a-package>=1",
        "torch>=2",
        'wandb>=0.17; extra == "wandb"',
        'pytest>=999; extra == "test"',
    ]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: asked)
    text = found("problem", "packages", doctor.examine_packages())
    numpy = importlib.metadata.version("numpy")
    told = text.replace("\xa0", " ")
    assert told == f"numpy {numpy}, not-a-package is not there: run pip install 'numpy>=99' 'not-a-package>=1'"


def test_wheels_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.ops

    def broken(*_: Any) -> None:
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr(torchvision.ops, "nms", broken)
    assert doctor.examine_operators() == Finding(
        "problem",
        "torchvision",
        "does not fit torch (operator torchvision::nms does not exist): install both together, pip install -U torch "
        "torchvision",
    )


def test_a_java_that_does_not_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_java", lambda _: "/no/such/java")
    assert "does not run (" in found("problem", "Java", doctor.examine_java())


@pytest.mark.parametrize(
    ("able", "told"),
    [
        (True, "--device auto is cpu, --precision auto is bf16"),
        (False, "--device auto is cpu, --precision auto is fp32 (bf16 wants a processor with AVX512_BF16)"),
    ],
)
def test_the_reason_for_fp32_is_told(able: bool, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "runs_bf16_well", lambda _: able)
    monkeypatch.setattr(doctor, "choose_device", lambda _: torch.device("cpu"))
    assert found("ok", "precision", doctor.examine_device()) == told


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert doctor.examine_folder("results", tmp_path / "file" / "x").state == "problem"
    made = doctor.examine_folder("results", tmp_path / "new" / "er")
    assert made.state in ("ok", "note")
    assert "er (to be made), " in made.text
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert doctor.examine_folder("results", tmp_path).text == f"{tmp_path} cannot be written: choose another folder"


@pytest.mark.parametrize(
    ("answer", "state", "text"),
    [
        (None, "ok", "answers: --pretrained TAG"),
        (urllib.error.HTTPError("", 403, "no", None, None), "ok", "answers"),  # type: ignore[arg-type]
        (urllib.error.URLError("no route"), "note", "does not answer: give weights as files"),
        (TimeoutError(), "note", "does not answer"),
    ],
)
def test_the_hub(answer: Exception | None, state: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Opened:
        def __init__(self, *_: Any, **__: Any) -> None:
            if answer is not None:
                raise answer

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(doctor.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(urllib.request, "urlopen", Opened)
    finding = doctor.examine_hub()
    assert finding.state == state
    assert finding.text.startswith(text)
    monkeypatch.setattr(doctor.constants, "ENDPOINT", "file:///etc")
    assert "no https address" in doctor.examine_hub().text
    monkeypatch.setattr(doctor.constants, "HF_HUB_OFFLINE", True)
    assert doctor.examine_hub().text.startswith("HF_HUB_OFFLINE is set")


def test_data(tmp_path: Path) -> None:
    assert doctor.examine_data(tmp_path).text.startswith(f"nothing below {tmp_path}")
    folder = tmp_path / "imagenet-a" / "n01498041"
    folder.mkdir(parents=True)
    (folder / "1.jpg").touch()
    assert doctor.examine_data(tmp_path) == Finding(
        "ok", "data", f"{tmp_path}: imagenet-a (coca data check counts them)"
    )
    (tmp_path / "easy-vqa" / "test").mkdir(parents=True)
    (tmp_path / "easy-vqa" / "test" / "questions.json").write_text("{")
    damaged = doctor.examine_data(tmp_path)
    assert damaged.state == "problem"
    assert "easy-vqa: " in damaged.text


def test_a_problem_ends_with_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "examine", lambda *_, **__: iter([Finding("problem", "disk", "is full")]))
    assert run("doctor") == 1
    assert capsys.readouterr().out.split() == ["problem", "disk", "is", "full", "1", "in", "the", "way."]


def test_what_is_to_be_copied_stays_in_one_line() -> None:
    command = "pip install 'torch>=2.8' 'torchvision>=0.23' 'open-clip-torch>=3.3'"
    console = Console(width=40, file=io.StringIO())
    console.print(render_finding("problem", "packages", f"old: {command.replace(' ', chr(160))}", 40), soft_wrap=True)
    assert f"{' ' * 22}{command}\n" in console.file.getvalue()  # type: ignore[attr-defined]


def test_long_lines_go_on_below_themselves() -> None:
    lines = render_finding("ok", "data", "one two three four five six seven eight nine ten eleven", 60).plain.split(
        "\n"
    )
    assert len(lines) == 2
    assert lines[1].startswith(" " * 22)
    assert max(map(len, lines)) <= 60
