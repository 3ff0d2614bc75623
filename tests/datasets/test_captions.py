from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coca_cli.datasets import find_dataset
from coca_cli.datasets.example import Dataset
from coca_cli.datasets.picture_sets import find_picture_sets
from coca_cli.datasets.sources import find_source
from coca_cli.errors import BadExample, CocaError, MissingFile, UnknownName
from tests.datasets.make_samples import SAMPLES

NO_ROOT = Path("nowhere")


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def texts(dataset: Dataset, split: str | None = None) -> list[tuple[str, tuple[str, ...]]]:
    return [(example.id, example.texts) for example in dataset.read(NO_ROOT, split or dataset.splits[0])]


def places(dataset: Dataset) -> list[object]:
    return [example.media[0] for example in dataset.read(NO_ROOT, dataset.splits[0])]


def karpathy(folder: Path, *splits: str) -> str:
    """A caption file with one picture per split, named after it; what to open it by."""
    pictures = [{"filename": f"{split}.jpg", "split": split, "sentences": [{"raw": split}]} for split in splits]
    put(folder, *(f"{split}.jpg" for split in splits))
    return f"captions:{write(folder / 'own.json', json.dumps({'images': pictures}))}"


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_pictures_of_a_table(suffix: str) -> None:
    found = find_dataset(f"captions:{SAMPLES / 'pairs'}/pairs.{suffix}")

    assert (found.task, found.media, found.splits) == ("captions", "image", ("all",))
    assert texts(found) == [
        ("pictures/red.jpg", ("a red circle", "a round thing, red")),
        ("pictures/blue.jpg", ("a blue square",)),
        ("pictures/green.jpg", ("a green circle",)),
    ]


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    write(tmp_path / "a.csv", "\ufeffimage,caption\r\na.jpg,a cat\r\na.jpg,\r\na.jpg,two cats\r\n")
    assert texts(find_dataset(f"captions:{tmp_path}/a.csv")) == [("a.jpg", ("a cat", "two cats"))]


@pytest.mark.parametrize("place", ["", "images", "Images", "Flicker8k_Dataset", "flickr30k-images"])
def test_pictures_may_lie_in_a_folder_beside_the_table(tmp_path: Path, place: str) -> None:
    put(tmp_path / place, "deep/a.jpg")
    write(tmp_path / "a.csv", "image,caption\ndeep/a.jpg,a cat\nb.jpg,a dog\n")
    # What is nowhere keeps the place that the table gives, for whoever reads it to say that it is missing.
    assert places(find_dataset(f"captions:{tmp_path}/a.csv")) == [tmp_path / place / "deep/a.jpg", tmp_path / "b.jpg"]


def test_absolute_paths(tmp_path: Path) -> None:
    put(tmp_path, "far/a.mp4")
    write(tmp_path / "near/a.csv", f"video,caption\n{tmp_path}/far/a.mp4,a cat\n{tmp_path}/far/b.mp4,a dog\n")
    assert places(find_dataset(f"videos:{tmp_path}/near/a.csv")) == [tmp_path / "far/a.mp4", tmp_path / "far/b.mp4"]


def test_a_caption_file_of_coco_has_one_split(tmp_path: Path) -> None:
    put(tmp_path, "images/1.jpg")
    content = {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1, "caption": "a cat"}]}
    found = find_dataset(f"captions:{write(tmp_path / 'own.json', json.dumps(content))}")
    assert found.splits == ("all",)
    assert texts(found) == [("1", ("a cat",))]


@pytest.mark.parametrize(
    ("present", "splits"),
    [
        (("train", "val", "test"), ("test", "val", "train")),
        (("restval", "test", "train", "val"), ("test", "val", "train")),
        (("train", "dev", "val"), ("val", "dev", "train")),
        (("train", "dev"), ("dev", "train")),
        (("restval",), ("train",)),
    ],
)
def test_the_evaluated_split_comes_first_and_training_last(
    tmp_path: Path, present: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    assert find_dataset(karpathy(tmp_path, *present)).splits == splits


def test_splits_of_karpathys_file(tmp_path: Path) -> None:
    name = karpathy(tmp_path, "train", "restval", "val", "test")
    found = find_dataset(name)

    assert {split: [id for id, _ in texts(found, split)] for split in found.splits} == {
        "test": ["test.jpg"],
        "val": ["val.jpg"],
        "train": ["train.jpg", "restval.jpg"],
    }
    assert [example.id for example in find_source(name, NO_ROOT).read()] == ["train.jpg", "restval.jpg"]
    assert [found.name for found in find_picture_sets(name, NO_ROOT)] == [f"{name} test", f"{name} val"]


@pytest.mark.parametrize("split", ["test", "restval"])
def test_an_unknown_split_is_refused(tmp_path: Path, split: str) -> None:
    table = find_dataset(f"captions:{SAMPLES / 'pairs'}/pairs.csv")
    with pytest.raises(UnknownName, match=r"unknown split of captions:.*pairs\.csv 'test'"):
        texts(table, "test")
    with pytest.raises(UnknownName, match="unknown split of captions:"):
        texts(find_dataset(karpathy(tmp_path, "train", "val")), split)


def test_clips_of_a_table(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", "clips/b.avi", "Videos/c.mp4", "msrvtt/videos/all/d.mp4")
    lines = ("video,caption", "a.mp4,one", "b.avi,two", "a.mp4,three", "c.mp4,four", "d.mp4,five", "e.mp4,six")
    write(tmp_path / "own.csv", "\n".join(lines))

    found = find_dataset(f"videos:{tmp_path}/own.csv")

    assert (found.task, found.media, found.splits) == ("captions", "video", ("all",))
    assert texts(found)[:2] == [("a.mp4", ("one", "three")), ("b.avi", ("two",))]
    expected = ("a.mp4", "clips/b.avi", "Videos/c.mp4", "msrvtt/videos/all/d.mp4", "e.mp4")
    assert places(found) == [tmp_path / name for name in expected]


@pytest.mark.parametrize("column", ["video", "video_path", "clip", "path", "file", "Filename"])
def test_columns_of_clips(tmp_path: Path, column: str) -> None:
    put(tmp_path, "a.mp4")
    write(tmp_path / "own.tsv", f"label\t{column}\tcaption\nx\ta.mp4\tone\n")
    assert texts(find_dataset(f"videos:{tmp_path}/own.tsv")) == [("a.mp4", ("one",))]


def test_clips_come_before_pictures_of_the_same_table(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", "a.jpg")
    write(tmp_path / "own.jsonl", '{"image": "a.jpg", "video": "a.mp4", "captions": ["one", "two"]}\n')
    assert texts(find_dataset(f"videos:{tmp_path}/own.jsonl")) == [("a.mp4", ("one", "two"))]
    assert texts(find_dataset(f"captions:{tmp_path}/own.jsonl")) == [("a.jpg", ("one", "two"))]


def test_a_table_in_parquet(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4")
    pq.write_table(pa.table({"video": ["a.mp4", "a.mp4"], "caption": ["one", "two"]}), tmp_path / "own.parquet")
    assert texts(find_dataset(f"videos:{tmp_path}/own.parquet")) == [("a.mp4", ("one", "two"))]


def test_a_table_of_clips_can_have_splits(tmp_path: Path) -> None:
    put(tmp_path, *(f"{name}.mp4" for name in "abcd"))
    lines = ("video,label,split", "a.mp4,jump,train", "b.mp4,run,test", "c.mp4,run,train", "d.mp4,jump,extra")
    found = find_dataset(f"videos:{write(tmp_path / 'own.csv', chr(10).join(lines))}")
    assert found.splits == ("test", "train", "extra")
    by_split = {split: [(e.id, e.label) for e in found.read(tmp_path, split)] for split in found.splits}
    assert by_split == {"test": [("b.mp4", 1)], "train": [("a.mp4", 0), ("c.mp4", 1)], "extra": [("d.mp4", 0)]}
    assert found.prompts is not None
    assert found.prompts(tmp_path).class_names == ("jump", "run")
    with pytest.raises(UnknownName, match="unknown split"):
        list(found.read(tmp_path, "val"))
    empty = "video,label,split" + chr(10) + "a.mp4,jump," + chr(10) + "b.mp4,run,"
    assert find_dataset(f"videos:{write(tmp_path / 'empty.csv', empty)}").splits == ("all",)
    for lines, words in (("a.mp4,jump,train", "train and test"), ("b.mp4,jump,", "none")):
        text = "video,label,split" + chr(10) + lines + chr(10) + "a.mp4,jump,test"
        with pytest.raises(BadExample, match=f"the splits {words}: give it one"):
            find_dataset(f"videos:{write(tmp_path / 'two.csv', text)}")


def test_a_table_with_the_pictures_in_it_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"jpeg"], "caption": ["one"]}), tmp_path / "own.parquet")
    with pytest.raises(CocaError, match="has its pictures in it, which cannot be read one by one: make shards of it"):
        find_dataset(f"captions:{tmp_path}/own.parquet")


def test_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(SAMPLES / "pairs", tmp_path, dirs_exist_ok=True)
    assert len(texts(find_dataset("captions:~/pairs.csv"))) == 3


@pytest.mark.parametrize("scheme", ["captions", "videos"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no.csv", r"nothing lies at .*no\.csv, not captions that can be read\. Give"),
        ("no.json", r"nothing lies at .*no\.json, not captions"),
        ("own.txt", r"a file of another kind lies at .*own\.txt, not captions"),
    ],
)
def test_what_cannot_be_opened(tmp_path: Path, scheme: str, name: str, message: str) -> None:
    put(tmp_path, "own.txt")
    with pytest.raises(MissingFile, match=message) as error:
        find_dataset(f"{scheme}:{tmp_path / name}")
    assert ("video" if scheme == "videos" else "image") in str(error.value)


def test_a_folder_in_place_of_a_caption_file(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(MissingFile, match=r"a file of another kind lies at .*folder\.csv, not captions"):
        find_dataset(f"captions:{tmp_path}/folder.csv")


@pytest.mark.parametrize(("scheme", "column", "noun"), [("captions", "image", "pictures"), ("videos", "clip", "clips")])
def test_tables_that_name_nothing(tmp_path: Path, scheme: str, column: str, noun: str) -> None:
    found = find_dataset(f"{scheme}:{write(tmp_path / 'own.csv', f'{column},caption')}")
    with pytest.raises(MissingFile, match=rf"has no lines below its header: name {noun} in it\. Give"):
        texts(found)
    write(tmp_path / "own.csv", f"{column},caption\nx/a,one\nb,two\n")
    with pytest.raises(MissingFile, match=rf"none of the 2 {noun} that .*own\.csv names is there, such as x/a\. Give"):
        texts(found)


def test_broken_lines_and_headers_of_clips(tmp_path: Path) -> None:
    with pytest.raises(BadExample, match="line 2: the clip is ' ', not a path: fill it in or drop the line"):
        texts(find_dataset(f"videos:{write(tmp_path / 'a.csv', 'video,caption' + chr(10) + ' ,one')}"))
    with pytest.raises(CocaError, match="found the columns film, caption, but not one of the video columns video, "):
        texts(find_dataset(f"videos:{write(tmp_path / 'b.csv', 'film,caption' + chr(10) + 'a.mp4,one')}"))


def test_real_clips(test_data: Path) -> None:
    found = find_dataset(f"videos:{test_data / 'videos/videos.csv'}")

    examples = list(found.read(NO_ROOT, "all"))

    assert len(examples) == 32
    assert all(isinstance(e.media[0], Path) and e.media[0].is_file() and len(e.texts) == 1 for e in examples)


def test_real_captions_of_coco(test_data: Path) -> None:
    found = find_dataset(f"captions:{test_data / 'coco_mini/captions_val2017.json'}")
    assert (found.splits, len(texts(found))) == (("all",), 60)
    with pytest.raises(MissingFile, match="none of the 5,000 pictures that"):
        texts(find_dataset(f"captions:{test_data / 'coco_captions/captions_val2017.json'}"))


def test_real_captions_of_karpathy(test_data: Path) -> None:
    found = find_dataset(f"captions:{test_data / 'flickr8k/dataset_flickr8k.json'}")
    assert found.splits == ("val", "train")
    assert (len(texts(found, "val")), len(texts(found, "train"))) == (113, 753)
