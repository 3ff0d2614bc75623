"""Keep-lists: which examples of a source may be trained on; and beside each the table of what was taken out, and why.

A keep-list is UTF-8 text. Its header lines begin with `#` and end with `# ids`; every line after that is one example
id, taken as it stands: it may hold blanks, commas or a `#`. An id with a line break cannot stand in it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import IO, NamedTuple

from coca_cli.errors import BadExample, CocaError, MissingFile
from coca_cli.files import make_folder, written_whole

FIRST_LINE = "# coca keep-list, version 1"
LAST_LINE = "# ids"
WRITER = "coca data dedup"
_NEEDED = ("source", "kept")


class KeepList(NamedTuple):
    """The examples of one source that may be trained on.

    Attributes:
        source: The source as the user typed it when the list was made; the list speaks of no other.
        ids: Their ids.
        path: Where the list lies.
    """

    source: str
    ids: frozenset[str]
    path: Path


class Compared(NamedTuple):
    """What one evaluation set has in common with training data.

    Attributes:
        name: The set and its split.
        pictures: Its different pictures that could be read.
        found: How many of them are in the training data.
        copies: Training examples with one of its pictures, pixel by pixel.
        near: Training examples found by hash and proved on the pixels.
        embedded: Training examples found by their embedding alone.
    """

    name: str
    pictures: int
    found: int = 0
    copies: int = 0
    near: int = 0
    embedded: int = 0

    @property
    def removed(self) -> int:
        """Training examples taken out because of this set."""
        return self.copies + self.near + self.embedded


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How a keep-list came about: its header.

    Attributes:
        source: What the user typed.
        pictures: Examples looked at.
        removed: How many of them were taken out.
        kept: How many the list holds.
        unreadable: How many could not be read; they stay in the list, for training skips them by itself.
        compared: The evaluation sets.
        settings: What decides about a match, by name.
    """

    source: str
    pictures: int
    removed: int
    kept: int
    unreadable: int = 0
    compared: Sequence[Compared] = ()
    settings: Mapping[str, object] = field(default_factory=dict)


class Removed(NamedTuple):
    """A training example that shows a picture of an evaluation set.

    Attributes:
        train_id: The training example.
        evaluation_set: The set and its split.
        evaluation_id: Its example with that picture.
        found_by: "copy" (the same pixels), "hash" (near in hash, proved on the pixels) or "embedding".
        mirrored: The training picture is the mirror image.
        distance: Bits of 64 in which the nearest hashes differ; None where hashes found nothing.
        correlation: Of the details after alignment, at most 1; None where hashes found nothing.
        cosine: Of the embeddings; None without a model.
    """

    train_id: str
    evaluation_set: str
    evaluation_id: str
    found_by: str
    mirrored: bool = False
    distance: int | None = None
    correlation: float | None = None
    cosine: float | None = None

    def in_words(self) -> str:
        """The pair in one line, with how it was found."""
        numbers = {"hash": f"correlation {self.correlation or 0:.2f}", "embedding": f"cosine {self.cosine or 0:.3f}"}
        how = f"{'mirrored, ' if self.mirrored else ''}{numbers.get(self.found_by, self.found_by)}"
        return f"{self.train_id}  ~  {self.evaluation_set}: {self.evaluation_id} ({how})"


def can_be_listed(example_id: str) -> bool:
    """Whether the id fits on one line."""
    return "\n" not in example_id and "\r" not in example_id


def check_keep_list_path(path: Path) -> None:
    """See before the work that the list can be written.

    Raises:
        CocaError: A folder is in its place, or its folder cannot be written.
    """
    if path.is_dir():
        raise CocaError(f"--output {path} is a folder; give the name of the file that shall hold the keep-list")
    make_folder(path.parent)


def write_keep_list(path: Path, ids: Iterable[str], origin: Origin) -> None:
    """Write the list, whole or not at all.

    Args:
        path: A file; replaced if it is there.
        ids: As many as `origin.kept`, each without a line break (see `can_be_listed`).
        origin: What its header says.

    Raises:
        CocaError: It cannot be written.
    """
    header = {
        "source": origin.source,
        "pictures": origin.pictures,
        "removed": origin.removed,
        "unreadable (left to training, which skips them)": origin.unreadable,
        **{f"compared with {each.name}": f"{each.pictures} pictures" for each in origin.compared},
        **origin.settings,
        "kept": origin.kept,
    }
    with written_whole(path) as temporary, _opened(temporary, "w") as file:
        file.write(f"{FIRST_LINE}\n")
        file.writelines(f"# {name}: {value}\n" for name, value in header.items())
        file.write(f"{LAST_LINE}\n")
        file.writelines(f"{each}\n" for each in ids)


def read_keep_list(path: Path) -> KeepList:
    """The list with its ids.

    Raises:
        MissingFile: It cannot be opened.
        BadExample: It is no keep-list, its header is damaged, or ids are missing.
    """
    try:
        with _opened(path, "r") as file:
            first = file.readline().rstrip("\n")
            if first != FIRST_LINE:
                raise BadExample(
                    f"{path} is no keep-list that can be read: it begins with {first[:40]!r}, not with {FIRST_LINE!r}; "
                    f"make one with {WRITER}"
                )
            header = _read_header(file)
            ids = [line.rstrip("\n") for line in file if line != "\n"]
    except OSError as error:
        raise MissingFile(
            f"cannot read the keep-list {path}: {error.strerror}; give a file that {WRITER} wrote"
        ) from None
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise BadExample(f"the header of the keep-list {path} lacks {', '.join(missing)}: make it anew with {WRITER}")
    if header["kept"] != str(len(ids)):
        raise BadExample(
            f"the keep-list {path} has {len(ids):,} ids, but its header counts {header['kept']}: it was cut off or "
            f"changed; make it anew with {WRITER}"
        )
    return KeepList(header["source"], frozenset(ids), path)


@contextmanager
def removed_table(path: Path) -> Iterator[csv.DictWriter[str]]:
    """A CSV file for what was taken out, with a column per field of `Removed`; there once the block ends well.

    Raises:
        CocaError: It cannot be written.
    """
    # what is not UTF-8 in a file name must not lose what was found
    with written_whole(path) as temporary, _opened(temporary, "w", newline="", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, Removed._fields)
        writer.writeheader()
        yield writer


def removed_path(keep_list: Path) -> Path:
    """The table beside a keep-list."""
    return keep_list.with_name(f"{keep_list.name}.removed.csv")


def _read_header(file: IO[str]) -> dict[str, str]:
    """Name -> value up to the line before the ids; of a header that does not end nothing is taken for an id."""
    lines = takewhile(lambda line: line.rstrip("\n") != LAST_LINE, file)
    pairs = (line.rstrip("\n").removeprefix("# ").partition(": ") for line in lines)
    return {name: value for name, _, value in pairs}


def _opened(path: Path, mode: str, newline: str | None = None, errors: str = "surrogateescape") -> IO[str]:
    # surrogates stand for the bytes of file names that are not UTF-8, and are written back as those bytes
    return path.open(mode, encoding="utf-8-sig" if mode == "r" else "utf-8", errors=errors, newline=newline)
