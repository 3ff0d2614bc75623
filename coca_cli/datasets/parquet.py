"""Parquet tables, read row group by row group, so that memory is bounded by a part of one file."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from coca_cli.datasets.shards import expand_files, is_visible, natural_order
from coca_cli.errors import BadExample, MissingFile

if TYPE_CHECKING:
    from pyarrow import Schema
    from pyarrow.parquet import ParquetFile

PARQUET = ".parquet"
ROWS_AT_ONCE = 64  # rows with pictures in them are large
BUFFER = 1 << 20  # bytes; without it pyarrow holds the whole column of a row group


class ClassCell(NamedTuple):
    """A class that the table holds as a number and its schema gives a name.

    Attributes:
        number: The class index.
        name: Its name.
    """

    number: int
    name: str


def list_parquet(path: str) -> list[Path]:
    """The tables that a path, a folder, a glob or a pattern with braces stands for, in natural order.

    Raises:
        MissingFile: There is none, or one that the braces name is not there.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return expand_files(path, "parquet table")
    inside = [folder, *(below for below in folder.iterdir() if below.is_dir() and is_visible(below))]
    found = [file for place in inside for file in place.glob(f"*{PARQUET}") if is_visible(file)]
    return sorted(found, key=natural_order)


def parquet_columns(path: Path) -> tuple[str, ...]:
    """The names of the columns; raises MissingFile and BadExample as `parquet_rows` does."""
    with _opened(path) as table:
        return tuple(table.schema_arrow.names)


def holds_bytes(path: Path, column: str) -> bool:
    """Whether a column has files in it: binary, or the struct of bytes and a path that the datasets library writes.

    Raises:
        MissingFile: The table cannot be opened.
        BadExample: It is no parquet, or is damaged.
    """
    from pyarrow import types

    with _opened(path) as table:
        kind = table.schema_arrow.field(column).type
    if types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return str(kind) in ("binary", "large_binary", "binary_view")


def parquet_rows(path: Path, columns: Collection[str]) -> Iterator[tuple[Any, ...]]:
    """The cells of some columns, row by row; numbers that stand for classes become `ClassCell`.

    Args:
        path: The table.
        columns: Their names.

    Raises:
        MissingFile: The table cannot be opened.
        BadExample: It is no parquet, or is damaged.
    """
    with _opened(path) as table:
        names = {column: _class_names(table.schema_arrow, column) for column in columns}
        for batch in table.iter_batches(ROWS_AT_ONCE, columns=list(columns)):
            parts = [_named(batch.column(column).to_pylist(), names[column]) for column in columns]
            yield from zip(*parts, strict=True)


@contextmanager
def _opened(path: Path) -> Iterator[ParquetFile]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as table:
            yield table
    except (ArrowException, OSError) as error:
        why = str(error).strip().partition("\n")[0]
        if path.is_file() and getattr(error, "errno", None) is None:
            raise BadExample(f"{path} is no parquet table, or a damaged one ({why}): copy it again") from error
        raise MissingFile(f"cannot read the parquet table {path} ({why}): give a file that can be read") from error


def _class_names(schema: Schema, column: str) -> tuple[str, ...]:
    """The names that the datasets library keeps for a column of class indices; () where it keeps none."""
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]
        if isinstance(feature, list):  # so it once wrote a list of classes
            feature = feature[0]
        names = feature.get("feature", feature)["names"]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        return ()
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def _named(cells: list[Any], names: tuple[str, ...]) -> list[Any]:
    return [_cell(cell, names) for cell in cells] if names else cells


def _cell(cell: Any, names: tuple[str, ...]) -> Any:
    if isinstance(cell, list):
        return [_cell(part, names) for part in cell]
    if cell == -1:  # how the datasets library writes a class that is not known
        return None
    return ClassCell(cell, names[cell]) if type(cell) is int and 0 <= cell < len(names) else cell
