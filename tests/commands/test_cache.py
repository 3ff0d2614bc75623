"""`coca data cache` as a user runs it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from coca_cli.reports.cache import describe_size
from tests.commands.running import run
from tests.commands.test_eval_retrieval import evaluate, model, table  # noqa: F401  (fixtures)


@pytest.fixture
def cache(model: Path, table: Path, tmp_path: Path) -> Path:  # noqa: F811
    """The cache of a retrieval and a zero-shot evaluation."""
    results = tmp_path / "results"
    evaluate(model, f"captions:{table}", results)
    words = ("-m", model, "-d", "digits", "--limit", 5, "--results", results, "--cache-dir", results / "cache")
    assert run("eval", "zeroshot", *words, "--precision", "fp32") == 0
    return results / "cache"


def listed(cache: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert run("data", "cache", "list", "--cache-dir", cache) == 0
    return capsys.readouterr().out.splitlines()


def test_the_list_says_whose_everything_is(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    head, *rows, total = listed(cache, capsys)
    assert head.split() == ["what", "model", "weights", "of", "format", "written", "size"]
    assert sorted(row.split()[0] for row in rows) == ["captions", "classifiers", "features", "features"]
    assert all(" tiny " in row and " fp32 " in row for row in rows)
    assert sum("digits" in row for row in rows) == 2
    assert total.startswith("4 entries, ")


def test_some_are_cleared_and_then_all(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "cache", "clear", "digits", "features", "--cache-dir", cache) == 0
    assert capsys.readouterr().out.endswith(" freed\n")
    assert listed(cache, capsys)[-1].startswith("3 entries")
    assert run("data", "cache", "clear", "no such words", "--cache-dir", cache) == 0
    assert capsys.readouterr().out == "0 entries removed, 0 B freed\n"
    assert run("data", "cache", "clear", "--cache-dir", cache) == 0
    assert listed(cache, capsys) == [f"nothing is kept in {cache}"]


def test_old_entries_are_cleared(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (old,) = (cache / "classifiers").iterdir()
    long_ago = time.time() - 10 * 86_400
    os.utime(old, (long_ago, long_ago))
    assert run("data", "cache", "clear", "--older-than", 9, "--cache-dir", cache) == 0
    assert not old.exists()
    assert listed(cache, capsys)[-1].startswith("3 entries")


def test_after_clearing_the_evaluation_gives_the_same(cache: Path, model: Path, table: Path, tmp_path: Path) -> None:  # noqa: F811
    before = (tmp_path / "results" / "results.csv").read_text().splitlines()[1].split(",")[:6]
    assert run("data", "cache", "clear", "--cache-dir", cache) == 0
    evaluate(model, f"captions:{table}", tmp_path / "results")
    assert (tmp_path / "results" / "results.csv").read_text().splitlines()[-10].split(",")[:6] == before


def test_damaged_entries_are_listed_and_cleared(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (damaged,) = (cache / "classifiers").iterdir()
    damaged.write_bytes(b"no tensors")
    for facts in cache.glob("features/*/facts.json"):
        facts.write_text("[]")
    assert any(row.startswith("classifiers") and " ? " in row for row in listed(cache, capsys))
    assert run("data", "cache", "clear", "--cache-dir", cache) == 0
    assert not damaged.exists()


def test_what_others_wrote_is_neither_listed_nor_cleared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = [tmp_path / name for name in ("photos/a.jpg", "features/plan.txt", "captions/mine.safetensors", "top.txt")]
    for path in (*mine, tmp_path / "features" / "old" / "b.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    assert listed(tmp_path, capsys) == [f"nothing is kept in {tmp_path}"]
    assert run("data", "cache", "clear", "--cache-dir", tmp_path) == 0
    assert all(path.is_file() for path in (*mine, tmp_path / "features" / "old" / "b.txt"))


def test_no_cache_is_no_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(tmp_path / "none", capsys) == [f"nothing is kept in {tmp_path / 'none'}"]


def test_what_cannot_be_read_or_removed_is_said(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refused)
        assert run("data", "cache", "clear", "features", "--cache-dir", cache) == 1
        assert "from the cache: Permission denied; is it yours?" in capsys.readouterr().err
        patch.setattr(Path, "iterdir", refused)
        assert run("data", "cache", "list", "--cache-dir", cache) == 1
        assert "cannot be read: Permission denied; name another with --cache-dir" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9_960, "10 kB"), (999_600, "1.0 MB"), (2.5e12, "2500 GB")],
)
def test_sizes_are_short(size: float, text: str) -> None:
    assert describe_size(int(size)) == text
