"""What the scripts here share: their options, sides that run in turn, rows of the table, the JSON line at the end.

A script compares `coca` with a peer. It first asserts that both say the same, then runs both sides in turn, several
rounds, and ends in `report`: rows for people, and one line of JSON for `run.py`, which writes the table of README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from coca_cli.model.placement import runs_bf16_well

VERSIONS = ("torch", "torchvision", "numpy", "open_clip_torch", "clip-benchmark", "timm", "decord2", "pillow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of the table.

    Attributes:
        what: What is done.
        against: By whom it is done otherwise; or what the figure is a part of.
        value: The figure, from the medians of all rounds.
        low: The lowest of a single round.
        high: The highest of a single round.
        unit: What follows the figure.
        target: What is aimed at, if anything.
        at_least: The figure should be the target or more; otherwise the target or less.
        equal: What was asserted before, or is known of the outputs.
        detail: The medians behind it, in words.
    """

    what: str
    against: str
    value: float
    low: float
    high: float
    unit: str
    target: float | None = None
    at_least: bool = True
    equal: str = ""
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


def figure(value: float) -> str:
    """Three digits at most, as the table shows it."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def ratio_row(what: str, against: str, theirs: Sequence[float], ours: Sequence[float], **rest: Any) -> Row:
    """How many times as fast: medians of seconds of the same rounds on both sides; `rest` are further fields."""
    rounds = [a / b for a, b in zip(theirs, ours, strict=True)]
    slow, fast = statistics.median(theirs), statistics.median(ours)
    words = {"unit": "times as fast", "detail": f"{figure(slow)} s against {figure(fast)} s"} | rest
    return Row(what=what, against=against, value=slow / fast, low=min(rounds), high=max(rounds), **words)


def value_row(what: str, against: str, values: Sequence[float], **rest: Any) -> Row:
    """A figure that is measured as it stands, once in each round; `rest` are further fields."""
    return Row(what=what, against=against, value=statistics.median(values), low=min(values), high=max(values), **rest)


def parser(description: str | None, rounds: int = 3) -> argparse.ArgumentParser:
    """The options that all scripts have.

    Args:
        description: The script's docstring.
        rounds: How often each side runs, unless told otherwise.
    """
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--size", choices=["smoke", "regular"], default="regular", help="smoke: does it still run?")
    found.add_argument("--rounds", type=int, default=rounds, help="how often each side runs")
    found.add_argument("--data", type=Path, default=_given_data(), help="real pictures and clips (COCA_TEST_DATA)")
    found.add_argument("--peers", type=Path, help="older packages that peers need: `make bench` installs them")
    found.add_argument("--side", help=argparse.SUPPRESS)
    return found


def _given_data() -> Path | None:
    return Path(os.environ["COCA_TEST_DATA"]) if "COCA_TEST_DATA" in os.environ else None


def timed(run: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turn(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each side in each round; before the first everything has run once."""
    for run in sides.values():
        run()
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, run in sides.items():
            seconds[side].append(timed(run))
    return seconds


def peak_memory() -> int:
    """The most memory that this process had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def ask_side(
    script: str,
    side: str,
    options: argparse.Namespace,
    run: Callable[[argparse.Namespace], dict[str, Any]],
    *,
    peers: bool = False,
) -> dict[str, Any]:
    """Run one side of a script in a process of its own, so that its memory can be told; its last line is JSON.

    Args:
        script: The script's file.
        side: Which; the process gets it as --side.
        options: What else it gets.
        run: What the process runs. At smoke size this one does, to save the imports; memory then tells nothing.
        peers: The older packages come first on its path.
    """
    if options.size == "smoke" and not peers:
        return run(argparse.Namespace(**vars(options) | {"side": side}))
    words = [sys.executable, "-W", "ignore", script, "--side", side]
    for name, value in vars(options).items():
        if value is not None and value is not False and name != "side":
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    environment = dict(os.environ)
    if peers:
        environment["PYTHONPATH"] = str(options.peers.resolve())
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{Path(script).name}, side {side}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(name: str, options: argparse.Namespace, rows: Sequence[Row], **more: Any) -> None:
    """Print the rows, and everything as one line of JSON.

    Args:
        name: Of the script.
        options: As it was called.
        rows: The figures.
        more: What else was measured.
    """
    for row in rows:
        aim = "" if row.target is None else f"   ({'at least' if row.at_least else 'at most'} {figure(row.target)})"
        print(f"{row.what}, against {row.against}")
        print(f"    {figure(row.value)} {row.unit}, {figure(row.low)} to {figure(row.high)} by round{aim}")
        print(f"    {row.detail}{'; ' if row.detail and row.equal else ''}{row.equal}")
    told = {"benchmark": name, "size": options.size, "rounds": options.rounds, "rows": [asdict(row) for row in rows]}
    print(json.dumps(told | more | {"machine": machine()}))


def machine() -> dict[str, Any]:
    """Where it was measured, and with what."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": _cpu_name(),
        "instructions": _instructions(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": _memory(),
        "python": platform.python_version(),
        "versions": {name: found for name in VERSIONS if (found := _version(name))},
    }


def has_bf16() -> bool:
    """Whether the processor has products of bf16, and `--precision auto` takes them."""
    return runs_bf16_well(torch.device("cpu"))


def _instructions() -> str:
    """The processor's, as far as products of matrices go."""
    return f"{torch.backends.cpu.get_cpu_capability()} {'with' if has_bf16() else 'without'} bf16"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _cpu_name() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (ValueError, OSError):
        return ""
