"""Names of files and texts of strangers, on their way to a terminal."""

from __future__ import annotations

import re

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""The text with control characters, but for tabs and line ends, and changes of direction written as `\x1b`.

    A file's name could otherwise colour, clear or overwrite what stands on the terminal.
    """
    return _CONTROLS.sub(
        lambda found: f"\\x{ord(found[0]):02x}" if ord(found[0]) < 256 else f"\\u{ord(found[0]):04x}", text
    )
