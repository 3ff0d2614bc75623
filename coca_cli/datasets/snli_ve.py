"""SNLI-VE: does a picture of Flickr30K entail a sentence? And e-SNLI-VE, the same with labels corrected by hand."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from coca_cli.datasets.caption_json import PICTURE_FOLDERS
from coca_cli.datasets.example import Dataset, Example
from coca_cli.datasets.image_folder import check_split, find_beside, locate, missing
from coca_cli.datasets.json_lines import read_json_lines
from coca_cli.datasets.listed_pictures import PictureIndex
from coca_cli.datasets.tables import open_text
from coca_cli.errors import BadExample

SPLITS = ("test", "dev", "train")
LABELS = ("entailment", "neutral", "contradiction")
UNDECIDED = "-"
"""What SNLI writes where the annotators did not agree; such pairs are left out, as always."""
PICTURE_FIELDS = ("Flickr30K_ID", "Flikr30kID", "Flickr30kID")
FOLDERS = ("", "data", "annotations")
PICTURES = (*PICTURE_FOLDERS, "flickr30k_images/flickr30k_images")

OFFICIAL_LAYOUT = """\
snli-ve/snli_ve_train.jsonl, snli_ve_dev.jsonl, snli_ve_test.jsonl   (here or in data/)
snli-ve/flickr30k-images/*.jpg   (or images/; or flickr30k/ beside snli-ve/, the pictures right in it or below)"""
CORRECTED_LAYOUT = """\
e-snli-ve/esnlive_train.csv, esnlive_dev.csv, esnlive_test.csv   (here or in data/)
e-snli-ve/flickr30k-images/*.jpg   (or images/; or flickr30k/ beside e-snli-ve/, the pictures right in it or below)"""


def _read_official(root: Path, split: str) -> Iterator[Example]:
    check_split("snli-ve", split, SPLITS)
    names = tuple(f"snli_ve_{name}.jsonl" for name in SPLITS)
    folder = locate(root, ("snli-ve", "snli_ve", "SNLI-VE"), partial(_fits, names), OFFICIAL_LAYOUT)
    path = _find(folder, f"snli_ve_{split}.jsonl", OFFICIAL_LAYOUT)
    records = [
        (record["pairID"], _picture_of(record), record["sentence2"], record["gold_label"])
        for record in read_json_lines(path, ("pairID", "sentence2", "gold_label"))
    ]
    return _examples(folder, path, records)


def _read_corrected(root: Path, split: str) -> Iterator[Example]:
    check_split("e-snli-ve", split, SPLITS)
    names = tuple(f"esnlive_{name}.csv" for name in SPLITS)
    folder = locate(root, ("e-snli-ve", "e-ViL", "esnlive"), partial(_fits, names), CORRECTED_LAYOUT)
    path = _find(folder, f"esnlive_{split}.csv", CORRECTED_LAYOUT)
    fields = ("pairID", "Flickr30kID", "hypothesis", "gold_label")
    records = []
    with open_text(path) as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            if not all((row.get(field) or "").strip() for field in fields):
                raise BadExample(f"{path}, line {number} lacks one of {', '.join(fields)}: fetch the file again")
            records.append(tuple(row[field] for field in fields))
    return _examples(folder, path, records)


def _picture_of(record: dict[str, Any]) -> str:
    """The picture's name, which releases write in several ways; else the beginning of the pair's."""
    named = next((record[field] for field in PICTURE_FIELDS if record.get(field)), None)
    return str(named or record["pairID"].partition("#")[0])


def _fits(names: tuple[str, ...], folder: Path) -> bool:
    return any(find_beside(folder, FOLDERS, name) is not None for name in names)


def _find(folder: Path, name: str, layout: str) -> Path:
    path = find_beside(folder, FOLDERS, name)
    if path is None:
        raise missing(f"{folder} has no {name}", layout)
    return path


def _examples(folder: Path, path: Path, records: Sequence[tuple[str, ...]]) -> Iterator[Example]:
    """The pairs of (pair, picture, sentence, label) that have a label."""
    places = [folder / name for name in PICTURES] + [folder.parent / "flickr30k"]
    index = PictureIndex(places)
    seen: set[str] = set()
    for pair, picture, sentence, label in records:
        if label == UNDECIDED:
            continue
        if label not in LABELS:
            raise BadExample(f"{path} labels the pair {pair:.60} {label!r:.60}: it must be one of {', '.join(LABELS)}")
        if pair in seen:
            raise BadExample(f"{path} has the pair {pair:.60} twice: each must be there once")
        seen.add(pair)
        file = index.place((f"{picture.removesuffix('.jpg')}.jpg",), folder / PICTURES[0])
        yield Example(id=pair, media=(file,), label=LABELS.index(label), question=sentence)


SNLI_VE = Dataset(
    name="snli-ve",
    task="entailment",
    splits=SPLITS,
    source="Xie et al. 2019, arXiv 1901.06706; pictures of Flickr30K",
    licence="see source",
    layout=OFFICIAL_LAYOUT,
    read=_read_official,
    answers=LABELS,
)
E_SNLI_VE = Dataset(
    name="e-snli-ve",
    task="entailment",
    splits=SPLITS,
    source="Kayser et al. 2021, arXiv 2105.03761 (SNLI-VE with corrected labels); pictures of Flickr30K",
    licence="see source",
    layout=CORRECTED_LAYOUT,
    read=_read_corrected,
    answers=LABELS,
)
