"""Pictures with captions: tables (.csv, .tsv, .jsonl) that name the pictures, and folders with a .txt beside each."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from coca_cli.datasets.example import Example
from coca_cli.datasets.image_folder import list_pictures
from coca_cli.errors import BadExample, CocaError, MissingFile

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl")
# The names that the datasets and trainers of the field give these columns; the first that a table has is taken.
IMAGE_COLUMNS = ("image", "image_path", "filepath", "file_path", "path", "file", "file_name", "filename")
CAPTION_COLUMNS = ("caption", "captions", "text", "title", "sentence", "description")

FOLDER_LAYOUT = "FOLDER/.../NAME.jpg (or .png, .webp ...) and FOLDER/.../NAME.txt beside it, one caption a line"


class _Row(NamedTuple):
    place: str  # "FILE, line N", for messages
    columns: tuple[str, ...]
    cells: tuple[Any, ...]


def read_table(path: Path, image_column: str | None = None, caption_column: str | None = None) -> Iterator[Example]:
    """The pictures that a table names, in order of first appearance, each with all its captions.

    Args:
        path: A .csv, .tsv or .jsonl file in UTF-8. Picture paths count from its folder.
        image_column: The column with the pictures; None looks for one of `IMAGE_COLUMNS`.
        caption_column: The column with the captions (in .jsonl a text or a list of texts); None looks for one of
            `CAPTION_COLUMNS`. Columns that share this name are further captions of the same picture.

    Yields:
        One example per picture, also where it has no caption. The id is the path as seen from the table's folder.

    Raises:
        MissingFile: The table is not there.
        BadExample: A line cannot be read.
        CocaError: There is no such column, or the file is no table.
    """
    pictures: dict[str, tuple[Path, list[str]]] = {}
    for row in _rows(path):
        picture = row.cells[_find_column(row, IMAGE_COLUMNS, image_column, "image")]
        if not isinstance(picture, str) or not picture.strip():
            raise BadExample(f"{row.place}: the picture is {picture!r}, not a path: fill it in or drop the line")
        file = path.parent / picture.strip()
        _, captions = pictures.setdefault(_name_from(path.parent, file), (file, []))
        column = row.columns[_find_column(row, CAPTION_COLUMNS, caption_column, "caption")]
        for title, cell in zip(row.columns, row.cells, strict=True):
            if title == column:
                captions += _captions(cell, row.place)
    for name, (file, captions) in pictures.items():
        yield Example(id=name, media=(file,), texts=tuple(captions))


def read_folder_pairs(folder: Path) -> Iterator[Example]:
    """The pictures of a folder, at any depth, that have a .txt of the same name beside them, sorted by path.

    Raises:
        MissingFile: The folder is not there.
        BadExample: A .txt is not UTF-8; a link leads out of the folder.
    """
    for name in list_pictures(folder, FOLDER_LAYOUT):
        beside = (folder / name).with_suffix(".txt")
        if beside.is_file():
            with _open_text(beside) as lines:
                captions = tuple(line.strip() for line in lines if line.strip())
            yield Example(id=name, media=(folder / name,), texts=captions)


def _name_from(folder: Path, picture: Path) -> str:
    """The picture's path as seen from the table's folder: the same for every spelling and on every machine."""
    return Path(os.path.relpath(picture, folder)).as_posix()


def _captions(cell: object, place: str) -> list[str]:
    if cell is None:
        return []
    texts = cell if isinstance(cell, list) else [cell]
    captions = [text.strip() for text in texts if isinstance(text, str)]
    if len(captions) < len(texts):
        raise BadExample(f"{place}: the caption is {str(cell)[:60]!r}, not a text or a list of texts: correct it")
    return [caption for caption in captions if caption]


def _find_column(row: _Row, usual: tuple[str, ...], asked_for: str | None, noun: str) -> int:
    """The position of the wanted column; raises CocaError where the row has none of that name."""
    position = _position(row.columns, usual if asked_for is None else (asked_for,))
    if position is None:
        wanted = f"a column named {asked_for!r}" if asked_for else f"one of the {noun} columns {', '.join(usual)}"
        raise CocaError(f"{row.place}: found the columns {', '.join(row.columns)}, but not {wanted}: rename the column")
    return position


@lru_cache(maxsize=64)  # tables repeat the same few headers millions of times
def _position(columns: tuple[str, ...], names: tuple[str, ...]) -> int | None:
    titles = [title.strip().lower() for title in columns]
    return next((titles.index(name) for name in map(str.lower, names) if name in titles), None)


def _rows(path: Path) -> Iterator[_Row]:
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise CocaError(f"{path} is no table that can be read: use one of {', '.join(TABLE_SUFFIXES)}")
    return _json_rows(path) if suffix == ".jsonl" else _separated_rows(path)


def _separated_rows(path: Path) -> Iterator[_Row]:
    with _open_text(path) as file:
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
                    yield _Row(place, header, tuple(cells))
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


def _json_rows(path: Path) -> Iterator[_Row]:
    with _open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BadExample(f"{place}: not valid JSON ({error}): each line must be one whole object") from error
            if not isinstance(record, dict):
                raise BadExample(f"{place}: holds {line[:40]!r}, not an object with a picture and a caption")
            yield _Row(place, tuple(record), tuple(record.values()))


@contextmanager
def _open_text(path: Path) -> Iterator[IO[str]]:
    """A UTF-8 text file whose lines are ended by line breaks only, not by every separator that Unicode knows."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise MissingFile(f"cannot read {path}: {error.strerror}; give the path of a file that can be read") from error
    except UnicodeDecodeError as error:
        raise BadExample(f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8") from error
