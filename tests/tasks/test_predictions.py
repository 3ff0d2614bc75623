from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from coca_cli.errors import CocaError
from coca_cli.tasks.classification import Ranking
from coca_cli.tasks.predictions import check_predictions_path, write_predictions

NAMES = ("cat", "dog, big", 'fox "red"', "žába")
IDS = ["a.jpg", "folder/b, c.jpg", "ž.jpg"]
LABELS = torch.tensor([0, 3, 1])
RANKING = Ranking(
    torch.tensor([[0, 1], [2, 3], [3, 0]]),
    torch.tensor([[25.5, 24.25], [7.12345678, -3.0], [0.1, 0.0]]),
)


def write(path: Path) -> None:
    write_predictions(path, IDS, LABELS, RANKING, NAMES)


def test_csv_has_one_row_per_example(tmp_path: Path) -> None:
    write(tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "label", "label_name", "class_1", "class_2", "name_1", "name_2", "score_1", "score_2"]
    assert [row[:7] for row in rows] == [
        ["a.jpg", "0", "cat", "0", "1", "cat", "dog, big"],
        ["folder/b, c.jpg", "3", "žába", "2", "3", 'fox "red"', "žába"],
        ["ž.jpg", "1", "dog, big", "3", "0", "žába", "cat"],
    ]
    assert [float(score) for row in rows for score in row[7:]] == [25.5, 24.25, 7.123457, -3.0, 0.1, 0.0]


def test_json_lines_have_one_object_per_example(tmp_path: Path) -> None:
    write(tmp_path / "p.jsonl")
    text = (tmp_path / "p.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert rows[1] == {
        "id": "folder/b, c.jpg",
        "label": 3,
        "label_name": "žába",
        "classes": [2, 3],
        "names": ['fox "red"', "žába"],
        "scores": [7.123457, -3.0],
    }
    assert [row["id"] for row in rows] == IDS
    assert "žába" in text  # for people to read


def test_an_older_file_is_replaced_and_nothing_is_left_beside(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("old")
    write(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text(encoding="utf-8").startswith("id,label")
    assert [file.name for file in tmp_path.iterdir()] == ["p.csv"]


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_a_file_name_that_is_no_unicode_is_written_all_the_same(tmp_path: Path, name: str) -> None:
    broken = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")  # as Python reads such a name from a folder
    write_predictions(tmp_path / name, [broken], LABELS[:1], Ranking(*(part[:1] for part in RANKING)), NAMES)
    assert "caf\\udce9.jpg" in (tmp_path / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["p.txt", "p", "p.csv.gz", "p.json"])
def test_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CocaError, match=r"must end in \.csv or \.jsonl, which says its format"):
        check_predictions_path(tmp_path / name)


def test_the_folder_is_made_before_the_work(tmp_path: Path) -> None:
    check_predictions_path(tmp_path / "new" / "deep" / "p.csv")
    assert (tmp_path / "new" / "deep").is_dir()
    assert not any((tmp_path / "new" / "deep").iterdir())


def test_a_folder_that_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CocaError, match=r"cannot write into the folder .*file.*choose another place"):
        check_predictions_path(tmp_path / "file" / "p.csv")
