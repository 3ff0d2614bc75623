"""Progress and notices for people, on stderr; answers go to stdout and never through here."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from coca_cli.printable import printable
from coca_cli.redaction import without_secrets

T = TypeVar("T")

PLAIN_INTERVAL = 30.0
"""Seconds between two lines where there is no terminal."""


BAR_WIDTH = 20


class _CutColumn(ProgressColumn):
    """Words that give way where the terminal is narrow; the longest are cut first."""

    def __init__(self, words: Callable[[Task], str], style: str = "") -> None:
        super().__init__()
        self._words, self._style = words, style

    def render(self, task: Task) -> Text:
        """One line, cut at its end."""
        return Text(self._words(task), style=self._style, no_wrap=True, overflow="ellipsis")


def _whole() -> Column:
    return Column(no_wrap=True)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Examples per second, as rich measures it."""
        return Text(f"{task.speed:,.1f}/s" if task.speed else "", style="progress.data.speed")


class Reporter:
    """Says on stderr what is going on.

    Args:
        quiet: Say nothing but warnings.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.detail = ""
        """A few words that stand behind the progress, such as the loss; changed by whoever does the work."""
        self._console = Console(stderr=True, highlight=False)

    def notice(self, text: str) -> None:
        """One line that is good to know."""
        if not self.quiet:
            self._console.print(printable(without_secrets(text)), style="dim", markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """One line that the user should not miss; printed even when quiet."""
        self._console.print(
            f"warning: {printable(without_secrets(text))}", style="yellow", markup=False, soft_wrap=True
        )

    def track(
        self, items: Iterable[T], *, total: int | None, label: str, size: Callable[[T], int] = lambda _: 1
    ) -> Iterator[T]:
        """Pass `items` on, showing how many, how quickly and how long still.

        Args:
            items: What is worked through.
            total: How many units there are in all, or None where nobody knows.
            label: What is being done, in a few words.
            size: Units in an item, such as the examples of a batch.
        """
        if self.quiet:
            yield from items
        elif self._console.is_terminal:
            yield from self._bar(items, total, label, size)
        else:
            yield from self._lines(items, total, label, size)

    def _bar(self, items: Iterable[T], total: int | None, label: str, size: Callable[[T], int]) -> Iterator[T]:
        columns = (
            _CutColumn(lambda task: task.description),
            BarColumn(BAR_WIDTH),
            MofNCompleteColumn(table_column=_whole()),
            TimeRemainingColumn(table_column=_whole()),
            _RateColumn(table_column=_whole()),
            _CutColumn(lambda task: str(task.fields["detail"]), style="dim"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(label, total=total, detail="")
            for item in items:
                yield item
                done = progress.tasks[0].completed + size(item)
                progress.update(task, completed=min(done, total) if total else done, detail=self.detail)

    def _lines(self, items: Iterable[T], total: int | None, label: str, size: Callable[[T], int]) -> Iterator[T]:
        start = last = time.monotonic()
        done = 0
        for item in items:
            yield item
            done += size(item)
            now = time.monotonic()
            if now - last >= PLAIN_INTERVAL:
                last = now
                rate = done / (now - start)
                of = f" of {total:,}, {max(total - done, 0) / rate:,.0f} s left" if total else ""
                print(f"{label}: {done:,}{of} ({rate:,.1f}/s) {self.detail}".rstrip(), file=sys.stderr, flush=True)
