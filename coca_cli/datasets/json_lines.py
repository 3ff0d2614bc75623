"""Files with one JSON object a line, whose fields must be texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from coca_cli.datasets.tables import open_text
from coca_cli.errors import BadExample
from coca_cli.json_text import parse_json


def read_json_lines(path: Path, fields: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The objects of a file, each with at least these texts.

    Args:
        path: In UTF-8.
        fields: What every object must have, as a text that is not empty.

    Raises:
        MissingFile: It cannot be opened.
        BadExample: A line is no such object.
    """
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = parse_json(line)
            except ValueError as error:
                raise BadExample(
                    f"{path}, line {number} is cut off or no JSON ({error}): fetch the file again"
                ) from None
            absent = [
                field
                for field in fields
                if not isinstance(record, dict) or not isinstance(record.get(field), str) or not record[field].strip()
            ]
            if absent:
                raise BadExample(f"{path}, line {number} has no {absent[0]}: each line must have {', '.join(fields)}")
            yield record
