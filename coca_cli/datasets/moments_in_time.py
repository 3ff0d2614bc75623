"""Moments in Time: clips of three seconds with one of 339 actions each."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from coca_cli.datasets.action_prompts import KINETICS_TEMPLATES
from coca_cli.datasets.example import Dataset, Example, Prompts
from coca_cli.datasets.image_folder import check_split, find_beside, locate, missing, read_facts
from coca_cli.datasets.labelled_clips import Listed, class_index, place_clips, refuse_twice
from coca_cli.datasets.tables import open_text
from coca_cli.errors import BadExample

LISTS = {"val": "validationSet.csv", "train": "trainingSet.csv"}
FOLDERS = {"val": "validation", "train": "training"}
PLACES = ("", "annotations")
LAYOUT = """\
moments-in-time/validationSet.csv, trainingSet.csv      (FILE,CLASS,... on each line; here or in annotations/)
moments-in-time/validation/CLASS/*.mp4, training/CLASS/*.mp4      (here or in videos/)"""


def _read(root: Path, split: str) -> Iterator[Example]:
    check_split("moments-in-time", split, tuple(LISTS))

    def fits(place: Path) -> bool:
        return any(find_beside(place, PLACES, name) is not None for name in LISTS.values())

    folder = locate(root, ("moments-in-time", "moments_in_time", "moments_in_time_raw", "mit"), fits, LAYOUT)
    path = find_beside(folder, PLACES, LISTS[split])
    if path is None:
        raise missing(f"{folder} has no {LISTS[split]}", LAYOUT)
    listed = list(_rows(path))
    if not listed:
        raise BadExample(f"{path} lists no clip: fetch it again")
    refuse_twice(listed, path)
    yield from place_clips(listed, (folder / FOLDERS[split], folder / "videos" / FOLDERS[split]), LAYOUT)


def _rows(path: Path) -> Iterator[Listed]:
    labels = {label: index for index, label in enumerate(read_facts("moments_in_time_classes"))}
    with open_text(path) as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if not row:
                continue
            if len(row) < 2 or not row[0].strip():
                raise BadExample(f"{path}, line {number}, is not FILE,CLASS,...: {row!s:.80}; fetch the list again")
            label = class_index(row[1], labels, f"{path}, line {number},")
            yield Listed(row[0], (row[0].rpartition(".")[0],), label)


def _prompts(root: Path) -> Prompts:
    return Prompts(
        tuple(label.replace("+", " ") for label in read_facts("moments_in_time_classes")), KINETICS_TEMPLATES
    )


MOMENTS_IN_TIME = Dataset(
    name="moments-in-time",
    task="classification",
    media="video",
    splits=tuple(LISTS),
    source="Monfort et al. 2018, arXiv 1801.03150",
    licence="see source",
    layout=LAYOUT,
    read=_read,
    prompts=_prompts,
)
