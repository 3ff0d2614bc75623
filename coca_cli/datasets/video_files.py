"""Where the clips of a set lie that names them without their endings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from coca_cli.datasets.image_folder import FileKind, missing, visible_entries

VIDEO_ENDINGS = (
    ".mp4",
    ".webm",
    ".mkv",
    ".avi",
    ".mov",
    ".m4v",
    ".mpg",
    ".mpeg",
    ".wmv",
    ".flv",
    ".ts",
    ".ogv",
    ".3gp",
)
CLIPS = FileKind("clips", VIDEO_ENDINGS)
FOLDERS = ("videos", "video", "testvideo", "trainvalvideo", "youtubeclips", "clips", "all", "msrvtt", "msvd")
"""What the archives of the field call folders of clips, in capitals or not; some lie inside each other."""
DEPTH = 3  # MSRVTT/videos/all


def is_video(name: str) -> bool:
    """Whether a file's name ends as a clip's does, in capitals or not."""
    return name.lower().endswith(VIDEO_ENDINGS)


def video_folders(folder: Path, layout: str, depth: int = DEPTH) -> list[Path]:
    """The folders in which the clips of a set may lie, the deepest first, `folder` itself last.

    Args:
        folder: Where to look.
        layout: The expected files, for messages.
        depth: How many of `FOLDERS` may lie inside each other.

    Raises:
        MissingFile: The folder is not there or may not be opened.
    """
    named = {e.name.lower(): folder / e.name for e in visible_entries(folder, layout) if e.name.lower() in FOLDERS}
    below = [named[name] for name in FOLDERS if name in named and named[name].is_dir()] if depth else []
    return [*(place for inside in below for place in video_folders(inside, layout, depth - 1)), folder]


def find_videos(folder: Path, names: Sequence[str], layout: str) -> dict[str, Path]:
    """The file of each clip, by its name without ending.

    Args:
        folder: The set's own folder.
        names: At least one.
        layout: The expected files, for messages.

    Returns:
        A path for every name, in their order; where only some are there, the others as if they lay beside the first
        one found, so that whoever reads them can say which are missing.

    Raises:
        MissingFile: None of them is there.
    """
    wanted = set(names)
    found: dict[str, Path] = {}
    for place in video_folders(folder, layout):
        for entry in visible_entries(place, layout):
            stem, dot, ending = entry.name.rpartition(".")
            if stem in wanted and is_video(dot + ending) and entry.is_file():
                found.setdefault(stem, place / entry.name)
    if not found:
        endings = ", ".join(VIDEO_ENDINGS)
        raise missing(f"none of the {len(wanted):,} clips such as {names[0]} ({endings}) is in {folder}", layout)
    usual = next(iter(found.values()))
    return {name: found.get(name, usual.parent / f"{name}{usual.suffix}") for name in names}
