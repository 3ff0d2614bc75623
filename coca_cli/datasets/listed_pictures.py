"""Pictures that annotation files name without their folders: where they lie, from one look at each folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from coca_cli.datasets.image_folder import is_picture


class PictureIndex:
    """The pictures in some folders, at any depth, by their names.

    A folder is looked into once a name is wanted that those before it have not. Links to folders are followed, since
    pictures of one set are often linked into the folder of another; what is found is only what an annotation names.

    Args:
        folders: Where to look; those that are not there are passed over. Of two pictures of one name the first counts.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._waiting = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
        self._places: dict[str, str] = {}
        self._seen: set[str] = set()

    def place(self, names: Sequence[str], expected: Path) -> Path:
        """Where a picture lies; one that is missing as if it lay where it is expected, so that it counts as unreadable.

        Args:
            names: What it may be called.
            expected: The folder for pictures.
        """
        while True:
            found = next((self._places[name] for name in names if name in self._places), None)
            if found is not None:
                return Path(found)
            if not self._waiting:
                return expected / names[0]
            self._look_into(self._waiting.pop(0))

    def _look_into(self, folder: Path) -> None:
        for here, below, files in os.walk(folder, followlinks=True):
            real = os.path.realpath(here)
            if real in self._seen:  # a link that leads back, or a folder that was looked into by another name
                below.clear()
                continue
            self._seen.add(real)
            below.sort()
            for name in sorted(files):
                if is_picture(name):
                    self._places.setdefault(name, os.path.join(here, name))  # noqa: PTH118 - millions of them
