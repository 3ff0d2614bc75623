"""What a run keeps of single examples: what each one scored, and a few of them with their pictures; one .zip a run."""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coca_cli.errors import CocaError
from coca_cli.files import written_whole
from coca_cli.json_text import parse_json
from coca_cli.results import plain_data

DOCUMENT = "details.json"
DAMAGES = (
    *(OSError, zipfile.BadZipFile, zlib.error, csv.Error),
    *(NotImplementedError, ValueError, LookupError, TypeError, StopIteration),
)
"""What comes out of an archive that was changed or cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What is kept of single examples.

    Attributes:
        tables: By name, columns of equal length, the first of them `id`. A column that is called as a metric has what
            each example contributes: the row's value is 100 times its mean. `rank` has places from 1 on, of which
            every recall@k can be counted. `of` tells which examples belong together, such as captions of one picture.
        facts: Plain data about all of them, such as the names of classes.
        samples: A few examples, each as plain data with a "kind"; JPEG pictures as bytes, wherever they stand.
    """

    tables: Mapping[str, Mapping[str, Sequence[object]]] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    samples: Sequence[Mapping[str, object]] = ()


def write_details(path: Path, details: Details) -> None:
    """Write a .zip of one CSV a table, one JPEG a picture and one JSON document, whole or not at all.

    Raises:
        CocaError: The folder cannot be written.
        OSError: The disk is full.
    """
    pictures: dict[str, bytes] = {}
    document = {"facts": plain_data(details.facts), "samples": [_packed(dict(s), pictures) for s in details.samples]}
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(DOCUMENT, json.dumps(document, ensure_ascii=False).encode(errors="backslashreplace"))
        for name, columns in details.tables.items():
            archive.writestr(f"{name}.csv", _as_csv(columns).encode(errors="backslashreplace"))
        for name, data in pictures.items():
            archive.writestr(name, data)


def _as_csv(columns: Mapping[str, Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _packed(value: object, pictures: dict[str, bytes]) -> Any:
    """The value with each picture replaced by its place in the archive."""
    if isinstance(value, bytes):
        name = f"picture-{len(pictures)}.jpg"
        pictures[name] = value
        return {"picture": name}
    if isinstance(value, Mapping):
        return {str(key): _packed(inner, pictures) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_packed(inner, pictures) for inner in value]
    return plain_data(value)


class RunDetails:
    """The details of a run, read from where `write_details` has put them.

    Args:
        path: The .zip.

    Raises:
        CocaError: It is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._read() as archive:
            document = parse_json(archive.read(DOCUMENT), halves=True)
            self._facts = dict(document["facts"])
            self._samples = [self._unpacked(archive, sample) for sample in document["samples"]]

    @property
    def facts(self) -> dict[str, Any]:
        """What is told of all examples."""
        return self._facts

    @property
    def samples(self) -> list[dict[str, Any]]:
        """A few examples; pictures are bytes again."""
        return self._samples

    def table(self, name: str) -> dict[str, list[str]] | None:
        """The columns of a table, all values as texts; None where there is no such table."""
        with self._read() as archive:
            if f"{name}.csv" not in archive.namelist():
                return None
            rows = csv.reader(io.StringIO(archive.read(f"{name}.csv").decode()))
            header = next(rows)
            body = list(rows)
            return {column: [row[place] for row in body] for place, column in enumerate(header)}

    def table_names(self) -> list[str]:
        """The tables that there are."""
        with self._read() as archive:
            return [name.removesuffix(".csv") for name in archive.namelist() if name.endswith(".csv")]

    @contextmanager
    def _read(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except DAMAGES as error:
            reason = str(error) or type(error).__name__
            raise CocaError(
                f"the details of a run in {self.path} cannot be read: {reason}; delete that file (no row is in it)"
            ) from None

    def _unpacked(self, archive: zipfile.ZipFile, value: Any) -> Any:
        if isinstance(value, dict):
            if list(value) == ["picture"]:
                return archive.read(value["picture"])
            return {key: self._unpacked(archive, inner) for key, inner in value.items()}
        return [self._unpacked(archive, inner) for inner in value] if isinstance(value, list) else value
