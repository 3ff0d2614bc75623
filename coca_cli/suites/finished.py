"""What a suite has finished: one file for each benchmark and model, beside the rows in the store."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from coca_cli.json_text import parse_json
from coca_cli.results import Result, plain_data, settings_hash, utc_now
from coca_cli.store import Store, write_atomically
from coca_cli.suites.candidates import Bound, Candidate
from coca_cli.suites.command_options import OF_THE_RUN, Benchmark
from coca_cli.suites.work import Scored, Survey

FOLDER = "suites"
FREE = frozenset((*OF_THE_RUN, "workers", "batch_size", "cache_budget", "recipe", "strict")) - {"data_root"}
"""Parameters that move no number of what ended well; what a recipe says stands in the others."""

RowName = tuple[str, ...]
ROW_COLUMNS = ("task", "dataset", "split", "metric", "model", "checkpoint", "settings", "precision", "when")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A benchmark that a model has behind it.

    Attributes:
        key: Hash of the benchmark with all its options, its data and the name of the model.
        benchmark: Task and dataset, for people.
        model: As the user named it.
        stamp: Of the model's files at that time.
        identity: Hash of its weights.
        rows: The rows in the store, by ROW_COLUMNS.
        saved: The captions or answers that were written.
        seconds: How long it took.
        when: When it ended.
    """

    key: str
    benchmark: str
    model: str
    stamp: str
    identity: str
    rows: tuple[RowName, ...]
    saved: str | None
    seconds: float
    when: str


def row_name(row: Result) -> RowName:
    """What tells a row from all others."""
    return tuple(str(getattr(row, column)) for column in ROW_COLUMNS)


def benchmark_key(benchmark: Benchmark, survey: Survey, candidate: Candidate, device: str, precision: str) -> str:
    """Hash of all that decides a benchmark's rows but the model's weights.

    Args:
        benchmark: With its options; of files that it names the content counts.
        survey: What there was to do: a dataset whose examples or files have changed since is another one.
        candidate: The model, by its name.
        device: Such as cpu.
        precision: fp32, bf16 or fp16.
    """
    values = {name: _content(name, value) for name, value in benchmark.values.items() if name not in FREE}
    folder = Path(candidate.model).expanduser()
    facts = {
        "task": benchmark.task,
        "dataset": [benchmark.dataset.name, benchmark.dataset.version],
        "options": {name: value for name, value in values.items() if name not in ("model", "precision")},
        "data": [survey.split, survey.examples, survey.absent, survey.data],
        "model": [str(folder.resolve()) if folder.is_dir() else candidate.model, candidate.pretrained],
        "device": device,
        "precision": precision,
    }
    return settings_hash(facts)


def _content(name: str, value: Any) -> Any:
    if not isinstance(value, Path):
        return value
    path = value.expanduser()
    if name == "data_root" or not path.is_file():
        return str(path.resolve())
    return hashlib.sha256(path.read_bytes()).hexdigest()


class FinishedBenchmarks:
    """The files of what is finished, below a store.

    Args:
        store: Whose rows they speak of.
    """

    def __init__(self, store: Store) -> None:
        self._folder = store.folder / FOLDER
        self._rows = {row_name(row): row for row in store.rows()}

    def find(self, key: str) -> Finished | None:
        """What is finished under this key, where all its rows are still in the store and its files on disk."""
        for path in sorted(self._folder.glob(f"*-{key}.json")):
            try:
                content: Mapping[str, Any] = parse_json(path.read_text(encoding="utf-8"))
                known = {field.name: content[field.name] for field in fields(Finished)}
                found = Finished(**(known | {"rows": tuple(tuple(row) for row in known["rows"])}))
            except (OSError, ValueError, KeyError, TypeError):  # damaged, or of another version: it is done anew
                continue
            if all(row in self._rows for row in found.rows) and (found.saved is None or Path(found.saved).is_file()):
                return found
        return None

    def rows_of(self, found: Finished) -> list[Result]:
        """Its rows, as they stand in the store."""
        return [self._rows[name] for name in found.rows]

    def add(self, key: str, benchmark: Benchmark, bound: Bound, scored: Scored, seconds: float) -> Finished:
        """Write down that a benchmark is finished, whole or not at all.

        Raises:
            CocaError: The folder cannot be written.
        """
        found = Finished(
            key=key,
            benchmark=benchmark.name,
            model=bound.candidate.text,
            stamp=bound.candidate.stamp,
            identity=bound.identity,
            rows=tuple(map(row_name, scored.rows)),
            saved=None if scored.saved is None else str(scored.saved.resolve()),
            seconds=round(seconds, 3),
            when=utc_now(),
        )
        self._rows |= {row_name(row): row for row in scored.rows}
        self._write(found)
        return found

    def renew(self, found: Finished, candidate: Candidate) -> None:
        """Write down that the model's files were written again, with the same weights in them."""
        self._write(replace(found, stamp=candidate.stamp))

    def keep_failure(self, key: str, benchmark: Benchmark, text: str) -> Path:
        """Write what a mistake of the program said, for whoever mends it; the path."""
        path = self._path(benchmark.name, key).with_suffix(".error.txt")
        write_atomically(path, text)
        return path

    def _path(self, benchmark: str, key: str) -> Path:
        plain = re.sub(r"[^\w.-]+", "-", benchmark, flags=re.ASCII)[-80:].strip("-.")
        return self._folder / f"{plain}-{key}.json"

    def _write(self, found: Finished) -> None:
        text = json.dumps(plain_data(asdict(found)), indent=2) + "\n"
        write_atomically(self._path(found.benchmark, found.key), text)


def all_rows(finished: FinishedBenchmarks, entries: Sequence[Finished]) -> list[Result]:
    """The rows of several benchmarks, each once."""
    rows = {row_name(row): row for entry in entries for row in finished.rows_of(entry)}
    return list(rows.values())
