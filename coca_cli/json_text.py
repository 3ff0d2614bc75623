"""JSON of strangers: what Python's parser lets through and no other program can use is refused or mended."""

from __future__ import annotations

import json
import re
from typing import Any

_HALVES = re.compile(r"\\u[dD][89abAB]\w\w(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]\w\w)\\u[dD][c-fC-F]")


def parse_json(text: str | bytes, *, halves: bool = False) -> Any:
    r"""What a JSON text says.

    Args:
        text: The whole of it; bytes are UTF-8.
        halves: Keep halves of characters: names of files that are not UTF-8 are kept so in coca's own files. Without it
            each becomes a question mark: `\ud83e` alone, as a program writes it that cut a text inside of an emoji,
            could neither be written nor made into tokens.

    Raises:
        ValueError: It is none, or nested too deep.
    """
    text = text.decode() if isinstance(text, bytes) else text
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep, beyond the recursion that is allowed") from None
    return found if halves or not _HALVES.search(text) else _mended(found)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return list(map(_mended, value)) if isinstance(value, list) else value
