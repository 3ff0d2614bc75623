"""Captions alone, for learning a vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from coca_cli.datasets.example import Example
from coca_cli.datasets.sources import Source, find_source
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
    yield from written_texts(source, source.read())


def written_texts(source: Source, examples: Iterable[Example]) -> Iterator[str]:
    """All captions of the examples; of labelled pictures every class name, once, in every template.

    Args:
        source: Where the examples come from.
        examples: All of them, or those that are trained on.
    """
    if source.kind == "pairs":
        return (text for example in examples for text in example.texts)
    names = dict.fromkeys(name for example in examples for name in example.texts)
    return (template.replace("{c}", name) for name in names for template in source.templates)
