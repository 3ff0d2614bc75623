"""JSON of strangers: what Python's parser lets through and no other program can use is refused as damage."""

from __future__ import annotations

import json
import re
from typing import Any

_HALVES = re.compile(r"\\u[dD][89abAB]\w\w(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]\w\w)\\u[dD][c-fC-F]")


def parse_json(text: str | bytes, *, halves: bool = False) -> Any:
    r"""What a JSON text says.

    Args:
        text: The whole of it; bytes are UTF-8.
        halves: Let halves of characters through: names of files that are not UTF-8 are kept so in coca's own files.

    Raises:
        ValueError: It is none, is nested too deep, or holds half of a character (`\ud83e` alone, as a program writes it
            that cut a text inside of an emoji), which cannot be written as UTF-8.
    """
    text = text.decode() if isinstance(text, bytes) else text
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not halves and _HALVES.search(text) and (half := _half_in(found)):
        raise ValueError(f"the text {half[:60]!r} holds half of a character; it was cut inside of one")
    return found


def _half_in(value: Any) -> str:
    """The first text that cannot be written; "" where there is none."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value
    elif isinstance(value, dict):
        return next(filter(None, map(_half_in, (*value, *value.values()))), "")
    elif isinstance(value, list):
        return next(filter(None, map(_half_in, value)), "")
    return ""
