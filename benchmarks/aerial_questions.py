"""Questions, statements and pairs about RSICD's real photographs, made from their captions and scenes.

The official sets of visual question answering, entailment and reasoning are large, and come from several places; these
have their files and their form, and enough examples to see small differences.
"""

from __future__ import annotations

import csv
import io
import json
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

SHARDS = {"train": ("train-0000.tar", "train-0001.tar", "train-0002.tar"), "dev": ("val-0000.tar", "val-0001.tar")}


class Photograph(NamedTuple):
    """A picture as a JPEG, the scene that it shows (such as church), and what people wrote about it."""

    jpeg: bytes
    scene: str
    captions: list[str]


def read_photographs(data: Path, split: str, limit: int | None = None) -> list[Photograph]:
    """Those of a split whose scene is known."""
    found = []
    for shard in SHARDS[split]:
        pictures, records = {}, {}
        with tarfile.open(data / "rsicd" / shard) as archive:
            for member in archive:
                key, _, kind = member.name.rpartition(".")
                content = archive.extractfile(member)
                assert content is not None
                (pictures if kind == "jpg" else records)[key] = content.read()
        described = {key: json.loads(record) for key, record in records.items()}
        found += [Photograph(pictures[k], r["class"], r["captions"]) for k, r in described.items() if "class" in r]
    return found[:limit]


def write_questions(folder: Path, photographs: dict[str, list[Photograph]]) -> Path:
    """Of each picture, which scene it is, and whether it is a named one: a table for `questions:FILE`."""
    draw = random.Random(0)
    file = folder / "questions.csv"
    (folder / "images").mkdir(parents=True)
    with file.open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(("image", "question", "answer", "split"))
        for split, pictures in photographs.items():
            scenes = sorted({picture.scene for picture in pictures})
            for number, picture in enumerate(pictures):
                name = f"{split}-{number}.jpg"
                (folder / "images" / name).write_bytes(picture.jpeg)
                asked = picture.scene if draw.random() < 0.5 else draw.choice(scenes)
                table.writerow((name, "which scene is this?", picture.scene, split))
                table.writerow((name, f"is this a {asked}?", "yes" if asked == picture.scene else "no", split))
    return file


def write_entailment(folder: Path, photographs: dict[str, list[Photograph]]) -> None:
    """SNLI-VE's files: a picture's own caption, one of the same scene, one of another scene."""
    draw = random.Random(1)
    places = folder / "snli-ve" / "flickr30k-images"
    places.mkdir(parents=True)
    for split, pictures in photographs.items():
        rows = []
        for number, picture in enumerate(pictures):
            (places / f"{split}{number}.jpg").write_bytes(picture.jpeg)
            same = [other for other in pictures if other.scene == picture.scene and other is not picture]
            others = [other for other in pictures if other.scene != picture.scene]
            for label, of in (("entailment", [picture]), ("neutral", same), ("contradiction", others)):
                if of:
                    sentence = draw.choice(draw.choice(of).captions)
                    pair = f"{split}{number}.jpg#{label}"
                    rows.append({"pairID": pair, "sentence2": sentence, "gold_label": label})
        _write_lines(folder / "snli-ve" / f"snli_ve_{split}.jsonl", rows)


def write_pairs(folder: Path, photographs: dict[str, list[Photograph]]) -> None:
    """NLVR2's files: a sentence about two pictures, once where it is true and once where it is not."""
    draw = random.Random(2)
    images = folder / "nlvr2" / "images"
    images.mkdir(parents=True)
    for split, pictures in photographs.items():
        rows = []
        for number, picture in enumerate(pictures):
            same = draw.choice([other for other in pictures if other.scene == picture.scene])
            third, fourth = (draw.choice([other for other in pictures if other.scene != picture.scene]) for _ in "ab")
            sentence, true, false = draw.choice(
                [
                    (f"both pictures show a {picture.scene}", (picture, same), (picture, third)),
                    (f"at least one picture shows a {picture.scene}", (third, picture), (third, fourth)),
                ]
            )
            for pair, (shown, label) in enumerate(((true, "True"), (false, "False"))):
                for side, one in enumerate(shown):
                    Image.open(io.BytesIO(one.jpeg)).save(
                        images / f"{split}-{number}-{pair}-img{side}.png", compress_level=1
                    )
                rows.append({"identifier": f"{split}-{number}-{pair}-0", "sentence": sentence, "label": label})
        _write_lines(folder / "nlvr2" / f"{split}.json", rows)


def _write_lines(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
