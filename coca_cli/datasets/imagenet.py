"""ImageNet (ILSVRC 2012): 1,000 classes, as class folders named by wnid or as the flat validation folder."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from coca_cli.datasets.example import Dataset, Example, Prompts
from coca_cli.datasets.image_folder import (
    check_split,
    list_class_folders,
    list_pictures,
    locate,
    missing,
    read_class_folders,
    read_facts,
)
from coca_cli.datasets.open_clip_metadata import imagenet_prompts
from coca_cli.datasets.tables import open_text
from coca_cli.errors import BadExample

SPLITS = ("val", "train")
LAYOUT = """\
imagenet/val/WNID/*.JPEG          (WNID such as n01440764)
imagenet/train/WNID/*.JPEG
or, for val, the pictures in one folder with the file of their labels:
imagenet/ILSVRC2012_val/ILSVRC2012_val_00000001.JPEG ...
imagenet/ILSVRC2012_validation_ground_truth.txt
  (or imagenet/ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt, or imagenet/LOC_val_solution.csv)"""

SPLIT_FOLDERS = {
    "val": ("val", "ILSVRC2012_val", "ILSVRC2012_img_val", "ILSVRC/Data/CLS-LOC/val"),
    "train": ("train", "ILSVRC2012_train", "ILSVRC2012_img_train", "ILSVRC/Data/CLS-LOC/train"),
}
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
GROUND_TRUTH_FILES = (GROUND_TRUTH, f"ILSVRC2012_devkit_t12/data/{GROUND_TRUTH}")
SOLUTION = "LOC_val_solution.csv"
VAL_PICTURES = 50_000
VAL_NAME = re.compile(r"ILSVRC2012_val_(\d{8})")


@lru_cache
def class_index() -> Mapping[str, int]:
    """Class index, 0 to 999, by wnid."""
    return {wnid: index for index, wnid in enumerate(read_facts("imagenet_wnids"))}


def _split_folder(imagenet: Path, split: str) -> Path | None:
    return next((imagenet / name for name in SPLIT_FOLDERS[split] if (imagenet / name).is_dir()), None)


def _fits(folder: Path) -> bool:
    return any(_split_folder(folder, split) for split in SPLITS)


def read(root: Path, split: str) -> Iterator[Example]:
    """The pictures of one split; class folders and, in the flat layout, pictures may be missing.

    Raises:
        UnknownName: Another split than val and train.
        MissingFile: No such folder, no pictures, or no labels for the flat layout.
        BadExample: A folder that is no ImageNet class, a picture without a label, a damaged file of labels.
    """
    check_split("imagenet", split, SPLITS)
    imagenet = locate(root, ("imagenet",), _fits, LAYOUT)
    folder = _split_folder(imagenet, split)
    if folder is None:
        raise missing(f"{imagenet} has no folder for the split {split!r}", LAYOUT)
    if split == "val" and not list_class_folders(folder, LAYOUT):
        yield from _read_flat(imagenet, folder)
    else:
        yield from read_class_folders(folder, class_index(), LAYOUT)


def _read_flat(imagenet: Path, folder: Path) -> Iterator[Example]:
    pictures = list_pictures(folder, LAYOUT)
    if not pictures:
        raise missing(f"{folder} holds neither class folders nor pictures", LAYOUT)
    label_of = _flat_labels(imagenet)
    for picture in pictures:
        match = VAL_NAME.fullmatch(Path(picture).stem)
        if match is None:
            raise BadExample(
                f"{folder / picture} has no label: without class folders a picture of ImageNet's val split "
                "must be called like ILSVRC2012_val_00000001.JPEG; rename it or move it elsewhere"
            )
        yield Example(id=picture, media=(folder / picture,), label=label_of(int(match[1])))


def _flat_labels(imagenet: Path) -> Callable[[int], int]:
    """A function from the number of a validation picture, 1 to 50,000, to its class index."""
    for name in GROUND_TRUTH_FILES:
        if (imagenet / name).is_file():
            return _table(imagenet / name, read_ground_truth(imagenet / name))
    if (imagenet / SOLUTION).is_file():
        return _table(imagenet / SOLUTION, read_solution(imagenet / SOLUTION))
    raise missing(f"{imagenet} has no labels for its flat validation folder: no {GROUND_TRUTH}, no {SOLUTION}", LAYOUT)


def _table(file: Path, labels: dict[int, int]) -> Callable[[int], int]:
    def label_of(number: int) -> int:
        if number not in labels:
            raise BadExample(f"{file} has no label for validation picture number {number}; is it of the same set?")
        return labels[number]

    return label_of


def read_ground_truth(file: Path) -> dict[int, int]:
    """Class index by number of the picture, from the development kit's file: line N belongs to picture N.

    The kit counts classes from 1 to 1,000 in an order of its own, not in that of the wnids.

    Raises:
        BadExample: Not 50,000 lines, or a line that is no number from 1 to 1,000.
    """
    lines = file.read_text(encoding="utf-8", errors="replace").split()
    if len(lines) != VAL_PICTURES:
        raise BadExample(f"{file} has {len(lines):,} labels, not 50,000; take it from ILSVRC2012_devkit_t12 again")
    index_of = class_index()
    by_number = {str(number): index_of[wnid] for number, wnid in enumerate(read_facts("ilsvrc2012_wnids"), start=1)}
    for line_number, line in enumerate(lines, start=1):
        if line not in by_number:
            raise BadExample(
                f"line {line_number} of {file} is {line!r}, which is no class number from 1 to 1000; "
                "take the file from ILSVRC2012_devkit_t12 again"
            )
    return {number: by_number[line] for number, line in enumerate(lines, start=1)}


def read_solution(file: Path) -> dict[int, int]:
    """Class index by number of the picture, from Kaggle's file (columns ImageId, PredictionString).

    The string is a list of boxes, each `wnid left top right bottom`, all of one class.

    Raises:
        BadExample: Other columns, or a row that does not name a validation picture and an ImageNet class.
    """
    index_of = class_index()
    labels = {}
    with open_text(file) as lines:
        for row in csv.DictReader(lines):
            match = VAL_NAME.fullmatch(row.get("ImageId") or "")
            wnid = (row.get("PredictionString") or "").partition(" ")[0]
            if match is None or wnid not in index_of:
                raise BadExample(
                    f"{file} has a row that names no validation picture and ImageNet class: {row!s:.80}; expected "
                    "the columns ImageId (ILSVRC2012_val_00000001) and PredictionString (n01751748 ...)"
                )
            labels[int(match[1])] = index_of[wnid]
    return labels


def prompts(root: Path) -> Prompts:
    """ImageNet's class names and 80 templates; `root` is not looked at."""
    return imagenet_prompts()


IMAGENET = Dataset(
    name="imagenet",
    task="classification",
    splits=SPLITS,
    source="Russakovsky et al. 2015, https://www.image-net.org/challenges/LSVRC/2012/",
    licence="research only, see source",
    layout=LAYOUT,
    read=read,
    prompts=prompts,
)
