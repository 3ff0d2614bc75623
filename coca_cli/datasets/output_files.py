"""Files to be written that must not take the place of what is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from coca_cli.datasets.keep_lists import FIRST_LINE
from coca_cli.datasets.shards import expand_files
from coca_cli.datasets.streams import is_stream
from coca_cli.errors import CocaError

PREFIXES = ("pairs:", "labels:", "folder:", "wds:")


def check_output_file(path: Path, data: Iterable[str], root: Path, *, overwrite: bool) -> None:
    """See before the work that a file may be written.

    Args:
        path: The file.
        data: What is read, as the user typed it.
        root: The data root, below which named datasets lie.
        overwrite: Whether another file may be replaced.

    Raises:
        CocaError: It is one of the files that are read; it is there, and must not be replaced.
    """
    if not path.is_file():
        return
    for text in data:
        if any(_is_part(path, place) for place in _places(text, root)):
            raise CocaError(
                f"{path} is there already and belongs to {text}, which is read: choose another --output (or --sheet)"
            )
    if not overwrite:
        raise CocaError(f"the file {path} is there already: choose another name, or replace it with --overwrite")


def _is_part(path: Path, place: Path) -> bool:
    if place.is_dir():
        return path.resolve().is_relative_to(place.resolve()) and not _is_made_here(path)
    return place.is_file() and path.samefile(place)


def _is_made_here(path: Path) -> bool:
    """Whether it is what `coca data` writes into a folder of data; no reader of training data opens such files."""
    if path.name.endswith(".removed.csv"):
        return True
    with suppress(OSError), path.open("rb") as file:
        return path.suffix.lower() == ".model" or file.read(len(FIRST_LINE)) == FIRST_LINE.encode()
    return False


def _places(text: str, root: Path) -> Iterator[Path]:
    """Files and folders that the user may mean."""
    if is_stream(text):
        return
    for prefix in PREFIXES:
        text = text.removeprefix(prefix)
    for name in dict.fromkeys((text, text.rpartition("@")[0] or text)):
        path = Path(name).expanduser()
        yield from (path, root / name)
        if not path.exists():
            with suppress(CocaError):
                yield from expand_files(path, "file")
