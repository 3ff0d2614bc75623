from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coca_cli.datasets.example import Example
from coca_cli.datasets.vqav2 import VQAV2
from coca_cli.errors import BadExample, MissingFile
from tests.datasets.make_samples import SAMPLES

SAMPLE = SAMPLES / "vqav2"
QUESTIONS = "v2_OpenEnded_mscoco_{}_questions.json"
ANNOTATIONS = "v2_mscoco_{}_annotations.json"


def read(root: Path, split: str = "val") -> list[Example]:
    return list(VQAV2.read(root, split))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sample's own folder, below a data root where it may be changed."""
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    return tmp_path / "vqav2"


def change(file: Path, edit: Callable[[Any], object]) -> None:
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def test_questions_with_their_ten_answers_and_types() -> None:
    first, second, third = read(SAMPLE)
    assert (first.id, first.question, first.answer) == ("42000", "is it drawn?", "yes")
    assert first.texts == ("yes",) * 9 + ("no",)
    assert (first.group, first.kind) == ("yes/no", "is it")
    assert (second.group, second.kind) == ("other", "what color")
    assert third.id == "73002"
    assert first.media == (SAMPLE / "vqav2/val2014/COCO_val2014_000000000042.jpg",)


def test_the_parts_and_what_the_list_of_minival_makes_of_them() -> None:
    ids = {split: [example.id for example in read(SAMPLE, split)] for split in VQAV2.splits}
    assert ids == {
        "val": ["42000", "42001", "73002"],
        "minival": ["73002"],
        "train": ["9000", "9001", "25002"],
        "trainval": ["9000", "9001", "25002", "42000", "42001"],
        "test-dev": ["1000001"],
        "test-std": ["1000001", "1001000"],
    }
    assert all(not example.texts and not example.answer for example in read(SAMPLE, "test-std"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("minival.json", '[{"question_id": 42001, "img_id": "x"}, {"question_id": 73002}]'),
        ("minival.json", "[42001, 73002]"),
        ("minival_ids.txt", "42001\n73002\n"),
    ],
)
def test_the_list_of_minival_has_several_forms(copy: Path, name: str, content: str) -> None:
    (copy / "minival.txt").unlink()
    (copy / name).write_text(content)
    assert [example.id for example in read(copy, "minival")] == ["42001", "73002"]
    assert [example.id for example in read(copy, "trainval")][3:] == ["42000"]


@pytest.mark.parametrize(
    ("name", "content"), [("minival.json", '[{"image_id": 42}]'), ("minival.txt", "42"), ("minival.json", "[42]")]
)
def test_the_list_of_minival_may_name_pictures(copy: Path, name: str, content: str) -> None:
    (copy / "minival.txt").unlink()
    (copy / name).write_text(content)
    assert [example.id for example in read(copy, "minival")] == ["42000", "42001"]


@pytest.mark.parametrize("content", ["9000 42000", "42 73002", "[]", "42000 42"])
def test_a_list_that_is_not_of_val(copy: Path, content: str) -> None:
    (copy / "minival.txt").write_text(content)
    with pytest.raises(BadExample, match=r"ids that val does not have, such as|is no list of minival"):
        read(copy, "minival")


def test_files_and_pictures_may_lie_in_the_usual_places(copy: Path) -> None:
    for part in ("val2014", "train2014"):
        (copy / "questions").mkdir(exist_ok=True)
        (copy / QUESTIONS.format(part)).rename(copy / "questions" / QUESTIONS.format(part))
        (copy / "annotations").mkdir(exist_ok=True)
        (copy / ANNOTATIONS.format(part)).rename(copy / "annotations" / ANNOTATIONS.format(part))
    (copy.parent / "coco").mkdir()
    (copy / "val2014").rename(copy.parent / "coco/val2014")
    assert read(copy)[0].media == (copy.parent / "coco/val2014/COCO_val2014_000000000042.jpg",)
    (copy / "images").mkdir()
    (copy.parent / "coco/val2014").rename(copy / "images/val2014")
    assert read(copy.parent)[0].media == (copy / "images/val2014/COCO_val2014_000000000042.jpg",)


def test_pictures_may_have_their_names_of_2017(copy: Path) -> None:
    for part, file in zip(("val2017", "train2017"), sorted((copy / "val2014").iterdir()), strict=True):
        (copy / part).mkdir()  # of 2014's val most became train in 2017
        file.rename(copy / part / file.name.rpartition("_")[2])
    assert read(copy)[0].media == (copy / "val2017/000000000042.jpg",)
    assert read(copy)[2].media == (copy / "train2017/000000000073.jpg",)


def test_folders_may_be_links(copy: Path, tmp_path: Path) -> None:
    (copy / "images").mkdir()
    (copy / "val2014").rename(tmp_path / "elsewhere")
    (copy / "images/val2014").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(copy / "images")  # and lead in a circle
    gone = copy / "images/val2014/COCO_val2014_000000000073.jpg"
    gone.unlink()
    first, _, third = read(copy)
    assert first.media == (copy / "images/val2014/COCO_val2014_000000000042.jpg",)
    assert third.media == (copy / "val2014/COCO_val2014_000000000073.jpg",)


def test_a_missing_picture_keeps_its_place(copy: Path) -> None:
    gone = copy / "val2014/COCO_val2014_000000000042.jpg"
    gone.unlink()
    assert read(copy)[0].media == (gone,)
    shutil.rmtree(copy / "val2014")
    assert read(copy)[0].media == (gone,)


def test_a_question_without_answers(copy: Path) -> None:
    change(copy / ANNOTATIONS.format("val2014"), lambda content: content["annotations"].pop(1))
    with pytest.raises(BadExample, match=r"the question 42001 .* has no answers in v2_mscoco_val2014"):
        read(copy)


@pytest.mark.parametrize("answers", [[], None, ["yes"], [{"answer": 3}]])
def test_answers_that_are_none(copy: Path, answers: Any) -> None:
    change(copy / ANNOTATIONS.format("val2014"), lambda content: content["annotations"][1].update(answers=answers))
    with pytest.raises(BadExample, match=r"annotations\[1\] has no list of answers such as"):
        read(copy)


def test_files_that_are_missing(copy: Path) -> None:
    (copy / "minival.txt").unlink()
    with pytest.raises(MissingFile, match=r"has no minival.json, which says what of val is minival"):
        read(copy, "minival")
    (copy / ANNOTATIONS.format("val2014")).unlink()
    with pytest.raises(
        MissingFile, match=r"questions.json, but no v2_mscoco_val2014_annotations.json with the answers"
    ):
        read(copy)
    (copy / QUESTIONS.format("val2014")).unlink()
    with pytest.raises(MissingFile, match=r"has no v2_OpenEnded_mscoco_val2014_questions\.json"):
        read(copy)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("minival.txt", "", "the list of minival .* is empty"),
        ("minival.txt", "picture", "is no list of minival"),
        ("minival.json", "{", "is no list of minival"),
        ("minival.json", '[{"picture": 3}]', "is no list of minival"),
        (QUESTIONS.format("val2014"), "{", "is not valid JSON"),
        (
            QUESTIONS.format("val2014"),
            "[]",
            r'is no official file of VQA v2: it must hold an object with a list "quest',
        ),
        (QUESTIONS.format("val2014"), '{"questions": [{"question_id": 1}]}', r"questions\[0\] has no image_id \(int\)"),
        (QUESTIONS.format("val2014"), '{"questions": [3]}', r"questions\[0\] has no question_id \(int\)"),
    ],
)
def test_files_that_are_damaged(copy: Path, name: str, content: str, message: str) -> None:
    (copy / name).write_text(content)
    with pytest.raises(BadExample, match=message):
        read(copy, "minival" if "minival" in name else "val")


def test_a_question_that_is_there_twice(copy: Path) -> None:
    change(copy / QUESTIONS.format("val2014"), lambda content: content["questions"].append(content["questions"][0]))
    with pytest.raises(BadExample, match="has the question 42000 twice"):
        read(copy)


def test_a_folder_in_the_place_of_a_file(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **_: Any) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(MissingFile, match="check that it is a file that may be read"):
        read(copy)


def test_the_official_sample(test_data: Path, tmp_path: Path) -> None:
    """Three questions about a photograph, their annotations without types."""
    sample = test_data / "vqav2/sample"
    folder = tmp_path / "vqav2"
    folder.mkdir()
    shutil.copy(sample / "questions.json", folder / QUESTIONS.format("train2014"))
    shutil.copy(sample / "annotations.json", folder / ANNOTATIONS.format("train2014"))
    shutil.copytree(sample / "images", folder / "images")
    found = read(tmp_path, "train")
    assert [example.question for example in found][:1] == ["What is this photo taken looking through?"]
    assert len(found) == 3
    assert all(len(example.texts) == 10 for example in found)
    assert {example.media[0] for example in found} == {folder / "images/COCO_train2014_000000458752.jpg"}
