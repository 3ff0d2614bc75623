"""The rows of a table: .csv, .tsv, .jsonl and .parquet files whose columns have one of several usual names."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from coca_cli.datasets.parquet import PARQUET, parquet_columns, parquet_rows
from coca_cli.errors import BadExample, CocaError, MissingFile
from coca_cli.json_text import parse_json

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", PARQUET)


class Wanted(NamedTuple):
    """A column that is looked for.

    Attributes:
        noun: What it holds, for messages.
        columns: What it may be called; the first that a table has is taken.
        once: The same text of the same picture counts once.
    """

    noun: str
    columns: tuple[str, ...]
    once: bool = False


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        place: "FILE, line N", for messages.
        columns: The titles.
        cells: What stands below them.
    """

    place: str
    columns: tuple[str, ...]
    cells: tuple[Any, ...]


def find_column(row: Row, wanted: Wanted) -> int:
    """The position of the wanted column; raises CocaError where the row has none of that name."""
    position = position_of(row.columns, wanted.columns)
    if position is None:
        noun, names = wanted.noun, wanted.columns
        named = f"one of the {noun} columns {', '.join(names)}" if len(names) > 1 else f"a column named {names[0]!r}"
        raise CocaError(f"{row.place}: found the columns {', '.join(row.columns)}, but not {named}: rename the column")
    return position


@lru_cache(maxsize=64)  # tables repeat the same few headers millions of times
def position_of(columns: tuple[str, ...], names: tuple[str, ...]) -> int | None:
    """Where the first column of one of these names stands, in capitals or not; None where there is none."""
    titles = [title.strip().lower() for title in columns]
    return next((titles.index(name) for name in map(str.lower, names) if name in titles), None)


def read_rows(path: Path, *wanted: Wanted, optional: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of a table; of a parquet table only the columns that are asked for are read.

    Args:
        path: The table.
        wanted: Columns that it must have.
        optional: Names of columns that are read where they are there.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise CocaError(f"{path} is no table that can be read: use one of {', '.join(TABLE_SUFFIXES)}")
    if suffix == PARQUET:
        return _parquet_rows(path, wanted, optional)
    return _json_rows(path) if suffix == ".jsonl" else _separated_rows(path)


def _parquet_rows(path: Path, wanted: Sequence[Wanted], optional: Sequence[str]) -> Iterator[Row]:
    columns = parquet_columns(path)
    names = {columns[find_column(Row(str(path), columns, ()), want)]: None for want in wanted}
    titles = tuple(names | {column: None for column in columns if column.strip().lower() in optional})
    for number, cells in enumerate(parquet_rows(path, titles)):
        yield Row(f"{path}, row {number}", titles, cells)


def _separated_rows(path: Path) -> Iterator[Row]:
    with open_text(path) as file:
        delimiter = _delimiter(path, file.readline())
        file.seek(0)
        # Strict, because a stray quotation mark would otherwise swallow all rows up to the next one.
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header: tuple[str, ...] = ()
        try:
            for cells in filter(None, reader):
                place = f"{path}, line {reader.line_num}"
                if header and len(cells) != len(header):
                    raise BadExample(
                        f"{place}: {len(cells)} cells, but the header has {len(header)}; put cells that hold a "
                        "separator or a line break in quotation marks"
                    )
                if header:
                    yield Row(place, header, tuple(cells))
                header = header or tuple(cells)
        except csv.Error as error:
            raise BadExample(
                f"{path}, line {reader.line_num}: {error}; write a quotation mark inside a quoted cell twice"
            ) from error


def _delimiter(path: Path, header: str) -> str:
    """A tab for .tsv; for .csv what its header is separated by, since many trainers write tabs or semicolons there."""
    if path.suffix.lower() == ".tsv" or "\t" in header:
        return "\t"
    return ";" if ";" in header and "," not in header else ","


def _json_rows(path: Path) -> Iterator[Row]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            try:
                record = parse_json(line)
            except ValueError as error:
                raise BadExample(f"{place}: not valid JSON ({error}): each line must be one whole object") from error
            if not isinstance(record, dict):
                raise BadExample(f"{place}: holds {line[:40]!r}, not an object with a picture and a caption")
            yield Row(place, tuple(record), tuple(record.values()))


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """A UTF-8 text file whose lines are ended by line breaks only, not by every separator that Unicode knows."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise MissingFile(f"cannot read {path}: {error.strerror}; give the path of a file that can be read") from error
    except UnicodeDecodeError as error:
        raise BadExample(f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8") from error
    except csv.Error as error:  # of whoever reads the lines as a table
        raise BadExample(f"{path} is no table that can be read ({error}): fetch it again") from error
