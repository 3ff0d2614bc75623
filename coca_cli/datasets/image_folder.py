"""Pictures sorted into one folder per class, the layout that most labelled sets share, and the shipped class lists."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from coca_cli.datasets.example import Example
from coca_cli.errors import BadExample, MissingFile, UnknownName
from coca_cli.registry import unknown_name

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
FACTS = Path(__file__).with_name("facts")
MAC_LEFTOVERS = "__MACOSX"  # what macOS adds to zip files

_FOLDER_PROBLEMS = {
    FileNotFoundError: "is not there",
    NotADirectoryError: "is a file, not a folder",
    PermissionError: "may not be opened by this user",
}


@lru_cache
def read_facts(name: str) -> tuple[str, ...]:
    """One of the lists that ship with the package: the lines of facts/NAME.txt without the comments."""
    lines = (FACTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if not line.startswith("#"))


def is_there(path: str | Path) -> bool:
    """Whether a name that some data give is that of a file; no file has a name that is too long, or a zero in it."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises on such names


def missing(what: str, layout: str) -> MissingFile:
    """The message for files that are not where they should be: what is wrong, what is expected, what to do.

    Args:
        what: What is wrong, as a clause without a full stop.
        layout: The expected files; they begin with PATH where the user names the folder itself, as in `folder:PATH`.
    """
    expected = "\n".join(f"  {line}" for line in layout.splitlines())
    if layout.startswith("PATH"):
        return MissingFile(f"{what}. Expected:\n{expected}\nName the folder that holds this, as PATH after the colon.")
    advice = "Point --data-root (or COCA_DATA) at the folder that holds this."
    return MissingFile(f"{what}. Expected below the data root:\n{expected}\n{advice}")


def check_split(dataset: str, split: str, splits: Sequence[str]) -> None:
    """Refuse a split that the dataset does not have.

    Raises:
        UnknownName: There is no such split.
    """
    if split not in splits:
        raise UnknownName(unknown_name(f"split of {dataset}", split, splits))


def locate(root: Path, names: Sequence[str], fits: Callable[[Path], bool], layout: str) -> Path:
    """The dataset's own folder, wherever the user pointed: at the folder above it or at itself.

    Args:
        root: The data root.
        names: What the dataset's folder may be called, in capitals or not; the usual name first.
        fits: Whether a folder directly holds the dataset's files.
        layout: The expected files, for the message.

    Returns:
        The first of root/NAME that exists (or root/NAME/NAME, where an archive was unpacked into a folder of its own),
        else `root` when it fits.

    Raises:
        MissingFile: None of them is there, or the root cannot be opened.
    """
    folder = _first_below(root, names, layout)
    if folder is None and fits(root):
        return root
    if folder is None:
        raise missing(f"the data root {root} holds no folder {' or '.join(names)}", layout)
    if folder.is_dir() and not fits(folder):
        return _first_below(folder, names, layout) or folder
    return folder


def _first_below(folder: Path, names: Sequence[str], layout: str) -> Path | None:
    present = {entry.name.lower(): entry.name for entry in visible_entries(folder, layout)}
    return next((folder / present[name.lower()] for name in names if name.lower() in present), None)


def find_beside(folder: Path, places: Sequence[str], name: str) -> Path | None:
    """The first file of that name in one of the places below the folder; None where there is none."""
    return next((folder / below / name for below in places if (folder / below / name).is_file()), None)


def is_picture(name: str) -> bool:
    """Whether a file's name ends as a picture's does, in capitals or not."""
    return name.lower().endswith(PICTURE_ENDINGS)


def visible_entries(folder: Path, layout: str) -> list[os.DirEntry[str]]:
    """The folder's entries sorted by name, without hidden ones and the leftovers of macOS.

    Raises:
        MissingFile: The folder is not there, is a file, or may not be opened.
    """
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".") and entry.name != MAC_LEFTOVERS]
    except tuple(_FOLDER_PROBLEMS) as error:
        what = "folder" if layout.startswith("PATH") else "data root, or folder below it,"
        raise missing(f"cannot read the {what} {folder}: it {_FOLDER_PROBLEMS[type(error)]}", layout) from error
    return sorted(shown, key=lambda entry: entry.name)


def has_folder_of(folder: Path, names: Mapping[str, int]) -> bool:
    """Whether the folder holds at least one class folder of these names."""
    return folder.is_dir() and any(entry.is_dir() and entry.name in names for entry in visible_entries(folder, ""))


def list_class_folders(folder: Path, layout: str) -> list[str]:
    """The names of the class folders, sorted; empty where there are none.

    Raises:
        MissingFile: The folder is not there, is a file, or may not be opened.
        BadExample: One of them is a link.
    """
    found = [entry for entry in visible_entries(folder, layout) if entry.is_dir()]
    for entry in found:
        _refuse_link_outside(entry, folder)
    return [entry.name for entry in found]


class FileKind(NamedTuple):
    """What a set is made of.

    Attributes:
        noun: In messages.
        endings: Of its files, in small letters.
    """

    noun: str
    endings: tuple[str, ...]


PICTURES = FileKind("pictures", PICTURE_ENDINGS)


def list_pictures(folder: Path, layout: str, below: str = "", kind: FileKind = PICTURES) -> list[str]:
    """All pictures, or files of another kind, of a folder, at any depth.

    Args:
        folder: What the returned paths are relative to.
        layout: The expected files, for messages.
        below: A folder inside `folder` to look in, instead of the whole of it.
        kind: Which files.

    Returns:
        Paths with forward slashes, sorted: the same list on every machine.

    Raises:
        MissingFile: A folder is not there, is a file, or may not be opened.
        BadExample: A link leads out of `folder`.
    """
    found, pending = [], [below]
    while pending:
        here = pending.pop()
        for entry in visible_entries(folder / here, layout):
            path = f"{here}/{entry.name}" if here else entry.name
            if entry.is_dir():
                _refuse_link_outside(entry, folder)
                pending.append(path)
            elif entry.name.lower().endswith(kind.endings):
                _refuse_link_outside(entry, folder)
                found.append(path)
    return sorted(found)


def _refuse_link_outside(entry: os.DirEntry[str], folder: Path) -> None:
    # Left out silently, a linked picture would change the score; followed, it would score what the set does not hold.
    # A link to a folder can also lead back to itself, so none is followed.
    if not entry.is_symlink():
        return
    target = Path(entry.path).resolve()
    if entry.is_dir() or not target.is_relative_to(folder.resolve()):
        raise BadExample(f"{entry.path} is a link to {target}, and links are not followed; put the files there instead")


def read_class_folders(
    folder: Path, labels: Mapping[str, int], layout: str, *, skip_others: bool = False, kind: FileKind = PICTURES
) -> Iterator[Example]:
    """The labelled pictures of one split, class by class.

    Pictures that lie beside the class folders have no class and are left out, as are hidden files.

    Args:
        folder: The split's folder, with one folder per class; classes may be missing.
        labels: Name of a class folder to class index.
        layout: The expected files, for messages.
        skip_others: Leave out folders of other names instead of refusing them.
        kind: What lies in them.

    Yields:
        Examples in the order of label and path; the id is the path below `folder`, with forward slashes.

    Raises:
        MissingFile: No folder, no class folders, no pictures.
        BadExample: A folder of another name, or a link that leads out of `folder`.
    """
    names = list_class_folders(folder, layout)
    unknown = [name for name in names if name not in labels]
    if unknown and not skip_others:
        example = min(labels)
        raise BadExample(
            f"{folder} holds {unknown[0]!r}, which is no class folder of this dataset ({len(unknown)} of {len(names)} "
            f"folders are not; they are called like {example!r}); move it elsewhere"
        )
    known = sorted((name for name in names if name in labels), key=lambda name: (labels[name], name))
    if not known:
        raise missing(f"{folder} has no class folders", layout)
    empty = True
    for name in known:
        for path in list_pictures(folder, layout, name, kind):
            empty = False
            yield Example(id=path, media=(folder / path,), label=labels[name])
    if empty:
        raise missing(
            f"no {kind.noun} ({' '.join(kind.endings)}) in the {len(known)} class folders of {folder}", layout
        )
