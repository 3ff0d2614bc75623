"""Captions alone, for learning a vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from coca_cli.datasets.sources import find_source
from coca_cli.errors import BadExample, MissingFile


def read_texts(text: str, root: Path) -> Iterator[str]:
    """The lines of a .txt file, or all captions (class names in their templates) of training data.

    Args:
        text: What the user typed.
        root: The data root, for named datasets.

    Raises:
        MissingFile: The text file is not there or cannot be opened.
        BadExample: It is not UTF-8.
    """
    path = Path(text).expanduser()
    if path.suffix == ".txt":
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise MissingFile(
                f"there is no caption file {path} to read ({error.strerror}); give a .txt with one caption a line"
            ) from None
        except UnicodeDecodeError as error:
            raise BadExample(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from None
        yield from (line.strip() for line in lines if line.strip())
        return
    source = find_source(text, root)
    if source.kind == "labels":
        names = dict.fromkeys(name for example in source.read() for name in example.texts)
        yield from (template.replace("{c}", name) for name in names for template in source.templates)
        return
    for example in source.read():
        yield from example.texts
