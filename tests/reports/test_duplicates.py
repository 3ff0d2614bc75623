from __future__ import annotations

import pytest

from coca_cli.datasets.keep_lists import Compared, Origin
from coca_cli.reports.duplicates import render_duplicates


def origin(**changes: object) -> Origin:
    fields: dict[str, object] = {
        "source": "pairs.csv",
        "pictures": 12_000,
        "removed": 15,
        "kept": 11_985,
        "compared": [
            Compared("imagenet val", 50_000, found=9, copies=1, near=7, embedded=2),
            Compared("flickr30k test", 1000, found=5, near=6),
        ],
    }
    return Origin(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_line_for_each_set_and_the_sum() -> None:
    lines = render_duplicates(origin()).splitlines()
    assert cells(lines[0]) == ["evaluation set", "pictures", "in training", "copies", "edited", "removed"]
    assert cells(lines[2]) == ["imagenet val", "50,000", "9", "1", "7", "10"]
    assert cells(lines[3]) == ["flickr30k test", "1,000", "5", "0", "6", "6"]
    assert lines[4] == "pairs.csv: 15 of 12,000 removed (0.12 %)"
    assert len(lines) == 5


def test_embeddings_have_a_column_where_there_is_a_model() -> None:
    lines = render_duplicates(origin(settings={"model": "tiny 0123abcd"})).splitlines()
    assert "by embedding" in lines[0]
    assert cells(lines[2]) == ["imagenet val", "50,000", "9", "1", "7", "2", "10"]


def test_unreadable_pictures_are_counted() -> None:
    assert "3 could not be read; they stay in the list, and training skips them" in render_duplicates(
        origin(unreadable=3)
    )


def test_no_training_pictures_at_all() -> None:
    assert "0 of 0 removed (0.00 %)" in render_duplicates(origin(pictures=0, removed=0, kept=0))


def test_a_narrow_terminal_and_a_long_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    name = "wds:/a/very/long/path/to/some/shards-{0000..0100}.tar test"
    lines = render_duplicates(origin(compared=[Compared(name, 1234)])).splitlines()
    assert max(map(len, lines)) <= 60
    assert "1,234" in "".join(lines)
