from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from coca_cli.datasets import find_dataset
from coca_cli.datasets import wds as module
from coca_cli.datasets.example import Dataset, Example, Member, Prompts
from coca_cli.datasets.templates import GENERAL_TEMPLATES
from coca_cli.datasets.wds import find_shards, open_shards, read_captions, read_labels
from coca_cli.errors import BadExample, MissingFile, UnknownName
from tests.datasets.test_shards import write_shard

SAMPLE = Path(__file__).parents[1] / "samples" / "wds"
NO_ROOT = Path("nowhere")


def record(**fields: object) -> str:
    return json.dumps(fields)


def read(path: Path, split: str = "all") -> list[Example]:
    return list(open_shards(str(path)).read(NO_ROOT, split))


def prompts(dataset: Dataset) -> Prompts:
    assert dataset.prompts is not None
    return dataset.prompts(NO_ROOT)


def labels(path: Path, split: str = "all") -> list[int | None]:
    return [example.label for example in read(path, split)]


def splits(path: Path | str) -> dict[str, list[str]]:
    shards = find_shards(str(path))
    return {split: [shard.relative_to(shards.folder).as_posix() for shard in found] for split, found in shards.splits}


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        write_shard(folder / f"{name}.tar", [])
    return folder


def test_the_sample_is_read_like_clip_benchmark_does() -> None:
    dataset = find_dataset(f"wds:{SAMPLE}")

    assert (dataset.name, dataset.task, dataset.splits) == (f"wds:{SAMPLE}", "classification", ("test", "train"))
    assert prompts(dataset) == (("circle", "square"), ("a drawing of a {c}.", "a {c} on white paper."))
    test, train = (list(dataset.read(NO_ROOT, split)) for split in dataset.splits)
    assert [(e.id, e.label) for e in test] == [("test/0.tar:s0", 0), ("test/1.tar:s0", 1)]
    assert [(e.id, e.label) for e in train] == [("train/0.tar:s0", 0), ("train/0.tar:s1", 1)]
    picture = test[1].media[0]
    assert isinstance(picture, Member)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_numbered_shards_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    touch(tmp_path, *(f"test/{number}" for number in range(12)))
    (tmp_path / "test" / "nshards.txt").write_text("11\n")

    assert splits(tmp_path) == {"test": [f"test/{number}.tar" for number in range(11)]}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["b", "a"], {"all": ["a.tar", "b.tar"]}),
        (["shard-9", "shard-10"], {"all": ["shard-9.tar", "shard-10.tar"]}),
        (
            ["train-0000", "val-0000", "train-0001"],
            {"val": ["val-0000.tar"], "train": ["train-0000.tar", "train-0001.tar"]},
        ),
        (
            ["cc3m-train-0", "cc3m-validation-0"],
            {"validation": ["cc3m-validation-0.tar"], "train": ["cc3m-train-0.tar"]},
        ),
        (["train_0", "extra_0", "0"], {"all": ["0.tar"], "extra": ["extra_0.tar"], "train": ["train_0.tar"]}),
        (["test/0", "train/x"], {"test": ["test/0.tar"], "train": ["train/x.tar"]}),
        (["one/0", "two/0"], {"one": ["one/0.tar"], "two": ["two/0.tar"]}),
        (["set/train-0", "set/val-0"], {"val": ["set/val-0.tar"], "train": ["set/train-0.tar"]}),
        (["train/test-0", "train/1"], {"train": ["train/1.tar", "train/test-0.tar"]}),
        (["a/0", ".hidden/0", "a/._0"], {"a": ["a/0.tar"]}),
    ],
)
def test_splits_are_told_by_names(tmp_path: Path, names: list[str], expected: dict[str, list[str]]) -> None:
    found = splits(touch(tmp_path, *names))

    assert found == expected
    assert list(found) == list(expected)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("train-0.tar", {"train": ["train-0.tar"]}),
        ("*.tar", {"val": ["val-0.tar"], "train": ["train-0.tar"]}),
        ("{test,train}/*.tar", {"test": ["test/0.tar"], "train": ["train/0.tar"]}),
        ("test/{0..0}.tar", {"all": ["0.tar"]}),
    ],
)
def test_patterns_have_splits_too(tmp_path: Path, pattern: str, expected: dict[str, list[str]]) -> None:
    touch(tmp_path, "train-0", "val-0", "test/0", "train/0")

    assert splits(tmp_path / pattern) == expected


def test_what_is_evaluated_by_default_comes_first(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}-0" for name in ("train", "validation", "dev", "val", "test", "holdout")))

    assert open_shards(str(tmp_path)).splits == ("test", "val", "validation", "dev", "holdout", "train")


@pytest.mark.parametrize("part", ["test", "test/*.tar", "test/0.tar"])
def test_the_folder_of_one_split_finds_the_class_names_above(part: str) -> None:
    dataset = open_shards(str(SAMPLE / part))

    assert dataset.splits == ("all",)
    assert prompts(dataset).class_names == ("circle", "square")


@pytest.mark.parametrize(
    ("member", "label"),
    [
        (("0.cls", "1"), 1),
        (("0.cls", " 0\n"), 0),
        (("0.json", record(label=1)), 1),
        (("0.json", record(cls=0)), 0),
        (("0.json", record(**{"class": "dog"})), 1),
        (("0.json", record(class_name="cat")), 0),
        (("0.json", record(label=1, class_name="cat")), 1),
        (("0.json", record(label=True)), None),
        (("0.json", record(label=None, caption="a cat")), None),
        (("0.json", "[1, 2]"), None),
        (("0.txt", "a cat"), None),
    ],
)
def test_labels_with_listed_class_names(tmp_path: Path, member: tuple[str, str], label: int | None) -> None:
    (tmp_path / "classnames.txt").write_text("\ufeffcat\r\ndog\n\n", encoding="utf-8")
    write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), member])

    assert labels(tmp_path) == [label]


def test_class_names_are_found_in_the_shards_of_all_splits(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", [("0.jpg", b"x"), ("0.json", record(**{"class": "dog", "label": 0}))])
    write_shard(tmp_path / "train-1.tar", [("0.jpg", b"x"), ("0.json", record(class_name="ant"))])
    write_shard(tmp_path / "val-0.tar", [("0.jpg", b"x"), ("0.json", record(**{"class": "cat"})), ("1.png", b"y")])

    dataset = open_shards(str(tmp_path))

    assert prompts(dataset) == (("ant", "cat", "dog"), GENERAL_TEMPLATES)
    assert labels(tmp_path, "val") == [1, None]
    # The label 0 follows an order that nobody wrote down; the name is what counts.
    assert labels(tmp_path, "train") == [2, 0]


def test_class_names_are_looked_for_once_and_again_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), ("0.json", record(**{"class": "cat"}))])
    dataset = open_shards(str(tmp_path))
    assert prompts(dataset).class_names == ("cat",)
    with monkeypatch.context() as patched:
        patched.setattr(module, "read_shard", None)  # a second look would fail
        assert prompts(dataset).class_names == ("cat",)

    members = [("0.jpg", b"x"), ("0.json", record(**{"class": "dog"})), ("pad.jpg", bytes(20_000))]
    write_shard(tmp_path / "a.tar", members)

    assert prompts(dataset).class_names == ("dog",)


def test_without_classes_nothing_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), ("0.json", record(caption="a cat"))])
    monkeypatch.setattr(module, "_scan_class_names", None)

    assert [example.texts for example in read(tmp_path)] == [("a cat",)]


@pytest.mark.parametrize(
    ("members", "texts"),
    [
        ([("0.txt", " one \n\n two\r\n")], ("one", "two")),
        ([("0.txt", "split\u2028nowhere")], ("split\u2028nowhere",)),
        ([("0.json", record(captions=["a", " ", "b "]))], ("a", "b")),
        ([("0.json", record(caption="a"))], ("a",)),
        ([("0.json", record(captions="a"))], ("a",)),
        ([("0.json", record(captions=["a"], caption="b")), ("0.txt", "c")], ("a",)),
        ([("0.json", record(width=3)), ("0.txt", "c")], ("c",)),
        ([("0.cls", "0")], ()),
    ],
)
def test_captions(tmp_path: Path, members: list[tuple[str, str]], texts: tuple[str, ...]) -> None:
    write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), *members])

    assert [example.texts for example in read(tmp_path)] == [texts]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([("0.json", record(labels=["cat", " dog ", "cat", ""]))], (None, ("cat", "dog"))),
        ([("0.json", record(labels="cat"))], (None, ("cat",))),
        ([("0.json", record(labels=["cat"], **{"class": "cat"}))], (0, ("cat",))),
        ([("0.json", record(labels=["cat", "ant"], label=2))], (2, ("cat", "ant"))),
        ([("0.json", record(**{"class": "dog", "label": 0}))], (1, ("dog",))),
        ([("0.json", record(labels=[], caption="a cat"))], (None, ())),
        ([("0.txt", "a cat")], (None, ())),
    ],
)
def test_all_class_names_of_a_picture(
    tmp_path: Path, members: list[tuple[str, str]], expected: tuple[int | None, tuple[str, ...]]
) -> None:
    others = [
        ("8.jpg", b"x"),
        ("8.json", record(class_name="cat")),
        ("9.jpg", b"x"),
        ("9.json", record(class_name="dog")),
    ]
    if members[0] == ("0.json", record(labels=["cat", "ant"], label=2)):  # a number does not go with unlisted names
        others = []
    write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), *members, *others])

    first = next(iter(read_labels(find_shards(str(tmp_path)), "all")))

    assert (first.label, first.texts) == expected


def test_class_names_by_number_are_the_listed_ones() -> None:
    found = [(example.label, example.texts) for example in read_labels(find_shards(str(SAMPLE)), "test")]

    assert found == [(0, ("circle",)), (1, ("square",))]


def test_a_class_number_is_not_looked_up_in_the_names_of_other_splits(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", [("0.jpg", b"x"), ("0.cls", "0")])
    write_shard(tmp_path / "val-0.tar", [("0.jpg", b"x"), ("0.json", record(class_name="cat"))])

    with pytest.raises(MissingFile, match=r"classnames\.txt is missing or empty"):
        list(read_labels(find_shards(str(tmp_path)), "train"))


def test_labels_that_are_no_texts_are_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), ("0.json", record(labels=[1, 2], caption="a cat"))])
    shards = find_shards(str(tmp_path))

    assert [example.texts for example in read_captions(shards, "all")] == [("a cat",)]
    with pytest.raises(BadExample, match=r"the labels in .*0\.json are no text or list of texts: \[1, 2\]"):
        list(read_labels(shards, "all"))


@pytest.mark.parametrize(
    ("labels", "text", "texts"),
    [
        (["cat", "dog"], "cat, dog\n", ()),
        (["cat"], "cat", ()),
        (["cat"], "a cat", ("a cat",)),
        (["cat"], "cat\ncat", ("cat", "cat")),
        ([1], "1", ("1",)),
        (None, "None", ("None",)),
    ],
)
def test_packed_class_names_are_no_caption(
    tmp_path: Path, labels: list[object] | None, text: str, texts: tuple[str, ...]
) -> None:
    write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), ("0.json", record(labels=labels)), ("0.txt", text)])

    assert [example.texts for example in read(tmp_path)] == [texts]


def test_the_task_follows_what_the_first_examples_have(tmp_path: Path) -> None:
    write_shard(tmp_path / "captions" / "a.tar", [("0.jpg", b"x"), ("0.txt", "a cat")])
    write_shard(tmp_path / "both" / "a.tar", [("0.jpg", b"x"), ("0.txt", "a cat"), ("1.jpg", b"x"), ("1.cls", "0")])
    write_shard(tmp_path / "neither" / "a.tar", [("0.jpg", b"x")])

    tasks = [open_shards(str(tmp_path / name)).task for name in ("captions", "both", "neither")]

    assert tasks == ["captions", "classification", "classification"]


def test_the_first_picture_of_a_key_is_taken_and_keys_without_one_are_left_out(tmp_path: Path) -> None:
    members = [("0.json", "{}"), ("1.mask.png", b"m"), ("1.webp", b"w"), ("1.jpg", b"j"), ("2.mp3", b"s")]
    write_shard(tmp_path / "a.tar", members)

    (example,) = read(tmp_path)

    assert (example.id, str(example.media[0])) == ("a.tar:1", f"{tmp_path / 'a.tar'}:1.webp")


def test_a_dataset_can_be_sent_to_a_worker_process() -> None:
    again = pickle.loads(pickle.dumps(open_shards(str(SAMPLE))))

    assert [example.label for example in again.read(NO_ROOT, "test")] == [0, 1]


def test_labels_without_class_names_are_read_but_have_no_prompts(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), ("0.cls", "41")])

    assert labels(tmp_path) == [41]
    with pytest.raises(
        MissingFile, match=r"is missing or empty, and no KEY\.json in the shards names a class"
    ) as error:
        prompts(open_shards(str(tmp_path)))
    assert str(tmp_path / "classnames.txt") in str(error.value)
    assert "or pass --classnames FILE" in str(error.value)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("0.cls", "2"), "has the class index 2, which no class has: classnames.txt has 2 names"),
        (("0.json", record(label=-1)), "has the class index -1, which no class has"),
        (("0.json", record(**{"class": "cow"})), "has the class 'cow', which is not in classnames.txt: add it there"),
        (("0.cls", "cat"), "0.cls holds 'cat': it must hold a class index, a number from 0 on"),
        (("0.json", "{"), "0.json is not valid JSON ("),
        (("0.json", "[" * 100_000), "0.json is not valid JSON ("),
        (("0.json", record(captions=["a", 3])), "0.json are no text or list of texts: ['a', 3]"),
    ],
)
def test_a_bad_example_is_named(tmp_path: Path, member: tuple[str, str], message: str) -> None:
    (tmp_path / "classnames.txt").write_text("cat\ndog")
    write_shard(tmp_path / "train-0.tar", [("0.jpg", b"x"), member])
    write_shard(tmp_path / "test-0.tar", [("0.jpg", b"x"), ("0.cls", "0")])

    with pytest.raises(BadExample) as error:
        read(tmp_path, "train")
    assert message in str(error.value)
    assert f"{tmp_path / 'train-0.tar'}:0." in str(error.value)


def test_a_negative_index_is_refused_without_class_names_too(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), ("0.json", record(label=-1))])

    with pytest.raises(BadExample, match="it must be 0 or more"):
        read(tmp_path)


def test_indices_and_names_do_not_mix(tmp_path: Path) -> None:
    members = [("0.jpg", b"x"), ("0.cls", "0"), ("1.jpg", b"x"), ("1.json", record(**{"class": "cat"}))]
    write_shard(tmp_path / "a.tar", members)

    with pytest.raises(BadExample, match=r"1\.jpg is labelled in another way than the examples before it") as error:
        read(tmp_path)
    assert f"write {tmp_path / 'classnames.txt'}, one name a line" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classnames.txt", "cat\n\ndog", "line 2 is empty, but every line counts: fill or remove it"),
        ("classnames.txt", b"na\xefve", "classnames.txt is not UTF-8 text (byte 2)"),
        ("zeroshot_classification_templates.txt", "a photo", "the template 'a photo' has no {c} where the class name"),
    ],
)
def test_a_bad_file_beside_the_shards(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), ("0.json", record(**{"class": "cat"}))])
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(BadExample) as error:
        prompts(open_shards(str(tmp_path)))
    assert message in str(error.value)
    assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize("content", ["two", "", "-1", "1 2"])
def test_a_bad_count_of_shards(tmp_path: Path, content: str) -> None:
    touch(tmp_path, "test/0")
    (tmp_path / "test" / "nshards.txt").write_text(content)

    with pytest.raises(BadExample, match="it must hold the number of shards and nothing else"):
        open_shards(str(tmp_path))


def test_a_counted_shard_that_is_missing(tmp_path: Path) -> None:
    touch(tmp_path, "test/0", "test/2")
    (tmp_path / "test" / "nshards.txt").write_text("3")

    with pytest.raises(MissingFile, match=r"nshards\.txt counts 3 shards, from 0\.tar on") as error:
        open_shards(str(tmp_path))
    assert f"{tmp_path / 'test' / '1.tar'} is missing" in str(error.value)


def test_a_folder_without_shards_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="or in the folders right below it") as error:
        open_shards(str(tmp_path))
    assert "PATH/SPLIT-0000.tar" in str(error.value)


def test_a_path_that_is_not_there() -> None:
    with pytest.raises(MissingFile, match="no such tar shard: nowhere"):
        find_dataset("wds:nowhere")


def test_a_split_that_is_not_there() -> None:
    with pytest.raises(UnknownName, match="Did you mean test"):
        read(SAMPLE, "tset")


def test_real_captioned_shards(test_data: Path) -> None:
    dataset = open_shards(str(test_data / "rsicd"))

    assert dataset.splits == ("val", "train")
    names = prompts(dataset).class_names
    assert len(names) == 30
    assert names == tuple(sorted(names))
    examples = list(dataset.read(NO_ROOT, "val"))
    assert len({example.id for example in examples}) == len(examples) == 1094
    assert all(len(example.texts) == 5 for example in examples)
    # The file names of this set begin with the class where it is known.
    assert {names[e.label] for e in examples if e.label is not None and e.id.startswith("val-0000.tar:pond")} == {
        "pond"
    }
    assert any(example.label is None for example in examples)


def test_real_labelled_shards(test_data: Path) -> None:
    dataset = open_shards(str(test_data / "wds_cifar10"))

    assert dataset.splits == ("test", "train")
    assert prompts(dataset).class_names[:2] == ("airplane", "automobile")
    found = [example.label for example in dataset.read(NO_ROOT, "test")]
    assert len(found) == 1000
    assert set(found) == set(range(10))
