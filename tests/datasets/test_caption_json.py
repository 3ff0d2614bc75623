from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from coca_cli.datasets.caption_json import (
    TRAIN_SPLITS,
    CaptionRecord,
    find_pictures,
    read_caption_json,
    read_captioned,
)
from coca_cli.datasets.sources import find_source
from coca_cli.errors import BadExample, MissingFile

NO_ROOT = Path("nowhere")


def coco(*pictures: tuple[Any, str], captions: list[tuple[Any, str]] | None = None) -> dict[str, Any]:
    captions = [(key, f"about {key}") for key, _ in pictures] if captions is None else captions
    return {
        "info": {},
        "images": [{"id": key, "file_name": name} for key, name in pictures],
        "annotations": [{"id": 9, "image_id": key, "caption": caption} for key, caption in captions],
    }


def karpathy(*pictures: tuple[str, str], **more: Any) -> dict[str, Any]:
    sentences = [{"raw": "one . ", "tokens": ["one"], "sentid": 0}, {"raw": " "}, {"raw": "two"}]
    return {
        "dataset": "flickr8k",
        "images": [{"filename": name, "split": split, "sentences": sentences, **more} for name, split in pictures],
    }


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def put(*paths: Path) -> None:
    for path in paths:
        write(path, "")


def test_the_captions_of_coco(tmp_path: Path) -> None:
    captions = [(7, "a dog"), (3, " a cat\n"), (7, "two dogs"), (3, " ")]
    file = write(tmp_path / "captions.json", coco((3, "3.jpg"), (7, "7.jpg"), (8, "8.jpg"), captions=captions))

    assert read_caption_json(file) == [
        CaptionRecord("3", "3.jpg", ("a cat",)),
        CaptionRecord("7", "7.jpg", ("a dog", "two dogs")),
        CaptionRecord("8", "8.jpg", ()),
    ]


@pytest.mark.parametrize("more", [{}, {"annotations": []}])
def test_pictures_whose_captions_are_kept_back(tmp_path: Path, more: dict[str, Any]) -> None:
    """Files such as COCO's own image_info_test2014.json list the pictures alone."""
    pictures = [
        {"id": 300_100, "file_name": "COCO_test2014_000000300100.jpg", "width": 640, "license": 1},
        {"id": 7, "file_name": "7.jpg", "coco_url": "http://images.cocodataset.org/test2015/7.jpg"},
    ]
    file = write(tmp_path / "image_info.json", {"images": pictures, "categories": []} | more)
    put(tmp_path / "test2014" / "COCO_test2014_000000300100.jpg", tmp_path / "test2015" / "7.jpg")

    assert read_caption_json(file) == [
        CaptionRecord("300100", "COCO_test2014_000000300100.jpg", (), folder="test2014"),
        CaptionRecord("7", "7.jpg", (), folder="test2015"),
    ]
    assert [(example.media, example.texts) for example in read_captioned(file)] == [
        ((tmp_path / "test2014" / "COCO_test2014_000000300100.jpg",), ()),
        ((tmp_path / "test2015" / "7.jpg",), ()),
    ]


def test_the_captions_of_karpathy(tmp_path: Path) -> None:
    file = write(tmp_path / "dataset.json", karpathy(("a.jpg", "train"), ("b.jpg", "test")))

    assert read_caption_json(file) == [
        CaptionRecord("a.jpg", "a.jpg", ("one .", "two"), "train"),
        CaptionRecord("b.jpg", "b.jpg", ("one .", "two"), "test"),
    ]


@pytest.mark.parametrize(
    ("more", "id"), [({"cocoid": 42, "imgid": 1}, "42"), ({"imgid": 1}, "1"), ({"cocoid": "x"}, "a.jpg")]
)
def test_a_picture_is_known_by_its_number_in_coco(tmp_path: Path, more: dict[str, Any], id: str) -> None:
    file = write(tmp_path / "dataset.json", karpathy(("a.jpg", "train"), filepath="val2014", **more))

    assert [(record.id, record.folder) for record in read_caption_json(file)] == [(id, "val2014")]


def test_the_splits_are_chosen(tmp_path: Path) -> None:
    names = {"a.jpg": "train", "b.jpg": "restval", "c.jpg": "val", "d.jpg": "test"}
    file = write(tmp_path / "dataset.json", karpathy(*names.items()))
    put(*(tmp_path / name for name in names))

    assert [example.id for example in read_captioned(file)] == list(names)
    assert [example.id for example in read_captioned(file, ("val",))] == ["c.jpg"]
    assert [example.id for example in read_captioned(file, TRAIN_SPLITS)] == ["a.jpg", "b.jpg"]
    source = find_source(str(file), NO_ROOT)
    assert (source.kind, [example.id for example in source.read()]) == ("pairs", ["a.jpg", "b.jpg"])


def test_training_takes_all_of_a_file_without_splits_but_pictures_without_captions(tmp_path: Path) -> None:
    file = write(tmp_path / "captions.json", coco((1, "1.jpg"), (2, "2.jpg"), captions=[(1, "a cat")]))
    put(tmp_path / "1.jpg")

    (example,) = find_source(str(file), NO_ROOT).read()

    assert (example.id, example.media, example.texts) == ("1", (tmp_path / "1.jpg",), ("a cat",))


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    file = write(tmp_path / "dataset.json", karpathy(("a.jpg", "val"), ("b.jpg", "test")))

    with pytest.raises(
        MissingFile, match="has the splits val, test and none named train or restval: give the file with"
    ):
        find_source(str(file), NO_ROOT)
    with pytest.raises(MissingFile, match="has no pictures and nothing to read"):
        list(read_captioned(write(tmp_path / "none.json", coco())))


@pytest.mark.parametrize(
    ("file", "name", "place"),
    [
        ("captions.json", "1.jpg", "1.jpg"),
        ("captions.json", "1.jpg", "images/1.jpg"),
        ("captions_val2017.json", "1.jpg", "val2017/1.jpg"),
        ("captions_val2017.json", "1.jpg", "images/val2017/1.jpg"),
        ("annotations/captions_val2017.json", "1.jpg", "val2017/1.jpg"),
        ("annotations/captions_val2017.json", "1.jpg", "images/1.jpg"),
        ("annotations/captions.json", "COCO_train2014_000000000001.jpg", "train2014/COCO_train2014_000000000001.jpg"),
        ("captions.json", "deep/1.jpg", "images/deep/1.jpg"),
        ("dataset.json", "1.jpg", "flickr30k-images/1.jpg"),
        ("dataset.json", "1.jpg", "Flicker8k_Dataset/1.jpg"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_places_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, name: str, place: str, inside: bool
) -> None:
    path = write(tmp_path / file, coco((1, name)))
    put(tmp_path / place)
    if inside:  # a bare file name has no folder above it in its path
        monkeypatch.chdir(path.parent)
        path = Path(path.name)

    (found,) = find_pictures(path, read_caption_json(path))

    assert found.resolve() == (tmp_path / place).resolve()


def test_the_folder_that_the_file_names_comes_first(tmp_path: Path) -> None:
    pictures = karpathy(("1.jpg", "train"), ("2.jpg", "train"))
    pictures["images"][0] |= {"filepath": "train2014"}
    pictures["images"][1] |= {"filepath": "val2014"}
    file = write(tmp_path / "dataset.json", pictures)
    put(*(tmp_path / folder / name for folder in ("train2014", "val2014", "images") for name in ("1.jpg", "2.jpg")))

    found = find_pictures(file, read_caption_json(file))

    assert found == [tmp_path / "train2014" / "1.jpg", tmp_path / "val2014" / "2.jpg"]


def test_the_address_of_a_picture_names_a_folder_too(tmp_path: Path) -> None:
    content = coco((1, "1.jpg"))
    content["images"][0]["coco_url"] = "http://images.cocodataset.org/val2017/1.jpg"
    file = write(tmp_path / "a.json", content)
    put(tmp_path / "val2017" / "1.jpg")

    assert find_pictures(file, read_caption_json(file)) == [tmp_path / "val2017" / "1.jpg"]


def test_some_missing_pictures_are_left_to_the_reader(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", coco((1, "1.jpg"), (2, "2.jpg")))
    put(tmp_path / "images" / "1.jpg")

    assert find_pictures(file, read_caption_json(file)) == [tmp_path / "images" / name for name in ("1.jpg", "2.jpg")]


def test_no_picture_says_where_it_looked(tmp_path: Path) -> None:
    file = write(tmp_path / "set" / "annotations" / "captions_val2017.json", coco((1, "1.jpg"), (2, "2.jpg")))
    (tmp_path / "set" / "val2017").mkdir()

    with pytest.raises(MissingFile, match=r"none of the 2 pictures that .* names is there, such as") as error:
        find_source(str(file), NO_ROOT)
    message = str(error.value)
    places = message.partition("looked in ")[2].partition(". Put them into one of these folders")[0].split(", ")
    assert places == [str(tmp_path / "set" / below) for below in ("annotations", "", "val2017")]
    assert message.endswith(f"or into {file.parent / 'images'}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON in UTF-8 ("),
        ("[" * 100_000, "is not valid JSON in UTF-8 ("),
        ([{"image": "1.jpg", "caption": "a"}], "holds a list or a value, not the captions of COCO or Karpathy"),
        ({"data": [], "version": 1}, "holds an object with data, version, not the captions"),
        ({"images": {}}, "into a .jsonl table. Expected:"),
        ({}, "holds an object with no keys, not the captions"),
        (coco((1, "a"), (1, "b")), "lists the picture 1 twice: each must be listed once"),
        (coco((1, "a"), ("1", "b")), "lists the picture 1 twice"),
        (coco((1, "a"), captions=[(2, "b")]), "annotations[0] is about the picture 2, which is not among the images"),
        (coco((1, "a")) | {"annotations": {"x": 1}}, "its annotations are no list, but \"{'x': 1}\""),
        (coco((None, "a")), "images[0]: its 'id' is 'None', a NoneType: fetch the file again"),
        (coco((True, "a")), "images[0]: its 'id' is 'True', a bool"),
        (coco((1, "a"), captions=[(1, 5)]), "annotations[0]: its 'caption' is '5', a int"),  # type: ignore[list-item]
        (
            {"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "bbox": []}]},
            "annotations[0] has no 'caption' (only image_id, bbox): give the captions of COCO or Karpathy",
        ),
        ({"images": ["a.jpg"], "annotations": []}, "images[0] has no 'id' ('a.jpg')"),
        ({"images": [{"file_name": "a"}]}, "images[0] has no 'filename' (only file_name)"),
        (
            {"images": [{"id": 1, "file_name": "a"}, {"id": 2}]},
            "images[1] has no 'file_name' (only id): give the captions of COCO or Karpathy",
        ),
        ({"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]}, "lists the picture 1 twice"),
        (karpathy(("a", 3)), "images[0]: its 'split' is '3', a int"),  # type: ignore[arg-type]
        (karpathy(("a", "train"), sentences="one"), "images[0]: its 'sentences' is 'one', a str"),
        (karpathy(("a", "train"), sentences=[{"tokens": []}]), "images[0].sentences has no 'raw' (only tokens)"),
        (karpathy(("a", "train"), ("a", "val")), "lists the picture a twice"),
    ],
)
def test_a_file_of_another_form(tmp_path: Path, content: object, message: str) -> None:
    file = write(tmp_path / "a.json", content)

    with pytest.raises(BadExample) as error:
        read_caption_json(file)
    assert message in str(error.value)
    assert str(file) in str(error.value)


def test_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"images": "na\xefve"}')

    with pytest.raises(BadExample, match="not valid JSON in UTF-8"):
        read_caption_json(tmp_path / "a.json")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"cannot read the caption file .*No such file"):
        read_caption_json(tmp_path / "none.json")


def test_real_captions_of_coco(test_data: Path) -> None:
    examples = list(find_source(str(test_data / "coco_mini" / "captions_val2017.json"), NO_ROOT).read())

    assert len(examples) == 60
    assert all(isinstance(e.media[0], Path) and e.media[0].is_file() and len(e.texts) == 5 for e in examples)
    assert Path(str(examples[0].media[0])).name == f"{int(examples[0].id):012}.jpg"


def test_real_captions_without_pictures(test_data: Path) -> None:
    file = test_data / "coco_captions" / "captions_val2017.json"

    records = read_caption_json(file)

    assert len(records) == 5000
    assert sum(len(record.captions) for record in records) == 25014
    assert {record.folder for record in records} == {"val2017"}
    with pytest.raises(MissingFile, match="none of the 5,000 pictures that "):
        find_pictures(file, records)


def test_real_captions_of_karpathy(test_data: Path) -> None:
    file = test_data / "flickr8k" / "dataset_flickr8k.json"

    assert Counter(record.split for record in read_caption_json(file)) == {"train": 753, "val": 113}
    examples = list(find_source(str(file), NO_ROOT).read())
    assert len(examples) == 753
    assert all(isinstance(e.media[0], Path) and e.media[0].is_file() and len(e.texts) == 5 for e in examples)
