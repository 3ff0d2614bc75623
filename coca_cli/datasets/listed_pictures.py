"""Pictures that annotation files name without their folders: where they lie, from one look at each folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from coca_cli.datasets.image_folder import list_pictures


class PictureIndex:
    """The pictures in some folders, at any depth, by their names.

    Args:
        folders: Where to look; those that are not there are passed over. Of two pictures of one name the first counts.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._places: dict[str, Path] = {}
        for folder in filter(Path.is_dir, dict.fromkeys(folders)):
            for below in list_pictures(folder, ""):
                self._places.setdefault(below.rpartition("/")[2], folder / below)

    def place(self, names: Sequence[str], expected: Path) -> Path:
        """Where a picture lies; one that is missing as if it lay where it is expected, so that it counts as unreadable.

        Args:
            names: What it may be called.
            expected: The folder for pictures.
        """
        return next((self._places[name] for name in names if name in self._places), expected / names[0])
