from __future__ import annotations

import os
import signal
import threading

import pytest
import torch

from coca_cli.progress import Reporter
from coca_cli.training.stopping import StopRequest, stop_requests
from coca_cli.world import SINGLE

CPU = torch.device("cpu")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_the_block_goes_on(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with stop_requests(Reporter()) as request:
        assert not request.agreed(SINGLE, CPU)
        os.kill(os.getpid(), number)
        assert request.agreed(SINGLE, CPU)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
    heard = "stopping after this step, then saving; Ctrl-C again stops at once" in capsys.readouterr().err
    assert heard == (number == signal.SIGINT)


def test_a_second_ctrl_c_stops_at_once() -> None:
    with stop_requests(Reporter(quiet=True)):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_sigterm_changes_nothing(first: signal.Signals) -> None:
    """Slurm sends one to every process, and torchrun sends its own on."""
    with stop_requests(Reporter(quiet=True)) as request:
        try:
            for number in (first, signal.SIGTERM, signal.SIGTERM):
                os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            pytest.fail("stopped at once, without saving")
        assert request.by == first
        assert request.agreed(SINGLE, CPU)


def test_ctrl_c_after_sigterm_waits_for_another() -> None:
    with stop_requests(Reporter(quiet=True)) as request:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert request.by == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_process_ends_as_the_signal_would_have_ended_it() -> None:
    with pytest.raises(KeyboardInterrupt):
        StopRequest(signal.SIGINT).leave()
    with pytest.raises(SystemExit) as stopped:
        StopRequest(signal.SIGTERM).leave()
    assert stopped.value.code == 143


def test_in_another_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def enter() -> None:
        with stop_requests(Reporter()) as request:
            seen.extend([request.by, signal.getsignal(signal.SIGINT)])

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [None, before]
