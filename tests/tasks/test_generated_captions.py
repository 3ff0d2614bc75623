"""Files of captions that a model wrote: all forms, matched to their pictures, and the mistakes that are told."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from coca_cli.datasets.example import Example
from coca_cli.errors import BadExample, MissingFile
from coca_cli.options import CaptionFormat
from coca_cli.tasks.caption_files import CaptionedFile, written_as
from coca_cli.tasks.captioning import ScoredText
from coca_cli.tasks.generated_captions import Candidate, match_candidates, read_candidates, save_candidates

HERE = Path("mine.json")
COCO = [
    Example("139", (Path("/data/coco/val2017/000000000139.jpg"),)),
    Example("391895", (Path("/data/coco/val2014/COCO_val2014_000000391895.jpg"),)),
]
OWN = [
    Example("a/1.jpg", (Path("/data/own/a/1.jpg"),)),
    Example("b/1.jpg", (Path("/data/own/b/1.jpg"),)),
    Example("b/two.jpg", (Path("/data/own/b/two.jpg"),)),
    Example("clip7", (Path("/data/own/clips/clip7.mp4"),)),
]


def matched(examples: Sequence[Example], *keys: str) -> dict[str, str]:
    """Which picture each caption was taken for; captions are the keys themselves."""
    return match_candidates(HERE, [Candidate(key, f"of {key}") for key in keys], examples)


ROWS = [{"image_id": 139, "caption": 'a "red" bus, Öl'}, {"image_id": 42, "caption": "a dog"}]


def test_the_three_forms_hold_the_same_captions(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    (tmp_path / "a.jsonl").write_text(f"{lines[0]}\n\n{lines[1]}\n", encoding="utf-8-sig")
    with (tmp_path / "a.CSV").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["caption", "image_id"])
        writer.writeheader()
        writer.writerows(ROWS)
    for name in ("a.json", "a.jsonl", "a.CSV"):
        assert read_candidates(tmp_path / name) == [("139", 'a "red" bus, Öl'), ("42", "a dog")], name


def test_ids_are_numbers_or_texts_under_any_of_their_names(tmp_path: Path) -> None:
    keys = ({"image_id": "139", "id": 7}, {"id": 5}, {"image": "x/a.jpg"}, {"filename": "b.jpg"}, {"file": "c.jpg"})
    (tmp_path / "a.json").write_text(json.dumps([{**key, "caption": "a dog"} for key in keys]))
    assert [key for key, _ in read_candidates(tmp_path / "a.json")] == ["139", "5", "x/a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("form", [CaptionFormat.jsonl, CaptionFormat.csv, CaptionFormat.coco])
def test_what_coca_caption_wrote_is_matched_by_the_files_names(tmp_path: Path, form: CaptionFormat) -> None:
    names = ("elsewhere/COCO_val2014_000000391895.jpg", "000000000139.jpg")
    files = [CaptionedFile(name, [ScoredText(f"of {number}", -1.0)]) for number, name in enumerate(names)]
    path = tmp_path / f"mine.{'json' if form is CaptionFormat.coco else form.value}"
    path.write_text("".join(written_as(form, files, scores=True)), encoding="utf-8")
    found = match_candidates(path, read_candidates(path), COCO)
    assert found == {"139": "of 1", "391895": "of 0"}
    assert list(found) == ["139", "391895"]  # in the set's order


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("391895", "391895"),
        ("COCO_val2014_000000391895.jpg", "391895"),
        ("COCO_val2014_000000391895", "391895"),
        ("/other/disk/COCO_val2017_000000391895.jpg", "391895"),
        ("photos/000000391895.png", "391895"),
        ("000000391895.JPG", "391895"),
        ("/data/coco/val2017/000000000139.jpg", "139"),
    ],
)
def test_official_names_of_coco_are_known(key: str, name: str) -> None:
    assert matched(COCO, key) == {name: f"of {key}"}


def test_a_base_name_is_enough_where_one_picture_has_it() -> None:
    assert matched(OWN, "two.jpg", "somewhere/clip7.mp4") == {
        "b/two.jpg": "of two.jpg",
        "clip7": "of somewhere/clip7.mp4",
    }
    assert matched(OWN, "two") == {"b/two.jpg": "of two"}


def test_pictures_of_one_base_name_are_told_apart_by_their_folders() -> None:
    keys = "a/1.jpg", "/data/own/b/1.jpg"
    assert matched(OWN, *keys) == {"a/1.jpg": "of a/1.jpg", "b/1.jpg": "of /data/own/b/1.jpg"}
    for ambiguous in ("1.jpg", "1", "c/1.jpg"):
        with pytest.raises(BadExample, match=f"that are not in this split, such as {ambiguous} "):
            matched(OWN, ambiguous)


def test_an_id_stands_before_another_pictures_file() -> None:
    examples = [Example("2", (Path("1.jpg"),)), Example("1", (Path("2.jpg"),))]
    assert matched(examples, "1", "2") == {"2": "of 2", "1": "of 1"}


def test_two_captions_of_one_picture_are_refused() -> None:
    with pytest.raises(BadExample, match=r"mine.json has two captions for the picture 139: each must have one"):
        matched(COCO, "139", "000000000139.jpg")


def test_captions_of_other_pictures_are_counted_and_some_named() -> None:
    with pytest.raises(BadExample) as refused:
        matched(COCO, "139", "5", "6", "x.jpg", "7")
    assert "mine.json has captions for 4 pictures that are not in this split, such as 5, 6, x.jpg (" in str(
        refused.value
    )
    assert "the split has 139, 391895 ...): give the captions of this split" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", b'[{"image_id": 1, "caption": "a d', "Unterminated string"),
        (
            "a.json",
            b'{"images": [], "annotations": []}',
            '"images" and "annotations": that is a set\'s own captions file',
        ),
        ("a.json", b'{"139": "a dog"}', "a dict where a list should be"),
        ("a.json", b"7", "a int where a list should be"),
        ("a.json", b"[" * 200_000, "recursion"),
        ("a.json", '[{"image_id": 1, "caption": "Öl"}]'.encode("latin-1"), "can't decode byte"),
        ("a.jsonl", b'{"image_id": 1, "caption": "a"}\n{"image_id": 2,\n', "Expecting property name"),
        ("a.jsonl", "Öl".encode("utf-16"), "can't decode byte"),
        ("a.csv", "image_id,caption\n1,Öl\n".encode("latin-1"), "can't decode byte"),
        ("a.csv", b'image_id,caption\n1,"' + b"a" * 200_000 + b'"\n', "field larger than field limit"),
        ("a.txt", b"139\ta dog\n", "Extra data"),
    ],
)
def test_damaged_files_and_other_forms_are_told(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadExample) as refused:
        read_candidates(tmp_path / name)
    message = str(refused.value)
    assert f"{name} holds no captions that can be read (" in message
    assert reason in message
    assert "Give COCO's results JSON, [{" in message


@pytest.mark.parametrize(
    ("name", "content", "number"),
    [
        ("a.json", '[{"image_id": 1, "caption": "a"}, {"caption": "a dog"}]', 2),
        ("a.json", '[{"image_id": 1}]', 1),
        ("a.json", '[{"image_id": 1, "caption": null}]', 1),
        ("a.json", '[{"image_id": 1, "caption": ["a dog"]}]', 1),
        ("a.json", '[{"image_id": 1.5, "caption": "a dog"}]', 1),
        ("a.json", '[{"image_id": true, "caption": "a dog"}]', 1),
        ("a.json", '["a dog"]', 1),
        ("a.jsonl", '"a dog"\n', 1),
        ("a.csv", "image_id,text\n1,a dog\n", 1),
        ("a.csv", "image_id,caption\n1,a dog\n2\n", 2),
    ],
)
def test_rows_without_an_id_or_words_are_told(tmp_path: Path, name: str, content: str, number: int) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadExample, match=rf"caption {number} of .*, without a picture's id or words. Give COCO's"):
        read_candidates(tmp_path / name)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for name in ("none.json", "none.csv"):
        with pytest.raises(MissingFile, match=f"cannot read the captions .*{name}: No such file or directory; check"):
            read_candidates(tmp_path / name)
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(MissingFile, match="Is a directory; check the path"):
        read_candidates(tmp_path / "folder.json")


def test_saved_captions_are_cocos_results_and_come_back(tmp_path: Path) -> None:
    odd = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")  # as Python reads such a name from a folder
    captions = {"139": 'a "dog", Öl', "0": "", "0042": "a\u2028b", "x/y.jpg": "日本", "9" * 5000: "many", odd: "coffee"}
    path = tmp_path / "new" / "mine.json"
    save_candidates(path, captions)
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert [row["image_id"] for row in rows] == [139, 0, "0042", "x/y.jpg", "9" * 5000, odd]
    assert "日本" in path.read_text(encoding="utf-8")
    examples = [Example(name, (Path(f"/data/{n}.jpg"),)) for n, name in enumerate(captions)]
    assert match_candidates(path, read_candidates(path), examples) == captions
    save_candidates(path, {})
    assert read_candidates(path) == []
