"""Clips of sets whose lists say the class of each: where they lie, whatever folders they were unpacked into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from coca_cli.datasets.example import Example
from coca_cli.datasets.image_folder import missing, visible_entries
from coca_cli.datasets.video_files import is_video
from coca_cli.errors import BadExample


class Listed(NamedTuple):
    """A clip as its list has it.

    Attributes:
        id: Unique within the split.
        names: What its file may be called, without ending; the usual name first. With a folder's name before it where
            the class folder is part of the name.
        label: Class index; None where the list keeps it back.
    """

    id: str
    names: tuple[str, ...]
    label: int | None


def place_clips(listed: Sequence[Listed], folders: Iterable[Path], layout: str) -> Iterator[Example]:
    """Each clip with its file; a file that is nowhere keeps the place where it would lie.

    Args:
        listed: At least one, in the order of the list.
        folders: Where clips may lie, or folders of them; those that are not there are passed over.
        layout: The expected files, for messages.

    Raises:
        MissingFile: None of the clips is there.
    """
    present = [folder for folder in folders if folder.is_dir()]
    files = _files_by_name(present, layout)
    found = [next((files[name] for name in clip.names if name in files), None) for clip in listed]
    first = next((file for file in found if file is not None), None)
    if first is None:
        searched = ", ".join(str(folder) for folder in present)
        what = f"none of the {len(listed):,} clips such as {listed[0].names[0]} is in {searched}"
        raise missing(what if present else f"there is no folder with the {len(listed):,} clips of the list", layout)
    for clip, file in zip(listed, found, strict=True):
        yield Example(clip.id, (file or present[0] / f"{clip.names[0]}{first.suffix}",), clip.label)


def _files_by_name(folders: Sequence[Path], layout: str) -> dict[str, Path]:
    """Clips by their name and by their folder's and their name, without ending, of the folders and those in them."""
    files: dict[str, Path] = {}
    for folder in folders:
        for entry in visible_entries(folder, layout):
            if entry.is_dir():
                for inner in visible_entries(folder / entry.name, layout):
                    _note(files, folder / entry.name, inner.name)
            else:
                _note(files, folder, entry.name)
    return files


def _note(files: dict[str, Path], folder: Path, name: str) -> None:
    stem, dot, ending = name.rpartition(".")
    if is_video(dot + ending):
        files.setdefault(stem, folder / name)
        files.setdefault(f"{folder.name}/{stem}", folder / name)


def class_index(name: str, labels: dict[str, int], where: str) -> int:
    """The index of a class that a list names.

    Args:
        name: As the list has it.
        labels: Index by name.
        where: The list and the line, for the message.

    Raises:
        BadExample: The set has no such class.
    """
    if name not in labels:
        raise BadExample(
            f"{where} names the class {name!r:.60}, which is none of the {len(labels)}: fetch the list again"
        )
    return labels[name]


def refuse_twice(listed: Sequence[Listed], path: Path) -> None:
    """Refuse a list that has a clip twice, as it would count twice.

    Raises:
        BadExample: It has.
    """
    seen: set[str] = set()
    for clip in listed:
        if clip.id in seen:
            raise BadExample(f"{path} lists the clip {clip.id} more than once: drop one of the lines")
        seen.add(clip.id)
