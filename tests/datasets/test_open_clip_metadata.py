from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator

import pytest

from coca_cli.datasets.open_clip_metadata import imagenet_prompts
from coca_cli.errors import MissingExtra


@pytest.fixture
def _uncached() -> Iterator[None]:
    imagenet_prompts.cache_clear()
    yield
    imagenet_prompts.cache_clear()


def test_words_are_complete() -> None:
    names, templates = imagenet_prompts()

    assert len(names) == 1000
    assert len(templates) == 80
    assert all(template.count("{c}") == 1 and "{" not in template.replace("{c}", "") for template in templates)
    assert (names[0], names[999], templates[0]) == ("tench", "toilet paper", "a bad photo of a {c}.")
    assert imagenet_prompts() is imagenet_prompts()


@pytest.mark.peer
def test_words_are_open_clips_own() -> None:
    open_clip = pytest.importorskip("open_clip")
    names, templates = imagenet_prompts()

    assert list(names) == list(open_clip.IMAGENET_CLASSNAMES)
    assert [template.replace("{c}", "red fox") for template in templates] == [
        template("red fox") for template in open_clip.OPENAI_IMAGENET_TEMPLATES
    ]


def test_words_are_found_without_heavy_imports() -> None:
    code = (
        "import sys; from pathlib import Path; from coca_cli.datasets import DATASETS;"
        "words = DATASETS.get('imagenet').prompts(Path('.'));"
        "heavy = {'torch', 'torchvision', 'pandas', 'open_clip', 'sklearn'};"
        "print(len(words.class_names), sorted(heavy & {*sys.modules}))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "1000 []"


@pytest.mark.usefixtures("_uncached")
def test_open_clip_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(
        MissingExtra, match=r"come from open_clip's zero_shot_metadata\.py, which was not found; run: pip"
    ):
        imagenet_prompts()
