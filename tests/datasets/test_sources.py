from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coca_cli.datasets import readings as module
from coca_cli.datasets.example import Dataset, Example, Prompts
from coca_cli.datasets.sources import Source, find_source
from coca_cli.datasets.templates import GENERAL_TEMPLATES
from coca_cli.errors import CocaError, MissingFile, UnknownName
from tests.datasets.test_shards import write_shard

SAMPLES = Path(__file__).parents[1] / "samples"
NO_ROOT = Path("nowhere")


def find(path: Path | str) -> Source:
    return find_source(str(path), NO_ROOT)


def ids(source: Source) -> list[str]:
    return [example.id for example in source.read()]


def write(folder: Path, **files: str) -> Path:
    """Files of a folder by name, where `__` stands for `/` and `_` before the ending for the dot."""
    for name, content in files.items():
        path = folder / ".".join(name.replace("__", "/").rsplit("_", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a dataset in the place of whatever a name finds."""

    def put(splits: tuple[str, ...], examples: list[Example], prompts: Prompts | None = None) -> None:
        def read(root: Path, split: str) -> Iterator[Example]:
            return (Example(f"{split}:{e.id}", e.media, e.label, e.texts) for e in examples)

        dataset = Dataset(
            name="digits",
            task="classification" if prompts else "captions",
            splits=splits,
            source="a test",
            licence="none",
            layout="nothing",
            read=read,
            prompts=None if prompts is None else lambda root: prompts,
        )
        monkeypatch.setattr(module, "find_dataset", lambda name: dataset)

    return put


def test_a_classification_set_gives_labels_of_its_train_split() -> None:
    source = find("digits")

    assert (source.name, source.kind) == ("digits", "labels")
    assert all("{c}" in template for template in source.templates)
    examples = list(source.read())
    assert len(examples) == 1198
    assert {example.texts for example in examples if example.label == 7} == {("seven",)}
    assert len({(example.label, example.texts) for example in examples}) == 10


def test_a_captioned_set_gives_pairs_of_its_train_split() -> None:
    source = find("scenes")

    assert (source.kind, source.templates, source.streams, source.read_stream) == ("pairs", (), (), None)
    first = next(source.read())
    assert first.id == "scene-train-0000"
    assert len(first.texts) == 5


@pytest.mark.parametrize(
    ("splits", "taken"), [(("test", "train"), "train"), (("val", "Training"), "Training"), (("test",), "test")]
)
def test_the_split_for_training_is_taken(stand_in: Any, splits: tuple[str, ...], taken: str) -> None:
    stand_in(splits, [Example("a", (), texts=("a cat",))])

    assert ids(find("digits")) == [f"{taken}:a"]


def test_without_a_split_for_training_nothing_is_taken(stand_in: Any) -> None:
    stand_in(("test", "val"), [Example("a", (), texts=("a cat",))])

    with pytest.raises(CocaError, match="has the splits test, val and none named train, so it is not trained on"):
        find("digits")


def test_pairs_come_before_labels_and_drop_what_has_no_caption(stand_in: Any) -> None:
    examples = [Example("a", (), label=0), Example("b", (), label=1, texts=("a cat",))]
    stand_in(("train",), examples, Prompts(("x", "y"), ("{c}",)))

    source = find("digits")

    assert (source.kind, ids(source)) == ("pairs", ["train:b"])


def test_labels_drop_what_has_no_class(stand_in: Any) -> None:
    stand_in(("train",), [Example("a", ()), Example("b", (), label=1)], Prompts(("x", "y"), ("{c}!",)))

    source = find("digits")

    assert (source.kind, source.templates) == ("labels", ("{c}!",))
    assert list(source.read()) == [Example("train:b", (), label=1, texts=("y",))]


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "its split train has no pictures; check where it lies"),
        ([Example("a", ())], "the first 1 pictures of its split train have no captions and no class names"),
    ],
)
def test_a_set_with_neither_is_refused(stand_in: Any, examples: list[Example], message: str) -> None:
    stand_in(("train",), examples, Prompts(("x", "y"), ("{c}!",)))

    with pytest.raises(MissingFile) as error:
        find("digits")
    assert str(error.value).startswith("nothing to train on in digits: ")
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv", "pairs.jsonl"])
def test_a_table(name: str) -> None:
    source = find(SAMPLES / "pairs" / name)

    assert source.kind == "pairs"
    assert ids(source) == ["pictures/red.jpg", "pictures/blue.jpg", "pictures/green.jpg"]


def test_a_table_drops_pictures_without_a_caption(tmp_path: Path) -> None:
    write(tmp_path, a_csv="image,caption\n0.jpg,\n1.jpg,a cat\n", **{"1_jpg": ""})

    assert ids(find(tmp_path / "a.csv")) == ["1.jpg"]


def test_a_table_whose_pictures_are_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, a_csv="image,caption\n0.jpg,a cat\n1.jpg,a dog\n")

    with pytest.raises(MissingFile, match="none of the first 2 pictures that ") as error:
        find(tmp_path / "a.csv")
    assert f"names is there, such as {tmp_path / '0.jpg'}: paths count from the table's folder" in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,caption\n", "the table has no pictures; check where it lies"),
        ("image,caption\n0.jpg,\n", "the first 1 pictures of the table have no captions"),
        ("image,label\n0.jpg,\n", "the first 1 pictures of the table have no class names"),
    ],
)
def test_a_table_without_texts(tmp_path: Path, content: str, message: str) -> None:
    write(tmp_path, a_csv=content, **{"0_jpg": ""})

    with pytest.raises(MissingFile, match=message):
        find(tmp_path / "a.csv")


def test_labelled_shards() -> None:
    source = find(SAMPLES / "wds")

    assert (source.kind, source.templates[0]) == ("labels", "a drawing of a {c}.")
    assert [(example.id, example.label, example.texts) for example in source.read()] == [
        ("train/0.tar:s0", 0, ("circle",)),
        ("train/0.tar:s1", 1, ("square",)),
    ]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        record = json.dumps({"class": "cat", "caption": f"a cat to {split}"})
        write_shard(tmp_path / f"{split}-0.tar", [("0.jpg", b"x"), ("0.json", record), ("1.jpg", b"y")])
    return tmp_path


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("", ["train-0.tar:0"]),
        ("*.tar", ["train-0.tar:0"]),
        ("{train,val}-{0..0}.tar", ["train-0.tar:0"]),
        ("train-0.tar", ["train-0.tar:0"]),
        ("val-*.tar", ["val-0.tar:0"]),
    ],
)
def test_captioned_shards_give_pairs_of_the_train_split(shards: Path, part: str, expected: list[str]) -> None:
    source = find(shards / part)

    assert source.kind == "pairs"
    assert ids(source) == expected


@pytest.mark.parametrize(
    ("word", "kind", "texts"),
    [
        ("", "pairs", "a cat to train"),
        ("pairs:", "pairs", "a cat to train"),
        ("labels:", "labels", "cat"),
        ("labels:wds:", "labels", "cat"),
    ],
)
def test_a_word_before_shards_chooses_what_is_read(shards: Path, word: str, kind: str, texts: str) -> None:
    source = find(f"{word}{shards}")

    assert (source.name, source.kind) == (f"{word}{shards}", kind)
    assert [(e.id, e.texts) for e in source.read()] == [("train-0.tar:0", (texts,))]
    assert bool(source.templates) == (kind == "labels")


def test_several_classes_of_a_picture(tmp_path: Path) -> None:
    members = [("0.jpg", b"x"), ("0.json", '{"labels": ["cat", "dog"]}'), ("1.jpg", b"x"), ("1.json", '{"labels": []}')]
    write_shard(tmp_path / "0.tar", members)

    source = find(tmp_path)

    assert (source.kind, source.templates) == ("labels", GENERAL_TEMPLATES)
    assert [(e.id, e.label, e.texts) for e in source.read()] == [("0.tar:0", None, ("cat", "dog"))]


def test_a_word_before_a_folder_chooses_what_is_read(tmp_path: Path) -> None:
    write(tmp_path, cat__a_jpg="", cat__a_txt="a tabby", dog__b_png="")

    assert [e.texts for e in find(tmp_path).read()] == [("a tabby",)]
    assert [(e.label, e.texts) for e in find(f"labels:{tmp_path}").read()] == [(0, ("cat",)), (1, ("dog",))]


def test_a_folder_of_pairs_needs_no_split_for_classes(tmp_path: Path) -> None:
    write(tmp_path, test__cat__a_jpg="", test__cat__a_txt="a tabby", val__cat__b_jpg="", val__cat__b_txt="a cat")

    assert find(tmp_path).kind == "pairs"
    with pytest.raises(MissingFile, match="asks for class names, but the folder has captions alone"):
        find(f"labels:{tmp_path}")


def test_a_folder_of_classes_without_a_split_for_training(tmp_path: Path) -> None:
    write(tmp_path, test__cat__a_jpg="", val__cat__b_jpg="")

    with pytest.raises(CocaError, match="has the splits test, val and none named train"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels:scenes", "asks for class names, but its split train has captions alone: write pairs: instead"),
        ("pairs:digits", "asks for captions, but its split train has class names alone: write labels: instead"),
        (f"labels:{SAMPLES / 'pairs' / 'pairs.csv'}", "asks for class names, but the table has captions alone"),
        (f"pairs:{SAMPLES / 'folder'}", "asks for captions, but the folder has class names alone"),
        (f"pairs:{SAMPLES / 'wds'}", "asks for captions, but its split train has class names alone"),
    ],
)
def test_the_kind_that_is_asked_for_is_not_there(text: str, message: str) -> None:
    with pytest.raises(MissingFile) as error:
        find(text)
    assert str(error.value).startswith(text)
    assert message in str(error.value)


def test_neither_kind_is_there(stand_in: Any) -> None:
    stand_in(("train",), [Example("a", ())], Prompts(("x", "y"), ("{c}!",)))

    with pytest.raises(MissingFile, match="of its split train have no class names; check where it lies and how its"):
        find("labels:digits")


@pytest.mark.parametrize("word", ["pairs", "labels"])
def test_a_word_alone_names_no_data(word: str) -> None:
    with pytest.raises(
        CocaError, match=f"{word}: names no data: write what to read behind the colon, such as {word}:F"
    ):
        find(f"{word}:")


def test_labels_in_a_table(tmp_path: Path) -> None:
    write(tmp_path, a_csv="image,class,class\n0.jpg,cat,\n1.jpg,cat,dog\n2.jpg,,\n", **{"1_jpg": ""})

    source = find(tmp_path / "a.csv")

    assert (source.kind, source.templates) == ("labels", GENERAL_TEMPLATES)
    assert [(e.id, e.label, e.texts) for e in source.read()] == [
        ("0.jpg", None, ("cat",)),
        ("1.jpg", None, ("cat", "dog")),
    ]


def test_a_table_with_neither_captions_nor_labels(tmp_path: Path) -> None:
    write(tmp_path, a_csv="image,width\n0.jpg,3\n", **{"0_jpg": ""})

    with pytest.raises(CocaError, match="has a column of pictures, image, but none of captions ") as error:
        find(tmp_path / "a.csv")
    assert "or class names (label, labels, class): rename the one that has them" in str(error.value)


def test_shards_by_the_scheme(shards: Path) -> None:
    assert ids(find(f"wds:{shards}")) == ["train-0.tar:0"]


def test_shards_without_class_names_say_what_is_missing(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), ("0.cls", "0")])

    with pytest.raises(MissingFile, match="is missing or empty, and no KEY"):
        find(tmp_path)


def test_a_folder_of_pairs() -> None:
    source = find(SAMPLES / "pairs" / "folder")

    assert source.kind == "pairs"
    assert ids(source) == ["round/red.jpg", "square/blue.png"]


def test_a_folder_of_pairs_with_splits_gives_the_one_for_training(tmp_path: Path) -> None:
    files = {f"{split}__a_{ending}": "a cat" for split in ("train", "val") for ending in ("jpg", "txt")}
    write(tmp_path, **files)

    assert ids(find(tmp_path)) == ["a.jpg"]
    assert next(find(tmp_path).read()).media == (tmp_path / "train" / "a.jpg",)


def test_a_folder_called_train_among_others_is_no_split(tmp_path: Path) -> None:
    write(tmp_path, **{f"{name}__a_{ending}": "text" for name in ("train", "car") for ending in ("jpg", "txt")})

    assert ids(find(tmp_path)) == ["car/a.jpg", "train/a.jpg"]


def test_a_folder_whose_texts_are_empty(tmp_path: Path) -> None:
    write(tmp_path, a_jpg="", a_txt="\n")

    with pytest.raises(MissingFile, match="the first 1 pictures of the folder have no captions"):
        find(tmp_path)


def test_a_folder_per_class(tmp_path: Path) -> None:
    write(tmp_path, cat__a_jpg="", dog__b_png="")

    source = find(tmp_path)

    assert source.kind == "labels"
    assert [(example.id, example.label, example.texts) for example in source.read()] == [
        ("cat/a.jpg", 0, ("cat",)),
        ("dog/b.png", 1, ("dog",)),
    ]


def test_a_folder_with_pictures_and_nothing_said_of_them(tmp_path: Path) -> None:
    write(tmp_path, a_jpg="")

    with pytest.raises(MissingFile, match="has pictures, but neither captions beside them nor one folder per class"):
        find(tmp_path)


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    write(tmp_path, a_txt="a cat")

    with pytest.raises(MissingFile, match="no pictures in the folder ") as error:
        find(tmp_path)
    assert "or below it; training reads" in str(error.value)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    write(tmp_path, a_xlsx="")

    with pytest.raises(MissingFile, match="is no training data; training reads\n  a dataset"):
        find(tmp_path / "a.xlsx")


@pytest.mark.parametrize("text", ["pairs/train.csv", "train.jsonl", "~/pictures"])
def test_a_path_that_is_not_there(text: str) -> None:
    with pytest.raises(MissingFile, match="there is no ") as error:
        find(text)
    assert "a folder with one folder of pictures per class" in str(error.value)
    assert "pairs: or labels: before any of them" in str(error.value)


def test_a_name_that_is_not_known() -> None:
    with pytest.raises(UnknownName) as error:
        find("scense")
    message = str(error.value)
    assert message.startswith("unknown training data 'scense'. Did you mean scenes? Known: ")
    assert "wds:PATH" in message
    assert "Or a path: training reads" in message


def test_a_shard_that_is_not_there() -> None:
    with pytest.raises(
        MissingFile, match=r"no such tar shard: train-0001\.tar .*; look for a typing error in the path"
    ):
        find("train-{0001..0003}.tar")


@pytest.mark.parametrize(
    "text",
    ["scenes", "digits", str(SAMPLES / "pairs" / "pairs.csv"), str(SAMPLES / "wds"), f"labels:{SAMPLES / 'folder'}"],
)
def test_a_source_can_be_sent_to_a_worker_process(text: str) -> None:
    source = find(text)

    assert next(pickle.loads(pickle.dumps(source)).read()).id == next(source.read()).id


def test_real_shards_give_the_train_pairs_alone(test_data: Path) -> None:
    source = find(test_data / "rsicd")

    assert source.kind == "pairs"
    found = ids(source)
    assert len(found) == 8734
    assert all(name.startswith("train-") for name in found)


def test_real_shards_with_captions_and_classes_give_either(test_data: Path) -> None:
    labels = find(f"labels:{test_data / 'rsicd'}")

    examples = list(labels.read())
    assert (labels.kind, len({example.label for example in examples})) == ("labels", 30)
    assert 4000 < len(examples) < 8734  # only some have a class
    assert {e.texts for e in examples if "train-0000.tar:pond" in e.id} == {("pond",)}


def test_real_pictures_give_labels(test_data: Path) -> None:
    source = find(test_data / "wds_cifar10")

    assert source.kind == "labels"
    examples = list(source.read())
    assert len(examples) == 5000
    assert len({(example.label, example.texts) for example in examples}) == 10


def test_clips_are_not_trained_on(tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    table.write_text("video,caption\na.mp4,one\n")
    with pytest.raises(CocaError, match="holds clips, and a CoCa is trained on pictures"):
        find_source(f"videos:{table}", tmp_path)
