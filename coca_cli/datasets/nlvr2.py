"""NLVR2: is a sentence true of two photographs?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from coca_cli.datasets.example import Dataset, Example
from coca_cli.datasets.image_folder import check_split, find_beside, locate, missing
from coca_cli.datasets.json_lines import read_json_lines
from coca_cli.datasets.listed_pictures import PictureIndex
from coca_cli.errors import BadExample

FILES = {"dev": "dev.json", "test-p": "test1.json", "train": "train.json"}
LABELS = ("False", "True")
FOLDERS = ("", "data", "annotations")
LAYOUT = """\
nlvr2/train.json, dev.json, test1.json   (one object a line; test1 is the public test-P; here or in data/)
nlvr2/images/*.png                       (all in one folder, as in dev-850-0-img0.png; or as they are handed out,
                                          in images/train/0/ ... 99/, dev/ and test1/, also without images/)"""
_IDENTIFIER = re.compile(r"(.+)-([^-]+)-([^-]+)-([^-]+)")


def _read(root: Path, split: str) -> Iterator[Example]:
    check_split("nlvr2", split, tuple(FILES))
    folder = locate(root, ("nlvr2", "NLVR2"), _fits, LAYOUT)
    path = find_beside(folder, FOLDERS, FILES[split])
    if path is None:
        raise missing(f"{folder} has no {FILES[split]}", LAYOUT)
    records = read_json_lines(path, ("identifier", "sentence", "label"))
    index = PictureIndex(folder / name for name in ("images", "train", "dev", "test1"))
    seen: set[str] = set()
    for number, record in enumerate(records, start=1):
        parts = _IDENTIFIER.fullmatch(record["identifier"])
        if parts is None:
            raise BadExample(
                f"{path}, line {number} has the identifier {record['identifier']!r:.60}: it must be "
                "SPLIT-SET-PAIR-SENTENCE, such as dev-850-0-1"
            )
        part, set_number, pair, sentence = parts.groups()
        name, label = record["identifier"], record["label"].capitalize()
        if label not in LABELS:
            raise BadExample(f"{path} labels {name:.60} {record['label']!r:.60}: it must be True or False")
        if name in seen:
            raise BadExample(f"{path} has the statement {name:.60} twice: each must be there once")
        seen.add(name)
        pictures = (f"{part}-{set_number}-{pair}-img{side}.png" for side in (0, 1))
        yield Example(
            id=name,
            media=tuple(index.place((picture,), folder / "images") for picture in pictures),
            label=LABELS.index(label),
            question=record["sentence"],
            kind=f"{part}-{set_number}-{sentence}",
        )


def _fits(folder: Path) -> bool:
    return any(find_beside(folder, FOLDERS, name) is not None for name in FILES.values())


NLVR2 = Dataset(
    name="nlvr2",
    task="reasoning",
    splits=tuple(FILES),
    source="Suhr et al. 2019, arXiv 1811.00491, https://lil.nlp.cornell.edu/nlvr",
    licence="CC BY 4.0 (pictures: see source)",
    layout=LAYOUT,
    read=_read,
    answers=LABELS,
    pictures=2,
)
