"""What the shell offers after an option."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coca_cli.completion import offer_datasets, offer_models


def test_the_shell_is_offered_datasets() -> None:
    words = "coca eval zeroshot -d imagenet-"
    asked = {"_COCA_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    program = [sys.executable, "-c", "from coca_cli.cli import main; main()"]
    done = subprocess.run(program, env=os.environ | asked, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["imagenet-a", "imagenet-r", "imagenet-sketch", "imagenet-v2"], done.stderr


def test_datasets_and_schemes_are_offered() -> None:
    assert offer_datasets("cifar") == ["cifar10", "cifar100"]
    assert "folder:" in offer_datasets("")


def test_models_are_names_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine", "other"):
        (tmp_path / name / "inside").mkdir(parents=True)
    (tmp_path / "mine.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert "coca_ViT-L-14" in offer_models("coca_Vi")
    assert offer_models("mi") == ["mine/"]
    assert offer_models("mine/") == ["mine/inside/"]
    assert offer_models(f"{tmp_path}/oth") == [f"{tmp_path}/other/"]
    assert offer_models("./mi") == ["./mine/"]
    assert offer_models("nowhere/x") == offer_models("~nobody-here/x") == []
