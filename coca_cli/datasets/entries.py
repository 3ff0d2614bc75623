"""What the members of one example in a shard say: its picture, its captions, its classes."""

from __future__ import annotations

import re
from typing import Any

from coca_cli.datasets.example import Member, Streamed
from coca_cli.datasets.image_folder import is_picture
from coca_cli.datasets.shards import Entry
from coca_cli.errors import BadExample
from coca_cli.json_text import parse_json

MEMBERS = """\
in each tar: KEY.jpg, .png or .webp; KEY.cls (class index), KEY.txt (captions, one a line) or KEY.json ("captions" \
or "caption"; "labels", all its class names; "label" or "cls", an index; "class" or "class_name", a name)"""


def picture_of(entry: Entry) -> Member | Streamed | None:
    """The first picture of an entry; KEY.mask.png is no picture to look at."""
    for extension, member in entry.members.items():
        if is_picture(f".{extension}") and "." not in extension:
            return member
    return None


def record_of(entry: Entry) -> dict[str, Any]:
    """The fields of the entry's .json; none where it has none or holds something else than an object.

    Raises:
        BadExample: It is not valid JSON.
    """
    if "json" not in entry.texts:
        return {}
    try:
        record = parse_json(entry.texts["json"])
    except ValueError as error:
        raise BadExample(f"{entry.members['json']} is not valid JSON ({error}): correct or drop it") from error
    return record if isinstance(record, dict) else {}


def captions_of(entry: Entry, record: dict[str, Any]) -> tuple[str, ...]:
    """The captions without surrounding blanks; empty ones are dropped.

    Raises:
        BadExample: They are no text or list of texts.
    """
    found = record.get("captions", record.get("caption"))
    if found is not None:
        return _texts(found, "captions", entry)
    texts = _texts(entry.texts.get("txt", "").split("\n"), "captions", entry)
    # Other programs read KEY.txt alone, so packed class names stand there too; they are no caption.
    return () if texts == (text_of_labels(record.get("labels")),) else texts


def labels_of(entry: Entry, record: dict[str, Any]) -> tuple[str, ...]:
    """The names of all classes that the entry lists, each once; () where it lists none.

    Raises:
        BadExample: They are no text or list of texts.
    """
    return tuple(dict.fromkeys(_texts(record.get("labels") or [], "labels", entry)))


def text_of_labels(names: object) -> str | None:
    """Class names as one text, as they stand in KEY.txt; None for something else than a list of texts."""
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return None
    return ", ".join(names)


def class_of(entry: Entry, record: dict[str, Any], *, listed: bool) -> int | str | None:
    """The class index or, where names are what counts, the class name; None where the entry has no class.

    Args:
        entry: The members.
        record: The fields of its .json.
        listed: There is a list of class names, to which indices refer.

    Raises:
        BadExample: The .cls is no number.
    """
    index: int | None = None
    if "cls" in entry.texts:
        index = _parse_index(entry)
    for field in ("label", "cls"):
        if index is None and type(record.get(field)) is int:
            index = record[field]
    name = next((record[f] for f in ("class", "class_name") if isinstance(record.get(f), str)), None)
    # Without a list of names the names found in the shards are numbered, and an index may follow another order.
    return name if index is None or (name is not None and not listed) else index


def _parse_index(entry: Entry) -> int:
    text = entry.texts["cls"].strip()
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise BadExample(f"{entry.members['cls']} holds {text[:40]!r}: it must hold a class index, a number from 0 on")
    return int(text)


def _texts(found: object, noun: str, entry: Entry) -> tuple[str, ...]:
    if isinstance(found, str):
        found = [found]
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise BadExample(f"the {noun} in {entry.members['json']} are no text or list of texts: {str(found)[:60]}")
    return tuple(text.strip() for text in found if text.strip())
