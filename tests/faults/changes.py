"""Every small change of a document that somebody's script, editor or download may have made."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

LONE_SURROGATE = "\ud83e"
"""Half of an emoji, as programs write it that cut texts by UTF-16 units; JSON can say it, UTF-8 cannot."""

ODD_TEXTS = {
    "empty": "",
    "blank": " \t ",
    "long": "word " * 20_000,
    "one long word": "a" * 100_000,
    "control characters": "a\x00b\x07c\x1b[31md\x7f",
    "right to left": "كلب يجري \u202eعلى الشاطئ",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 eating 🍕",
    "separators": "one\u2028two\u2029three\x0bfour\x85five",
    "marks": "a\u0301\u0302\u0303\u0304" * 200,
    "lone surrogate": f"a dog {LONE_SURROGATE}",
    "markup": "<script>alert(1)</script> [bold]x[/bold] {{ 7 * 7 }} %s %n {0}",
    "formula": '=HYPERLINK("http://x","y")',
    "byte order mark": "\ufeffa dog",
}
ODD_VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "number": 7,
    "negative": -1,
    "fraction": 0.5,
    "huge": 10**400,
    "infinite": float("inf"),
    "not a number": float("nan"),
    "list": [],
    "nested list": [["a"]],
    "object": {},
}


class Change(NamedTuple):
    """A document that is not as it was.

    Attributes:
        name: What was done, and where.
        document: What came of it.
    """

    name: str
    document: Any


def changes(document: Any) -> Iterator[Change]:
    """Each field missing, and each field and item in turn with every odd value; of lists the first item.

    Args:
        document: Of dicts, lists and plain values.
    """
    for place in _places(document):
        name = ".".join(map(str, place)) or "all"
        if place and isinstance(place[-1], str):
            without = copy.deepcopy(document)
            del _at(without, place[:-1])[place[-1]]
            yield Change(f"{name} missing", without)
        for told, value in {**ODD_VALUES, **ODD_TEXTS}.items():
            yield Change(f"{name} {told}", _replaced(document, place, value))


def doubled(document: Any) -> Iterator[Change]:
    """Each list in turn with its first item twice."""
    for place in _places(document):
        found = _at(document, place)
        if isinstance(found, list) and found:
            yield Change(
                f"{'.'.join(map(str, place)) or 'all'} doubled", _replaced(document, place, [found[0], *found])
            )


def spoiled_bytes(content: bytes) -> Iterator[tuple[str, bytes, bool]]:
    """(name, bytes, whether they mean the same as before) of what becomes of text files on their way."""
    yield "byte order mark", b"\xef\xbb\xbf" + content, True
    yield "lines end as in Windows", content.replace(b"\n", b"\r\n"), True
    yield "blank lines at the end", content + b"\n\n\n", True
    yield "empty", b"", False
    yield "blank", b"  \n", False
    yield "half", _half(content), False
    yield "zeros", bytes(len(content)), False
    yield "zeros at the end", _half(content) + bytes(len(content) // 2), False
    yield "UTF-16", content.decode().encode("utf-16"), False
    yield "Latin-1", content.replace(b"a", b"\xe9", 1), False
    yield "a page", b"<!DOCTYPE html><html><body>Sign in</body></html>\n", False
    yield "a pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", False
    yield "compressed", b"\x1f\x8b\x08\x00" + content[:50], False
    yield "deep", b"[" * 200_000, False
    yield "deep objects", b'{"images":' * 100_000, False


def _half(content: bytes) -> bytes:
    """The first half, cut behind a line's first letters: of a table that is cut in its last cell nobody could tell."""
    begin = content.find(b"\n", len(content) // 2)
    return content[: begin + 3] if 0 < begin < len(content) - 3 else content[: len(content) // 2]


def as_json(document: Any) -> bytes:
    """JSON as Python writes it, with NaN and halves of characters, which other programs refuse."""
    return json.dumps(document).encode()


def as_lines(document: Any) -> bytes:
    """An object a line."""
    return b"".join(as_json(record) + b"\n" for record in (document if isinstance(document, list) else [document]))


def _places(document: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield place
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _places(value, (*place, key))
    elif isinstance(document, list) and document:
        yield from _places(document[0], (*place, 0))


def _at(document: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        document = document[step]
    return document


def _replaced(document: Any, place: tuple[str | int, ...], value: Any) -> Any:
    if not place:
        return value
    changed = copy.deepcopy(document)
    _at(changed, place[:-1])[place[-1]] = value
    return changed
