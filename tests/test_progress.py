from __future__ import annotations

import io
import itertools
from collections.abc import Iterator

import pytest
from rich.console import Console

from coca_cli import progress
from coca_cli.progress import Reporter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is 10 seconds after the one before."""
    ticks = itertools.count(0, 10)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(ticks)))


def terminal(reporter: Reporter, width: int = 120) -> io.StringIO:
    """Let the reporter believe that it writes to a terminal; what it writes comes back."""
    screen = io.StringIO()
    reporter._console = Console(file=screen, force_terminal=True, width=width, highlight=False)
    return screen


def test_everything_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    reporter.notice("reading 3 shards")
    reporter.warn("2 pictures cannot be read")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "reading 3 shards\nwarning: 2 pictures cannot be read\n"


def test_quiet_leaves_the_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(quiet=True)
    reporter.notice("reading 3 shards")
    reporter.warn("2 pictures cannot be read")
    assert list(reporter.track([1, 2], total=2, label="reading")) == [1, 2]
    assert capsys.readouterr() == ("", "warning: 2 pictures cannot be read\n")


@pytest.mark.parametrize("text", ["a [red] kite", "no tag [/x] here", "x" * 500, "50 % [1/2] of 'it'"])
def test_texts_are_printed_as_they_are(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Reporter().notice(text)
    Reporter().warn(text)
    assert capsys.readouterr().err == f"{text}\nwarning: {text}\n"


@pytest.mark.usefixtures("clock")
def test_without_a_terminal_a_line_appears_seldom(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    seen = []
    for number in reporter.track(range(1, 8), total=1000, label="embedding", size=lambda _: 50):
        reporter.detail = f"loss {number}"
        seen.append(number)
    out, err = capsys.readouterr()
    assert seen == list(range(1, 8))
    assert out == ""
    assert err.splitlines() == [
        "embedding: 150 of 1,000, 170 s left (5.0/s) loss 3",
        "embedding: 300 of 1,000, 140 s left (5.0/s) loss 6",
    ]


@pytest.mark.usefixtures("clock")
def test_without_a_total_no_time_left_is_promised(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(list(Reporter().track(range(3), total=None, label="reading"))) == 3
    assert capsys.readouterr().err == "reading: 3 (0.1/s)\n"


@pytest.mark.usefixtures("clock")
def test_more_than_the_total_leaves_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    list(Reporter().track(range(3), total=2, label="reading"))
    assert capsys.readouterr().err == "reading: 3 of 2, 0 s left (0.1/s)\n"


def test_a_short_job_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(Reporter().track("abc", total=3, label="reading")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_a_bar_with_rate_and_detail() -> None:
    reporter = Reporter()
    screen = terminal(reporter)
    for number in reporter.track(range(4), total=40, label="embedding", size=lambda _: 10):
        reporter.detail = f"loss {number}"
    text = screen.getvalue()
    assert "embedding" in text
    assert "40/40" in text
    assert "loss 3" in text


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("label", ["training", "a/long/path/" * 8])
def test_count_and_time_left_stand_in_a_narrow_terminal(width: int, label: str) -> None:
    reporter = Reporter()
    screen = terminal(reporter, width)
    for _ in reporter.track(range(30), total=30, label=label):
        reporter.detail = "loss 5.23 (contrastive 2.08, caption 3.15), temperature 0.07, gradient 1.20, 3% of peak"
    text = screen.getvalue()
    assert "30/30" in text
    assert "0:00:00" in text
    assert label[:5] in text
    assert "gradient" not in text


@pytest.mark.parametrize("label", ["folder:/data/[cats]", "folder:/data/[/x]", "[bold]x"])
def test_labels_and_details_are_no_markup(label: str) -> None:
    """A dataset's name may be any path."""
    reporter = Reporter()
    screen = terminal(reporter)
    for _ in reporter.track(range(2), total=2, label=label):
        reporter.detail = "half [/way]"
    assert label in screen.getvalue()
    assert "half [/way]" in screen.getvalue()


@pytest.mark.parametrize("total", [None, 2])
def test_a_bar_copes_with_any_total(total: int | None) -> None:
    reporter = Reporter()
    terminal(reporter)
    assert list(reporter.track(range(5), total=total, label="reading")) == list(range(5))


@pytest.mark.parametrize("quiet", [True, False])
@pytest.mark.parametrize("on_terminal", [True, False])
def test_items_are_passed_on_one_by_one(quiet: bool, on_terminal: bool) -> None:
    """Nothing is read ahead, and stopping early closes what is read."""
    taken = []

    def source() -> Iterator[int]:
        try:
            for number in range(5):
                taken.append(number)
                yield number
        finally:
            taken.append(-1)

    reporter = Reporter(quiet=quiet)
    if on_terminal:
        terminal(reporter)
    items = source()
    stream = reporter.track(items, total=5, label="reading")
    assert [next(stream), next(stream)] == [0, 1]  # type: ignore[call-overload]
    assert taken == [0, 1]
    stream.close()  # type: ignore[attr-defined]
    items.close()  # type: ignore[attr-defined]
    assert taken == [0, 1, -1]


def test_an_error_in_the_work_passes_through() -> None:
    reporter = Reporter()
    terminal(reporter)
    with pytest.raises(ZeroDivisionError):
        list(reporter.track((1 / number for number in (2, 1, 0)), total=3, label="reading"))
