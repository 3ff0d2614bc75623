"""What `coca caption` writes, letter by letter."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from coca_cli.errors import CocaError
from coca_cli.options import CaptionFormat
from coca_cli.tasks.caption_files import CaptionedFile, check_format, choose_format, image_number, written_as
from coca_cli.tasks.captioning import ScoredText

TEXT, JSONL, CSV, COCO = CaptionFormat.text, CaptionFormat.jsonl, CaptionFormat.csv, CaptionFormat.coco
ONE = [
    CaptionedFile("photos/a, b.jpg", [ScoredText('a "red" bus, Öl', -1.23456789)]),
    CaptionedFile("COCO_val2014_000000391895.jpg", [ScoredText("日本", -20.0)]),
]
TWO = [
    CaptionedFile("1.jpg", [ScoredText("a dog", -1.0), ScoredText("a, cat", -2.5)]),
    CaptionedFile("2.jpg", [ScoredText("", -0.25), ScoredText("bus", -3.0)]),
]


@pytest.mark.parametrize(
    ("form", "files", "scores", "expected"),
    [
        (TEXT, ONE, False, 'photos/a, b.jpg\ta "red" bus, Öl\nCOCO_val2014_000000391895.jpg\t日本\n'),
        (
            *(TEXT, ONE, True),
            'photos/a, b.jpg\ta "red" bus, Öl\t-1.2346\nCOCO_val2014_000000391895.jpg\t日本\t-20.0000\n',
        ),
        (TEXT, TWO, False, "1.jpg\ta dog\n1.jpg\ta, cat\n2.jpg\t\n2.jpg\tbus\n"),
        (
            *(JSONL, ONE, False),
            '{"file": "photos/a, b.jpg", "caption": "a \\"red\\" bus, Öl"}\n'
            '{"file": "COCO_val2014_000000391895.jpg", "caption": "日本"}\n',
        ),
        (JSONL, ONE[1:], True, '{"file": "COCO_val2014_000000391895.jpg", "caption": "日本", "score": -20.0}\n'),
        (
            *(JSONL, TWO[:1], False),
            '{"file": "1.jpg", "caption": "a dog", "captions": [{"caption": "a dog"}, {"caption": "a, cat"}]}\n',
        ),
        (
            *(JSONL, TWO[1:], True),
            '{"file": "2.jpg", "caption": "", "score": -0.25, '
            '"captions": [{"caption": "", "score": -0.25}, {"caption": "bus", "score": -3.0}]}\n',
        ),
        (
            *(CSV, ONE, False),
            'file,caption\n"photos/a, b.jpg","a ""red"" bus, Öl"\nCOCO_val2014_000000391895.jpg,日本\n',
        ),
        (CSV, ONE[1:], True, "file,caption,score\nCOCO_val2014_000000391895.jpg,日本,-20.000000\n"),
        (CSV, TWO, False, 'file,rank,caption\n1.jpg,1,a dog\n1.jpg,2,"a, cat"\n2.jpg,1,\n2.jpg,2,bus\n'),
        (
            *(CSV, TWO, True),
            "file,rank,caption,score\n1.jpg,1,a dog,-1.000000\n"
            '1.jpg,2,"a, cat",-2.500000\n2.jpg,1,,-0.250000\n2.jpg,2,bus,-3.000000\n',
        ),
        (
            *(COCO, ONE, False),
            '[\n{"image_id": "a, b", "caption": "a \\"red\\" bus, Öl"},\n{"image_id": 391895, "caption": "日本"}\n]\n',
        ),
        (COCO, ONE[:1], True, '[\n{"image_id": "a, b", "caption": "a \\"red\\" bus, Öl", "score": -1.234568}\n]\n'),
    ],
)
def test_each_format_to_the_letter(
    form: CaptionFormat, files: list[CaptionedFile], scores: bool, expected: str
) -> None:
    assert "".join(written_as(form, files, scores=scores)) == expected


def test_programs_read_what_was_written() -> None:
    rows = list(csv.DictReader(io.StringIO("".join(written_as(CSV, ONE, scores=True)))))
    assert [(row["file"], row["caption"]) for row in rows] == [(file.id, file.captions[0].text) for file in ONE]
    assert [float(row["score"]) for row in rows] == pytest.approx([-1.23456789, -20], abs=1e-6)
    assert [row["image_id"] for row in json.loads("".join(written_as(COCO, ONE, scores=False)))] == ["a, b", 391895]


def test_captions_are_written_as_they_come() -> None:
    def files() -> list[CaptionedFile]:
        taken.append(len(taken))
        return ONE

    for form in CaptionFormat:
        taken: list[int] = []
        pieces = written_as(form, (file for _ in range(3) for file in files()), scores=False)
        next(pieces)
        assert len(taken) == 1, form


@pytest.mark.parametrize(
    ("output", "wanted", "form"),
    [
        (None, None, TEXT),
        (None, COCO, COCO),
        ("a.txt", None, TEXT),
        ("a.tsv", None, TEXT),
        ("a.JSONL", None, JSONL),
        ("a.b.csv", None, CSV),
        ("a.json", None, COCO),
        ("a.json", JSONL, JSONL),
        ("a.dat", CSV, CSV),
        ("a", TEXT, TEXT),
    ],
)
def test_the_format_is_the_named_one_or_that_of_the_ending(
    output: str | None, wanted: CaptionFormat | None, form: CaptionFormat
) -> None:
    assert choose_format(None if output is None else Path(output), wanted) is form


@pytest.mark.parametrize("name", ["a.dat", "a", "json", ".csv"])
def test_an_ending_that_tells_nothing_is_refused(name: str) -> None:
    message = f"--output {name}: the ending tells no format; use .txt, .tsv, .jsonl, .csv, .json or name one with --as"
    with pytest.raises(CocaError, match=re.escape(message)):
        choose_format(Path(name), None)


def test_cocos_results_hold_one_caption_each() -> None:
    with pytest.raises(CocaError, match="one caption per picture, not --n-best 3; use --as jsonl"):
        check_format(COCO, 3)
    check_format(COCO, 1)
    for form in (TEXT, JSONL, CSV):
        check_format(form, 3)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("val2014/COCO_val2014_000000391895.jpg", 391895),
        ("/data/000000000139.jpg", 139),
        ("0.png", 0),
        ("COCO_test-dev_5.jpg", "COCO_test-dev_5"),
        ("COCO_12.jpg", "COCO_12"),
        ("photos/me.at.sea.jpg", "me.at.sea"),
        ("video7010.mp4", "video7010"),
        ("img_12.jpg", "img_12"),
        ("12b.jpg", "12b"),
        ("139", 139),
    ],
)
def test_the_number_of_a_picture_is_in_its_name(name: str, number: int | str) -> None:
    assert image_number(name) == number
