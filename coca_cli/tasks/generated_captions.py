"""Captions that a model wrote for a set, in files: COCO's results JSON, JSON lines or CSV."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coca_cli.datasets.example import Example
from coca_cli.datasets.image_folder import is_picture
from coca_cli.datasets.video_files import is_video
from coca_cli.errors import BadExample, MissingFile
from coca_cli.files import written_whole
from coca_cli.json_text import parse_json
from coca_cli.tasks.caption_files import image_number

ID_KEYS = ("image_id", "id", "file", "image", "filename")
"""What may name the picture of a caption, the official name first."""
NUMBER = re.compile("0|[1-9][0-9]{0,17}")
NAMED = 3
FORMS = (
    'COCO\'s results JSON, [{"image_id": 139, "caption": "..."}], or .jsonl or .csv with image_id (or file) and caption'
)


class Candidate(NamedTuple):
    """A caption as a file has it.

    Attributes:
        key: The picture's id, or its file.
        text: The caption.
    """

    key: str
    text: str


def read_candidates(path: Path) -> list[Candidate]:
    """All captions of a file.

    Raises:
        MissingFile: It is not there.
        BadExample: It is of no form that is known, or lacks a key.
    """
    try:
        rows = _READERS.get(path.suffix.lower(), _read_json)(path)
        return [_candidate(path, number, row) for number, row in enumerate(rows, start=1)]
    except OSError as error:
        raise MissingFile(f"cannot read the captions {path}: {error.strerror}; check the path") from None
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise BadExample(f"{path} holds no captions that can be read ({error}). Give {FORMS}") from None


def match_candidates(path: Path, candidates: Sequence[Candidate], examples: Sequence[Example]) -> dict[str, str]:
    """The captions by the ids of the pictures that they are about, in the set's order.

    Args:
        path: Where they come from, for messages.
        candidates: From `read_candidates`.
        examples: All pictures of the split.

    Raises:
        BadExample: A caption is about no picture of the split, or a picture has two.
    """
    places = _names_of(examples)
    found: dict[str, str] = {}
    unknown = []
    for candidate in candidates:
        name = next((places[key] for key in _keys_of(candidate) if key in places), None)
        if name is None:
            unknown.append(candidate.key)
        elif name in found:
            raise BadExample(f"{path} has two captions for the picture {name}: each must have one, drop the others")
        else:
            found[name] = candidate.text
    if unknown:
        known = ", ".join(example.id for example in examples[:NAMED])
        raise BadExample(
            f"{path} has captions for {len(unknown):,} pictures that are not in this split, such as "
            f"{', '.join(unknown[:NAMED])} (the split has {known} ...): give the captions of this split"
        )
    return {example.id: found[example.id] for example in examples if example.id in found}


def save_candidates(path: Path, captions: Mapping[str, str]) -> None:
    """Write captions as COCO's results JSON, whole or not at all.

    Args:
        path: The file.
        captions: id -> caption; ids that are numbers are written as numbers, but for those that begin with zeros.
    """
    rows = [
        {"image_id": int(name) if NUMBER.fullmatch(name) else name, "caption": text} for name, text in captions.items()
    ]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    with written_whole(path) as file:
        file.write_text(f"[\n{lines}\n]\n", encoding="utf-8", errors="backslashreplace")


def _keys_of(candidate: Candidate) -> Iterator[str]:
    """What a caption's picture may be called, the most exact name first."""
    name = Path(candidate.key).name
    yield from (candidate.key, name)
    if is_picture(name) or is_video(name):
        yield str(image_number(name))


def _names_of(examples: Sequence[Example]) -> dict[str, str]:
    """What may name a picture -> its id; ids come first, and names that several pictures have tell nothing."""
    names: dict[str, str | None] = {}
    for example in examples:
        file = str(example.media[0])
        others = {example.id, Path(example.id).name, Path(example.id).stem, file, Path(file).name, Path(file).stem}
        for name in others:
            names[name] = None if names.setdefault(name, example.id) != example.id else example.id
    return {**{name: owner for name, owner in names.items() if owner}, **{e.id: e.id for e in examples}}


def _read_json(path: Path) -> Iterable[Any]:
    content = parse_json(path.read_text(encoding="utf-8-sig"), halves=True)
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        raise ValueError('it has "images" and "annotations": that is a set\'s own captions file')
    if not isinstance(content, list):
        raise ValueError(f"a {type(content).__name__} where a list should be")
    return content


def _read_lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig") as file:
        yield from (parse_json(line, halves=True) for line in file if line.strip())


def _read_csv(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def _candidate(path: Path, number: int, row: Any) -> Candidate:
    key = next((row[key] for key in ID_KEYS if key in row), None) if isinstance(row, dict) else None
    text = row.get("caption") if isinstance(row, dict) else None
    if not isinstance(key, int | str) or isinstance(key, bool) or not isinstance(text, str):
        raise BadExample(
            f"caption {number} of {path} is {str(row)[:60]!r}, without a picture's id or words. Give {FORMS}"
        )
    return Candidate(str(key), text)


_READERS = {".jsonl": _read_lines, ".csv": _read_csv}
