from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from coca_cli.datasets import find_dataset
from coca_cli.datasets.example import Dataset, Protocol
from coca_cli.datasets.karpathy import COCO, FLICKR8K, FLICKR30K
from coca_cli.datasets.picture_sets import find_picture_sets
from coca_cli.datasets.sources import find_source
from coca_cli.errors import BadExample, MissingFile, UnknownName
from tests.datasets.make_samples import SAMPLES

SAMPLE = SAMPLES / "coco"
TEST = ["391895", "184613"]
"""The ids of the sample's test split, in the order of Karpathy's file."""


def ids(dataset: Dataset, root: Path, split: str) -> list[str]:
    return [example.id for example in dataset.read(root, split)]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sample, at a data root where it may be changed."""
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def official(copy: Path) -> Path:
    """The sample with COCO's own captions of its val2014 instead of Karpathy's file."""
    whole = json.loads((copy / "coco/dataset_coco.json").read_text())
    pictures = [image for image in whole["images"] if image["filepath"] == "val2014"]
    content = {
        "images": [{"id": image["cocoid"], "file_name": image["filename"]} for image in reversed(pictures)],
        "annotations": [
            {"id": sentence["sentid"], "image_id": image["cocoid"], "caption": sentence["raw"]}
            for image in pictures
            for sentence in image["sentences"]
        ],
    }
    (copy / "coco/dataset_coco.json").unlink()
    (copy / "coco/annotations").mkdir()
    (copy / "coco/annotations/captions_val2014.json").write_text(json.dumps(content))
    return copy


def write_list(root: Path, content: str | bytes, split: str = "test") -> Path:
    file = root / "coco/annotations" / f"karpathy_{split}_ids.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_coco_in_the_order_of_the_file() -> None:
    assert ids(COCO, SAMPLE, "test") == TEST
    assert ids(COCO, SAMPLE, "val") == ["522418"]

    (first, _) = COCO.read(SAMPLE, "test")
    assert first.media == (SAMPLE / "coco/val2014/COCO_val2014_000000391895.jpg",)
    assert first.texts == ("A drawn picture for test, number 0.", "colours in a square , number 0 .")


def test_what_karpathy_calls_restval_is_for_training() -> None:
    assert ids(COCO, SAMPLE, "train") == ["57870", "60623"]
    assert [example.id for example in find_source("coco", SAMPLE).read()] == ["57870", "60623"]


def test_duplicates_are_looked_for_in_the_test_split() -> None:
    (found,) = find_picture_sets("coco", SAMPLE)
    assert (found.name, [example.id for example in found.read()]) == ("coco test", TEST)


def test_the_protocols_of_the_papers() -> None:
    assert COCO.protocols == (Protocol("5k", "test"), Protocol("1k", "test", folds=5))
    assert FLICKR30K.protocols == FLICKR8K.protocols == (Protocol("1k", "test"),)


@pytest.mark.parametrize("dataset", [FLICKR30K, FLICKR8K], ids=lambda dataset: dataset.name)
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_flickr(dataset: Dataset, split: str) -> None:
    (example,) = dataset.read(SAMPLES / dataset.name, split)
    (picture,) = example.media
    assert isinstance(picture, Path)
    assert picture.is_file()
    assert f"for {split}," in example.texts[0]


@pytest.mark.parametrize("folder", ["coco", "COCO", "mscoco", "MSCOCO"])
def test_names_of_the_folder(copy: Path, folder: str) -> None:
    (copy / "coco").rename(copy / folder)
    assert ids(COCO, copy, "test") == TEST


def test_the_data_root_may_be_the_folder_itself(copy: Path) -> None:
    assert ids(COCO, copy / "coco", "test") == TEST


def test_the_file_may_lie_among_annotations(copy: Path) -> None:
    (copy / "coco/annotations").mkdir()
    (copy / "coco/dataset_coco.json").rename(copy / "coco/annotations/dataset_coco.json")
    assert ids(COCO, copy, "test") == TEST


def test_a_missing_picture_is_yielded_where_it_should_be(copy: Path) -> None:
    gone = copy / "coco/val2014/COCO_val2014_000000184613.jpg"
    gone.unlink()
    assert [example.media for example in COCO.read(copy, "test")][1] == (gone,)


def test_windows_line_ends_and_a_byte_order_mark(copy: Path) -> None:
    file = copy / "coco/dataset_coco.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert ids(COCO, copy, "test") == TEST


def change(root: Path, number: int, **fields: Any) -> None:
    file = root / "coco/dataset_coco.json"
    content = json.loads(file.read_text())
    content["images"][number] |= fields
    file.write_text(json.dumps(content))


def test_empty_captions_do_not_count(copy: Path) -> None:
    change(copy, 0, sentences=[{"raw": " \n"}, {"raw": " a cat \n"}, {"raw": ""}])
    assert next(COCO.read(copy, "test")).texts == ("a cat",)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sentences": [{"raw": None}]}, "its 'raw' is 'None', a NoneType"),
        ({"cocoid": 184613}, "lists the picture 184613 twice"),
    ],
)
def test_broken_records_are_refused(copy: Path, fields: dict[str, Any], message: str) -> None:
    change(copy, 0, **fields)
    with pytest.raises(BadExample, match=message):
        ids(COCO, copy, "test")


@pytest.mark.parametrize(
    "content",
    [
        "391895\n184613\n",
        "\ufeff391895\r\n\r\n 184613",
        "COCO_val2014_000000391895.jpg\nCOCO_val2014_000000184613.jpg\n",
        "val2014/COCO_val2014_000000391895.jpg 391895\nval2014/COCO_val2014_000000184613.jpg 184613\n",
    ],
)
def test_official_captions_with_a_list_keep_the_order_of_the_list(official: Path, content: str) -> None:
    write_list(official, content)
    write_list(official, "522418\n", "val")

    examples = list(COCO.read(official, "test"))

    assert [example.id for example in examples] == TEST
    assert [example.texts for example in examples] == [example.texts for example in COCO.read(SAMPLE, "test")]
    assert [example.media for example in examples] == [
        (official / f"coco/val2014/COCO_val2014_{int(key):012}.jpg",) for key in TEST
    ]
    assert ids(COCO, official, "val") == ["522418"]


def test_the_list_may_lie_outside_annotations(official: Path) -> None:
    write_list(official, "391895\n").rename(official / "coco/karpathy_test_ids.txt")
    assert ids(COCO, official, "test") == ["391895"]


def test_karpathys_own_file_comes_before_a_list(official: Path) -> None:
    write_list(official, "522418\n")
    shutil.copy(SAMPLE / "coco/dataset_coco.json", official / "coco")
    assert ids(COCO, official, "test") == TEST


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("391895\n7\n", "lists 7, which .* does not know: write its pictures' ids, one a line"),
        ("391895\nCOCO_val2014_000000391895.jpg\n", "jpg twice: each counts once, drop one of the lines"),
        (" \n", "is empty: write the ids of pictures into it, one a line"),
        (b"391895\n\xff\n", r"_ids\.txt is not UTF-8 text \(invalid start byte\): save it so"),
    ],
)
def test_lists_that_are_refused(official: Path, content: str | bytes, message: str) -> None:
    file = write_list(official, content)
    with pytest.raises(BadExample, match=message) as error:
        ids(COCO, official, "test")
    assert str(file) in str(error.value)


def test_a_list_that_cannot_be_read(official: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = write_list(official, "391895\n")
    listed.unlink()
    listed.mkdir()
    monkeypatch.setattr(Path, "is_file", lambda path: path.exists())  # as where the user may not open it
    with pytest.raises(MissingFile, match=r"cannot read the list of pictures .*: Is a directory; check the path"):
        ids(COCO, official, "test")


@pytest.mark.parametrize(
    ("split", "needed"),
    [("test", "neither dataset_coco.json nor karpathy_test_ids.txt"), ("train", "no dataset_coco.json")],
)
def test_official_captions_alone_do_not_know_the_splits(official: Path, split: str, needed: str) -> None:
    with pytest.raises(MissingFile, match=f"has {needed}, which says what the split {split} is. Expected below"):
        ids(COCO, official, split)


def test_a_folder_without_the_file(copy: Path) -> None:
    (copy / "coco/dataset_coco.json").unlink()
    with pytest.raises(MissingFile, match=r"coco has no dataset_coco\.json\. Expected below the data root"):
        ids(COCO, copy, "test")


def test_the_official_file_stands_in_for_coco_alone(official: Path) -> None:
    (official / "coco").rename(official / "flickr30k")
    with pytest.raises(MissingFile, match=r"flickr30k has no dataset_flickr30k\.json"):
        ids(FLICKR30K, official, "test")


def test_unknown_split() -> None:
    with pytest.raises(UnknownName, match="unknown split of coco 'restval'"):
        ids(COCO, SAMPLE, "restval")


def test_real_flickr8k(test_data: Path) -> None:
    splits = {split: list(FLICKR8K.read(test_data, split)) for split in ("train", "val")}

    assert {split: len(examples) for split, examples in splits.items()} == {"train": 753, "val": 113}
    for examples in splits.values():
        assert Counter(len(example.texts) for example in examples) == {5: len(examples)}
        assert all(isinstance(e.media[0], Path) and e.media[0].is_file() for e in examples)
    with pytest.raises(MissingFile, match="has the splits train, val and none named test"):
        ids(FLICKR8K, test_data, "test")


def test_real_captions_of_coco_with_a_list(test_data: Path, tmp_path: Path) -> None:
    file = test_data / "coco_captions/captions_val2017.json"
    names = {str(image["id"]): image["file_name"] for image in json.loads(file.read_text())["images"]}
    listed = sorted(names)[::50]
    for folder in ("annotations", "val2017"):
        (tmp_path / "coco" / folder).mkdir(parents=True)
    shutil.copy(file, tmp_path / "coco/annotations/captions_val2014.json")
    (tmp_path / "coco/val2017" / names[listed[0]]).touch()
    write_list(tmp_path, "\n".join(listed))

    examples = list(find_dataset("coco").read(tmp_path, "test"))

    assert [example.id for example in examples] == listed
    assert len(listed) == 100
    assert all(len(example.texts) >= 5 for example in examples)
    assert [e.media for e in examples] == [(tmp_path / "coco/val2017" / names[key],) for key in listed]
