"""Ctrl-C and SIGTERM end a training run after the step that is under way, so that it can save."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

import torch

from coca_cli.progress import Reporter
from coca_cli.training.distributed import sum_over
from coca_cli.world import World

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopRequest:
    """Whether somebody wants the run to end.

    Attributes:
        by: The signal that came, or None.
    """

    by: int | None = None

    def agreed(self, world: World, device: torch.device) -> bool:
        """Whether any process has been asked to stop; the same answer on all of them."""
        if world.size == 1:
            return self.by is not None
        asked = sum_over(torch.tensor([self.by or 0, int(self.by is not None)], device=device), world).tolist()
        if asked[1]:
            self.by = self.by or round(asked[0] / asked[1])
        return bool(asked[1])

    def leave(self) -> NoReturn:
        """End the process as the signal would have.

        Raises:
            KeyboardInterrupt: It was Ctrl-C.
            SystemExit: It was SIGTERM; exit code 143.
        """
        if self.by == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


@contextmanager
def stop_requests(reporter: Reporter) -> Iterator[StopRequest]:
    """Take note of the signals while the block runs; a second Ctrl-C interrupts at once.

    A second SIGTERM does not: under torchrun one request to stop can arrive twice, from the system and from torchrun.

    Args:
        reporter: Says that the signal was heard.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    heard: set[int] = set()

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in heard:
            raise KeyboardInterrupt
        heard.add(number)
        request.by = request.by or number
        if number == signal.SIGINT:
            reporter.warn("stopping after this step, then saving; Ctrl-C again stops at once")

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
