"""The store of results: a folder that keeps every row and every run, written whole or not at all."""

from __future__ import annotations

import codecs
import csv
import errno
import io
import json
import os
import re
import reprlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from coca_cli.details import Details, RunDetails, write_details
from coca_cli.errors import CocaError
from coca_cli.files import written_whole
from coca_cli.json_text import parse_json
from coca_cli.results import KINDS, Result, Run, parse_row, plain_data, settings_hash, to_record

LOCK_SECONDS = 60.0
"""How long a run waits for another one that is saving; saving takes milliseconds."""

OF_A_RUN = ("model", "checkpoint", "seed", "precision")
"""Columns in which all rows of a run are equal, besides those that the run itself has."""

PROBE_BYTES = 64 * 1024
"""What is written and removed to see that a folder can be written: more than the rows of any one run."""


class RunFile(NamedTuple):
    """A run as the store keeps it.

    Attributes:
        path: Its file.
        document: What stands in it: task, dataset, model, command, settings, versions, rows, skipped.
    """

    path: Path
    document: dict[str, Any]

    def made(self, row: Result) -> bool:
        """Whether the row is this run's; run files of early versions do not name the model."""
        told = self.document
        same = (told.get("task"), told.get("dataset"), told.get("settings_hash"), told.get("when"))
        if same != (row.task, row.dataset, row.settings, row.when) or _row_name(row) not in told.get("rows", ()):
            return False
        return all(told.get(name, getattr(row, name)) == getattr(row, name) for name in OF_A_RUN)


class Store:
    """A folder that keeps every result: rows are only ever added.

    `results.jsonl` holds one row a line, `runs/` one file per run, `details/` what runs keep of single examples, and
    `results.csv` the same rows for spreadsheets, written anew each time. Many processes may save at once.

    Args:
        folder: Made when it is needed.
        lock_seconds: How long to wait for another process that is saving.
    """

    def __init__(self, folder: Path, *, lock_seconds: float = LOCK_SECONDS) -> None:
        self.folder = Path(folder)
        self.rows_path = self.folder / "results.jsonl"
        self.table_path = self.folder / "results.csv"
        self.runs_folder = self.folder / "runs"
        self.details_folder = self.folder / "details"
        self._lock_seconds = lock_seconds

    def check_writable(self) -> None:
        """Find out before hours of computing that the results could not be saved after them.

        Raises:
            CocaError: The folder cannot be made or written, or its rows cannot be read.
        """
        with self._opened():
            self.details_folder.mkdir(exist_ok=True)
            for folder in (self.folder, self.runs_folder, self.details_folder):
                _probe(folder)
            if self.rows_path.exists():
                os.close(os.open(self.rows_path, os.O_RDWR | os.O_APPEND))
            if self.table_path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.table_path))
            self.rows()

    def append(self, results: Sequence[Result], run: Run, details: Details | None = None) -> Path:
        """Save a run and its rows, all of them or none.

        Args:
            results: The rows, whose task, dataset, settings and time are the run's.
            run: What is kept beside them.
            details: What is kept of single examples.

        Returns:
            The run file.

        Raises:
            CocaError: The folder cannot be written; or its details cannot, when the rows are saved all the same.
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
        if details is not None:
            try:
                write_details(self.details_path(path), details)
            except (OSError, CocaError) as error:
                raise CocaError(
                    f"the results are saved in {self.folder}, but not what single examples scored: {error}"
                ) from error
        return path

    def details_path(self, run: Path) -> Path:
        """Where the details of a run lie, if it has any."""
        return self.details_folder / f"{run.stem}.zip"

    def details(self, run: RunFile) -> RunDetails | None:
        """What a run kept of single examples; None where it kept nothing.

        Raises:
            CocaError: The file is damaged.
        """
        path = self.details_path(run.path)
        return RunDetails(path) if path.is_file() else None

    def runs(self) -> list[RunFile]:
        """All runs, in the order of their names, which begin with their times.

        Raises:
            CocaError: A run file that cannot be read.
        """
        found = []
        for path in sorted(self.runs_folder.glob("*.json"), key=lambda path: path.stem):
            try:
                document = parse_json(path.read_bytes(), halves=True)
            except (OSError, ValueError) as error:
                raise CocaError(f"the run file {path} cannot be read: {error}. Mend it or delete it.") from None
            if isinstance(document, dict):
                if wrong := _wrong_field(document):
                    raise CocaError(f"the run file {path} is damaged: its {wrong}. Mend it or delete it.")
                found.append(RunFile(path, document))
        return found

    def rows(self) -> list[Result]:
        """All rows, oldest first; none where there is no store. A half last line, left by a killed run, is no row.

        Raises:
            CocaError: A line that is no row, or a file that cannot be read.
        """
        try:
            *whole, tail = self.rows_path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CocaError(
                f"the results in {self.rows_path} cannot be read: {error.strerror}. "
                "Name the folder of the store with --results DIR."
            ) from error
        # zeros are what a disk leaves after a power cut, and no half line of a killed run
        lines = [*whole, tail] if _is_complete(tail) or b"\0" in tail else whole
        return [self._row(number, line) for number, line in enumerate(lines, start=1) if line.strip()]

    def _row(self, number: int, line: bytes) -> Result:
        try:
            return parse_row(line)
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
        return isinstance(parse_json(tail, halves=True), dict)
    except ValueError:
        return False


_DOCUMENT: dict[str, type] = {
    **dict.fromkeys(("task", "dataset", "model", "checkpoint", "precision", "settings_hash", "when", "command"), str),
    "rows": list,
    "skipped": list,
    "settings": dict,
    "versions": dict,
    "chosen": dict,
}


def _wrong_field(document: dict[str, Any]) -> str:
    """What of a run file is not as it was written; "" for one that is sound."""
    for name, kind in _DOCUMENT.items():
        if not isinstance(document.get(name, kind()), kind):
            return f"{name} is {reprlib.repr(document[name])}"
    if stray := [row for row in document.get("rows", ()) if not isinstance(row, str)]:
        return f"rows hold {reprlib.repr(stray[0])}"
    for left_out in document.get("skipped", ()):
        told = [left_out.get(key) for key in ("id", "reason")] if isinstance(left_out, dict) else [None]
        if not all(isinstance(text, str) for text in told):
            return f"skipped examples hold {reprlib.repr(left_out)}"
    return ""


def _row_name(row: Result) -> str:
    return f"{row.task}/{row.dataset}/{row.split}/{row.metric}"


def _run_document(results: Sequence[Result], run: Run) -> dict[str, Any]:
    return {
        "task": run.task,
        "dataset": run.dataset,
        **({name: getattr(results[0], name) for name in OF_A_RUN} if results else {}),
        **({"model_folder": run.model_folder} if run.model_folder else {}),
        "command": run.command,
        "when": run.when,
        "seconds": round(run.seconds, 3),
        "settings_hash": settings_hash(run.settings),
        "settings": plain_data(run.settings),
        **({"chosen": plain_data(run.chosen)} if run.chosen else {}),
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
