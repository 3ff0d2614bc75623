"""The program as a whole: its version, its help, and what it says when it is asked to say more."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from coca_cli import __version__
from coca_cli.datasets import find_dataset
from coca_cli.errors import MissingFile
from tests.commands.running import run


def coca(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coca_cli", *words]
    unwanted = {"FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"}
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_version_names_torch_and_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    told = rf"coca {re.escape(__version__)}, torch {re.escape(torch.__version__)}, device (cpu|cuda|mps)\n"
    assert re.fullmatch(told, capsys.readouterr().out)


def test_help_has_its_commands_in_panels_and_fits_80_columns() -> None:
    shown = coca("--help", COLUMNS="80", TERMINAL_WIDTH="80", NO_COLOR="1").stdout
    panels = re.findall(r"─ ([A-Z][\w ]+) ─", shown)
    assert panels == ["Options", "Begin", "Train", "Use a model", "Measure", "Data and models"]
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown


def test_verbose_tells_where_a_refusal_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("eval", "zeroshot", "-m", "nothing", "-d", "digitz", "--results", str(tmp_path))
    assert run(*words) == 1
    plain = capsys.readouterr().err
    assert plain.startswith("coca: unknown dataset 'digitz'. Did you mean digits")
    verbose = coca(*words, "-v")
    assert verbose.returncode == 1
    assert verbose.stderr.startswith("Traceback")
    assert verbose.stderr.endswith(plain)
    assert "find_dataset" in verbose.stderr


@pytest.mark.parametrize(
    ("text", "name"), [(r"folder:C:\my pictures\cats", r"C:\my pictures\cats"), ("folder:/my pictures", "/my pictures")]
)
def test_paths_with_blanks_and_drives_stay_whole(text: str, name: str) -> None:
    with pytest.raises(MissingFile, match=re.escape(name)):
        find_dataset(text)
