"""The command line in processes that begin within milliseconds, so that they can be killed often and at any moment.

A server imports the package once and forks itself for each command; the command is the leader of a session of its own,
so that a kill reaches whatever it started.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

PATIENCE = 240.0
"""Seconds until a command counts as hanging; these machines are slow at times."""

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.preloaded"])


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        code: Its exit code; below zero the signal that ended it.
        out: What it wrote on stdout.
        err: What it wrote on stderr.
        seconds: How long it ran.
    """

    code: int
    out: str
    err: str
    seconds: float


class Limits(NamedTuple):
    """What the system grants a command.

    Attributes:
        files: Open files; None for what is usual.
        file_size: Bytes of a file; None for any.
        environment: Variables that are set, or taken away where the value is None.
    """

    files: int | None = None
    file_size: int | None = None
    environment: Mapping[str, str | None] = {}


USUAL = Limits()


def start(words: Sequence[object], log: Path, limits: Limits = USUAL) -> BaseProcess:
    """Begin `coca WORDS...`; what it says goes to LOG.out and LOG.err."""
    environment = {"COCA_CACHE": os.environ["COCA_CACHE"], "HF_HUB_OFFLINE": "1", **limits.environment}
    limits = limits._replace(environment=environment)
    process = _CONTEXT.Process(target=_run, args=([str(word) for word in words], str(log), limits))
    process.start()
    return process


def finish(process: BaseProcess, log: Path, began: float) -> Ended:
    """Wait for its end.

    Raises:
        AssertionError: It hangs.
    """
    process.join(PATIENCE)
    if process.exitcode is None:
        kill(process)
        raise AssertionError(f"it hangs: {log.with_suffix('.err').read_text()}")
    seconds = time.monotonic() - began
    out, err = (log.with_suffix(suffix).read_text(errors="replace") for suffix in (".out", ".err"))
    return Ended(process.exitcode, out, err, seconds)


def run(words: Sequence[object], log: Path, limits: Limits = USUAL) -> Ended:
    """The whole command."""
    began = time.monotonic()
    return finish(start(words, log, limits), log, began)


def run_killed(words: Sequence[object], log: Path, after: float) -> Ended | None:
    """Kill the command after so many seconds; None where it was still at work, else how it had ended."""
    began = time.monotonic()
    process = start(words, log)
    process.join(after)
    if process.exitcode is not None:
        return finish(process, log, began)
    kill(process)
    process.join(PATIENCE)
    return None


def kill(process: BaseProcess) -> None:
    """End it and all that it started, as the kernel does: without a word."""
    assert process.pid is not None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it does not yet lead a session, or is gone
        process.kill()


def _run(words: list[str], log: str, limits: Limits) -> None:
    os.setsid()
    for descriptor, suffix in ((1, ".out"), (2, ".err")):
        file = os.open(Path(log).with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    for name, value in limits.environment.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    for kind, most in ((resource.RLIMIT_NOFILE, limits.files), (resource.RLIMIT_FSIZE, limits.file_size)):
        if most is not None:
            resource.setrlimit(kind, (most, most))
    if limits.file_size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead, as on a full disk
    from coca_cli.cli import main

    main(words)
