"""COCO, Flickr30K and Flickr8K with Karpathy's splits, in which papers measure retrieval and captions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from coca_cli.datasets.caption_json import TRAIN_SPLITS, read_captioned, read_listed
from coca_cli.datasets.example import Dataset, Example, Protocol
from coca_cli.datasets.image_folder import check_split, find_beside, locate, missing

SPLITS = ("test", "val", "train")
ANNOTATIONS = "annotations"
"""Where the caption files may lie too; pictures are looked for beside them and one level up."""
OFFICIAL = "captions_val2014.json"
ID_LISTS = {"test": "karpathy_test_ids.txt", "val": "karpathy_val_ids.txt"}


@dataclass(frozen=True, slots=True)
class Captioned:
    """One of the sets.

    Attributes:
        name: What the user types.
        folders: What its folder may be called, the usual name first.
        pictures: Where pictures may lie, for the message.
        official: The set's own caption file and lists of ids may stand in for Karpathy's file.
    """

    name: str
    folders: tuple[str, ...]
    pictures: str
    official: bool = False

    @property
    def file(self) -> str:
        """Karpathy's file."""
        return f"dataset_{self.name}.json"

    @property
    def layout(self) -> str:
        """The files expected below the data root."""
        folder = self.folders[0]
        lines = [
            f"{folder}/{self.file}      (Karpathy's splits; here or in {ANNOTATIONS}/)",
            f"{folder}/{self.pictures}",
        ]
        if self.official:
            lines += [
                f"or, in place of {self.file}, for test and val: {folder}/{ANNOTATIONS}/{OFFICIAL}",
                f"  and beside it {', '.join(ID_LISTS.values())}",
                "  (one picture's id a line; the 1k folds are right only in the order of Karpathy's file)",
            ]
        return "\n".join(lines)

    def find(self, folder: Path, name: str) -> Path | None:
        """A caption file or list of the set; None where it is not there."""
        return find_beside(folder, ("", ANNOTATIONS), name)

    def fits(self, folder: Path) -> bool:
        """Whether a folder holds the set's captions."""
        return self.find(folder, self.file) is not None or (self.official and self.find(folder, OFFICIAL) is not None)


def _read(one: Captioned, root: Path, split: str) -> Iterator[Example]:
    check_split(one.name, split, SPLITS)
    folder = locate(root, one.folders, one.fits, one.layout)
    file = one.find(folder, one.file)
    if file is not None:
        return read_captioned(file, TRAIN_SPLITS if split == "train" else (split,))
    official = one.find(folder, OFFICIAL) if one.official else None
    if official is None:
        raise missing(f"{folder} has no {one.file}", one.layout)
    listed = one.find(folder, ID_LISTS[split]) if split in ID_LISTS else None
    if listed is None:
        needed = f"neither {one.file} nor {ID_LISTS[split]}" if split in ID_LISTS else f"no {one.file}"
        raise missing(f"{folder} has {needed}, which says what the split {split} is", one.layout)
    return read_listed(official, listed)


def _dataset(one: Captioned, *, source: str, protocols: tuple[Protocol, ...]) -> Dataset:
    return Dataset(
        name=one.name,
        task="captions",
        splits=SPLITS,
        source=source,
        licence="see source",
        layout=one.layout,
        read=partial(_read, one),
        protocols=protocols,
    )


COCO = _dataset(
    Captioned("coco", ("coco", "mscoco"), "val2014/*.jpg, train2014/*.jpg", official=True),
    source="Lin et al. 2014, https://cocodataset.org; splits of Karpathy and Fei-Fei 2015",
    protocols=(Protocol("5k", "test"), Protocol("1k", "test", folds=5)),
)
FLICKR30K = _dataset(
    Captioned("flickr30k", ("flickr30k",), "flickr30k-images/*.jpg or images/*.jpg"),
    source="Young et al. 2014, https://shannon.cs.illinois.edu/DenotationGraph; splits of Karpathy and Fei-Fei 2015",
    protocols=(Protocol("1k", "test"),),
)
FLICKR8K = _dataset(
    Captioned("flickr8k", ("flickr8k",), "Flicker8k_Dataset/*.jpg or images/*.jpg"),
    source="Hodosh et al. 2013; splits of Karpathy and Fei-Fei 2015",
    protocols=(Protocol("1k", "test"),),
)
