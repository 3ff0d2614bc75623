"""What an evaluation leaves behind: one row per number, one file per run, and the store that keeps both."""

from __future__ import annotations

import csv
import errno
import hashlib
import importlib.metadata
import io
import json
import math
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from coca_cli import __version__
from coca_cli.errors import CocaError
from coca_cli.files import written_whole

LOCK_SECONDS = 60.0
"""How long a run waits for another one that is saving; saving takes milliseconds."""

PROBE_BYTES = 64 * 1024
"""What is written and removed to see that a folder can be written: more than the rows of any one run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One number: one row of a long table.

    Attributes:
        task: What was measured, such as "zeroshot".
        dataset: The name that the user typed after `--dataset`.
        dataset_version: The dataset's version; it rises whenever a change of the reader moves a score.
        split: Which part of the dataset.
        metric: The field's name of the number, such as "top-1".
        value: In the points that papers print: 0 to 100 for rates, CIDEr times 100. NaN where it is not defined.
        low: Lower end of the 95 % interval, in points.
        high: Upper end of the 95 % interval, in points.
        n: Examples scored.
        skipped: Examples left out because they could not be read.
        model: The name that the user typed after `--model`.
        checkpoint: Short hash of the weights.
        settings: Short hash of every setting that can move the number; the settings stand in the run file.
        seed: Seed of all randomness.
        device: Where the model ran, such as "cpu".
        precision: Number format of the weights during inference.
        seconds: How long the whole run took.
        coca: Version of this program.
        torch: Version of PyTorch.
        when: When the run ended, as `utc_now` writes it; the same for all rows of one run.
    """

    task: str
    dataset: str
    dataset_version: int
    split: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    skipped: int
    model: str
    checkpoint: str
    settings: str
    seed: int
    device: str
    precision: str
    seconds: float
    coca: str
    torch: str
    when: str


KINDS: dict[str, str] = {field.name: str(field.type) for field in fields(Result)}
"""Every column of a row, in order, and its type: "str", "int" or "float"."""

SAME_SETTING = ("task", "dataset", "split", "metric", "model", "checkpoint", "settings", "seed", "precision")
"""The columns that tell one setting from another; a row that is equal in them is the same number measured again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one command did, for the run file: enough to see where each row comes from and to do it again.

    Attributes:
        task: As in its rows.
        dataset: As in its rows.
        command: The command line as it was typed.
        settings: Every setting that can move a number, by name; its `settings_hash` stands in the rows.
        skipped: The examples that could not be read, as (id, reason).
        versions: As `installed_versions` gives them.
        seconds: How long the run took.
        when: As in its rows.
    """

    task: str
    dataset: str
    command: str
    settings: Mapping[str, object]
    skipped: Sequence[tuple[str, str]] = ()
    versions: Mapping[str, str]
    seconds: float
    when: str


def utc_now() -> str:
    """The time as rows and run files have it, in whole seconds: 2025-01-31T12:00:00Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def installed_versions() -> dict[str, str]:
    """Versions of Python, coca and torch, and the machine's platform, without importing torch."""
    return {
        "python": platform.python_version(),
        "coca": __version__,
        "torch": importlib.metadata.version("torch"),
        "platform": platform.platform(),
    }


def settings_hash(settings: Mapping[str, object]) -> str:
    """Short hash of settings: 10 hex digits that do not depend on the order of the names, the machine or the process.

    Raises:
        TypeError: A value that is neither plain data nor a path.
    """
    text = json.dumps(_plain(settings), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _plain(value: object) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # JSON has no number for it
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_plain(inner) for inner in value), key=repr)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(inner) for inner in value]
    raise TypeError(f"a setting must be plain data or a path, not {type(value).__name__}: {value!r}")


def to_record(result: Result) -> dict[str, str | int | float | None]:
    """The row as JSON can hold it: numpy's numbers become Python's, and what is not finite becomes None."""
    return {name: _coerce(kind, getattr(result, name)) for name, kind in KINDS.items()}


def _coerce(kind: str, value: Any) -> str | int | float | None:
    if kind == "str":
        return str(value)
    if kind == "int":
        return int(value)
    return float(value) if math.isfinite(value) else None


def _parse_row(line: bytes) -> Result:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("it is not a JSON object")
    if missing := [name for name in KINDS if name not in record]:
        raise ValueError(f"it has no {', '.join(missing)}")
    return Result(**{name: _restore(name, kind, record[name]) for name, kind in KINDS.items()})


def _restore(name: str, kind: str, value: Any) -> Any:
    if kind == "float" and value is None:
        return math.nan
    wanted: dict[str, Any] = {"str": str, "int": int, "float": int | float}
    if not isinstance(value, wanted[kind]) or isinstance(value, bool):
        raise ValueError(f"its {name} is {value!r}")
    return float(value) if kind == "float" else value


class Store:
    """A folder that keeps every result: rows are only ever added.

    `results.jsonl` holds one row a line, `runs/` one file per run, and `results.csv` the same rows for spreadsheets,
    written anew each time. Many processes may save at once.

    Args:
        folder: Made when it is needed.
        lock_seconds: How long to wait for another process that is saving.
    """

    def __init__(self, folder: Path, *, lock_seconds: float = LOCK_SECONDS) -> None:
        self.folder = Path(folder)
        self.rows_path = self.folder / "results.jsonl"
        self.table_path = self.folder / "results.csv"
        self.runs_folder = self.folder / "runs"
        self._lock_seconds = lock_seconds

    def check_writable(self) -> None:
        """Find out before hours of computing that the results could not be saved after them.

        Raises:
            CocaError: The folder cannot be made or written, or its rows cannot be read.
        """
        with self._opened():
            for folder in (self.folder, self.runs_folder):
                _probe(folder)
            if self.rows_path.exists():
                os.close(os.open(self.rows_path, os.O_RDWR | os.O_APPEND))
            if self.table_path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.table_path))
            self.rows()

    def append(self, results: Sequence[Result], run: Run) -> Path:
        """Save a run and its rows, all of them or none.

        Args:
            results: The rows, whose task, dataset, settings and time are the run's.
            run: What is kept beside them.

        Returns:
            The run file.

        Raises:
            CocaError: The folder cannot be written.
            ValueError: A row that does not belong to the run.
        """
        digest = settings_hash(run.settings)
        for row in results:
            if (row.task, row.dataset, row.settings, row.when) != (run.task, run.dataset, digest, run.when):
                raise ValueError(f"the row {_row_name(row)} does not belong to the run: {row} {run}")
        lines = b"".join(json.dumps(to_record(row), allow_nan=False).encode() + b"\n" for row in results)
        document = json.dumps(_run_document(results, run), indent=2) + "\n"
        with self._opened():
            path = _free_path(self.runs_folder, _run_name(run, digest))
            write_atomically(path, document)
            try:
                _append_whole(self.rows_path, lines)
            except OSError:
                path.unlink()
                raise
            write_atomically(self.table_path, _csv_text(self.rows()))
        return path

    def rows(self) -> list[Result]:
        """All rows, oldest first; none where there is no store. A half last line, left by a killed run, is no row.

        Raises:
            CocaError: A line that is no row, or a file that cannot be read.
        """
        try:
            *whole, tail = self.rows_path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CocaError(
                f"the results in {self.rows_path} cannot be read: {error.strerror}. "
                "Name the folder of the store with --results DIR."
            ) from error
        lines = [*whole, tail] if _is_complete(tail) else whole
        return [self._row(number, line) for number, line in enumerate(lines, start=1) if line.strip()]

    def _row(self, number: int, line: bytes) -> Result:
        try:
            return _parse_row(line)
        except ValueError as error:
            raise CocaError(
                f"line {number} of {self.rows_path} is not a result row: {error}. Mend that line or delete it."
            ) from error

    @contextmanager
    def _opened(self) -> Iterator[None]:
        try:
            self.runs_folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock", timeout=self._lock_seconds):
                yield
        except Timeout as error:
            raise CocaError(
                f"another process has held the lock {self.folder / '.lock'} for {self._lock_seconds:g} s. "
                "Wait for it to end, or end it, and run this again."
            ) from error
        except (OSError, NotImplementedError) as error:
            raise CocaError(
                f"results cannot be saved in {self.folder}: {error}. "
                "Make that folder writable, free some space, or name another one with --results DIR."
            ) from error


def latest(rows: Sequence[Result]) -> list[Result]:
    """The newest row of every setting, in the order of the store: a repeated run counts once.

    Two rows are of one setting when all of `SAME_SETTING` is equal, and so the examples, the weights and what was done
    with them. A newer version of coca, of torch or of the dataset's reader replaces the older number.
    """
    newest: dict[tuple[object, ...], int] = {}
    for position, row in enumerate(rows):
        key = tuple(getattr(row, column) for column in SAME_SETTING)
        if key not in newest or rows[newest[key]].when <= row.when:
            newest[key] = position
    return [rows[position] for position in sorted(newest.values())]


def select(rows: Sequence[Result], *, task: str | None, dataset: str | None, model: str | None) -> list[Result]:
    """The rows whose task, dataset and model are as wanted.

    Args:
        rows: Any rows.
        task: A name, or a pattern such as "eval*"; None for all.
        dataset: The same.
        model: The same.

    Raises:
        CocaError: No row is left; the message names what there is.
    """
    chosen = list(rows)
    for column, wanted in (("task", task), ("dataset", dataset), ("model", model)):
        known = sorted({getattr(row, column) for row in chosen})
        if wanted is not None:
            chosen = [row for row in chosen if _matches(getattr(row, column), wanted)]
        if not chosen:
            raise CocaError(f"no result has the {column} {wanted!r}. The store has: {', '.join(known)}.")
    return chosen


def _matches(name: str, wanted: str) -> bool:
    return name == wanted or fnmatchcase(name, wanted)


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that others see the old text or the new one, never a part; devices and pipes are written as such.

    Raises:
        CocaError: Its folder cannot be made or written.
        OSError: It cannot be written for another reason. What was there is untouched in any case.
    """
    path = path.resolve()  # a link stays a link
    encoded = text.encode(errors="backslashreplace")  # a file name that is not UTF-8 must not stop a table
    if path.exists() and not path.is_file():
        path.write_bytes(encoded)
        return
    with written_whole(path) as temporary, temporary.open("wb") as file:
        file.write(encoded)
        file.flush()
        os.fsync(file.fileno())


def _probe(folder: Path) -> None:
    path = folder / f".probe.{os.getpid()}.tmp"
    try:
        with path.open("wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)


def _append_whole(path: Path, lines: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
    try:
        tail = _tail(descriptor)
        if _is_complete(tail):
            lines = b"\n" + lines
        elif tail:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - len(tail))
        size = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, lines) < len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _tail(descriptor: int, block: int = PROBE_BYTES) -> bytes:
    """What stands after the last line's end; empty in a healthy file."""
    tail = b""
    start = os.fstat(descriptor).st_size
    while start > 0 and b"\n" not in tail:
        step = min(block, start)
        start -= step
        os.lseek(descriptor, start, os.SEEK_SET)
        tail = os.read(descriptor, step) + tail
    return tail.rpartition(b"\n")[2]


def _is_complete(tail: bytes) -> bool:
    """Whether a last line without its end is a row all the same, as some editors leave it."""
    try:
        return isinstance(json.loads(tail), dict)
    except ValueError:
        return False


def _row_name(row: Result) -> str:
    return f"{row.task}/{row.dataset}/{row.split}/{row.metric}"


def _run_document(results: Sequence[Result], run: Run) -> dict[str, Any]:
    return {
        "task": run.task,
        "dataset": run.dataset,
        "command": run.command,
        "when": run.when,
        "seconds": round(run.seconds, 3),
        "settings_hash": settings_hash(run.settings),
        "settings": _plain(run.settings),
        "versions": dict(run.versions),
        "rows": [_row_name(row) for row in results],
        "skipped": [{"id": str(name), "reason": str(reason)} for name, reason in run.skipped],
    }


def _run_name(run: Run, digest: str) -> str:
    when = re.sub(r"[-:]", "", run.when)
    # A dataset's name may be a path; a file's name may not.
    task, dataset = (
        re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("_")[-60:] for name in (run.task, run.dataset)
    )
    return f"{when}-{task}-{dataset}-{digest}"


def _free_path(folder: Path, name: str) -> Path:
    path, count = folder / f"{name}.json", 1
    while path.exists():
        count += 1
        path = folder / f"{name}-{count}.json"
    return path


def _csv_text(rows: Sequence[Result]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, KINDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(to_record(row) for row in rows)
    return text.getvalue()
