"""Kinetics-400, -600 and -700: clips of ten seconds with one human action each, many of them gone by now."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from coca_cli.datasets.action_prompts import KINETICS_TEMPLATES
from coca_cli.datasets.example import Dataset, Example, Prompts
from coca_cli.datasets.image_folder import check_split, find_beside, locate, missing, read_facts
from coca_cli.datasets.labelled_clips import Listed, class_index, place_clips, refuse_twice
from coca_cli.datasets.tables import open_text
from coca_cli.errors import BadExample

SPLITS = ("val", "test", "train")
WORDS = {"val": ("val", "validate", "validation"), "test": ("test",), "train": ("train",)}
"""What files and folders of a split are called."""
LISTS = ("", "annotations", "annotation", "labels")
COLUMNS = ("youtube_id", "time_start", "time_end")


def _layout(number: int) -> str:
    return f"""\
kinetics-{number}/SPLIT.csv      (the authors' list; columns label, {", ".join(COLUMNS)}; or in annotations/)
kinetics-{number}/SPLIT/ID_START_END.mp4      (or in SPLIT/CLASS/, videos/, videos_SPLIT/; START, END have six digits)
SPLIT: val (or validate, validation), test, train"""


def _list_names(number: int, split: str) -> list[str]:
    before = ("", f"kinetics-{number}_", f"kinetics{number}_", f"kinetics_{number}_", "kinetics_", f"k{number}_")
    return [f"{prefix}{word}.csv" for word in WORDS[split] for prefix in before]


def _find_list(number: int, folder: Path, split: str) -> Path | None:
    found = (find_beside(folder, LISTS, name) for name in _list_names(number, split))
    return next((path for path in found if path is not None), None)


def _read(number: int, root: Path, split: str) -> Iterator[Example]:
    name, layout = f"kinetics-{number}", _layout(number)
    check_split(name, split, SPLITS)

    def fits(place: Path) -> bool:
        return any(_find_list(number, place, part) is not None for part in SPLITS)

    names = (name, f"kinetics{number}", f"kinetics_{number}", f"k{number}")
    folder = locate(root, names, fits, layout)
    path = _find_list(number, folder, split)
    if path is None:
        raise missing(f"{folder} has no {WORDS[split][0]}.csv", layout)
    listed = list(_rows(path, {label: index for index, label in enumerate(read_facts(f"kinetics_{number}_classes"))}))
    if not listed:
        raise BadExample(f"{path} lists no clip below its header: fetch it again")
    refuse_twice(listed, path)
    words = WORDS[split]
    places = [folder / place for word in words for place in (word, f"videos/{word}", f"videos_{word}", f"clips/{word}")]
    yield from place_clips(listed, [*places, folder / "videos", folder / "clips", folder], layout)


def _rows(path: Path, labels: dict[str, int]) -> Iterator[Listed]:
    with open_text(path) as file:
        rows = csv.DictReader(file)
        if lacking := [column for column in COLUMNS if column not in (rows.fieldnames or ())]:
            raise BadExample(f"{path} has no column {lacking[0]}: it must be the authors' list, with its header")
        for row in rows:
            where = f"{path}, line {rows.line_num},"
            try:
                start, end = (int(float(row[column])) for column in COLUMNS[1:])
            except (TypeError, ValueError, OverflowError):
                raise BadExample(f"{where} has no times in seconds ({row!s:.80}): fetch the list again") from None
            video = row["youtube_id"]
            usual = f"{video}_{start:06d}_{end:06d}"
            label = class_index(row["label"], labels, where) if row.get("label") else None
            yield Listed(usual, (usual, f"{video}_{start}_{end}", video), label)


def _prompts(number: int, root: Path) -> Prompts:
    return Prompts(read_facts(f"kinetics_{number}_classes"), KINETICS_TEMPLATES)


def _dataset(number: int, source: str) -> Dataset:
    return Dataset(
        name=f"kinetics-{number}",
        task="classification",
        media="video",
        splits=SPLITS,
        source=source,
        licence="see source",
        layout=_layout(number),
        read=partial(_read, number),
        prompts=partial(_prompts, number),
    )


KINETICS_400 = _dataset(400, "Kay et al. 2017, arXiv 1705.06950")
KINETICS_600 = _dataset(600, "Carreira et al. 2018, arXiv 1808.01340")
KINETICS_700 = _dataset(700, "Carreira et al. 2019, arXiv 1907.06987")
