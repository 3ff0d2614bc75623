"""Pictures that annotation files name without their folders: where they lie, from one look at each folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from coca_cli.datasets.image_folder import list_pictures
from coca_cli.errors import MissingFile


class PictureIndex:
    """The pictures in some folders, at any depth, by their names.

    Args:
        folders: Where to look; those that are not there are passed over. Of two pictures of one name the first counts.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
        self._places: dict[str, Path] = {}
        for folder in self.folders:
            for below in list_pictures(folder, ""):
                self._places.setdefault(below.rpartition("/")[2], folder / below)

    def find(self, *names: str) -> Path | None:
        """The picture of the first of these names that is there."""
        return next((self._places[name] for name in names if name in self._places), None)


def place_all(
    wanted: Sequence[Sequence[str]], index: PictureIndex, folder: Path, named_in: Path, layout: str
) -> list[Path]:
    """Where each picture lies; one that is missing as if it lay in the folder, so that it counts as unreadable.

    Args:
        wanted: What each may be called.
        index: The pictures that are there.
        folder: Where pictures are expected.
        named_in: The file that names them, for the message.
        layout: The expected files, for the message.

    Raises:
        MissingFile: None of them is anywhere.
    """
    found = [index.find(*names) for names in wanted]
    if wanted and not any(found):
        looked = ", ".join(str(place) for place in index.folders) or str(folder)
        raise MissingFile(
            f"none of the {len(wanted):,} pictures that {named_in} names is there, such as {wanted[0][0]}; looked in "
            f"{looked} and below. Expected:\n{layout}"
        )
    return [place or folder / names[0] for place, names in zip(found, wanted, strict=True)]
