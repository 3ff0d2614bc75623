from __future__ import annotations

import importlib.util
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coca_cli.datasets.cifar import CIFAR10, CIFAR100, TEMPLATES, read_batch
from coca_cli.datasets.example import Dataset, Pixels
from coca_cli.datasets.image_folder import read_facts
from coca_cli.errors import BadExample, MissingFile, UnknownName
from tests.datasets.make_samples import SAMPLES, cifar100_batch, gradient, python2_pickle

BATCHES = SAMPLES / "cifar100/cifar100/cifar-100-python"


def _labels(dataset: Dataset, root: Path, split: str = "test") -> list[tuple[str, int | None]]:
    return [(e.id, e.label) for e in dataset.read(root, split)]


def _class_names(dataset: Dataset) -> tuple[str, ...]:
    assert dataset.prompts is not None
    return dataset.prompts(Path("nowhere")).class_names


def _save_cifar10(folder: Path, names: tuple[str, ...]) -> None:
    folder.mkdir(parents=True)
    for seed, name in enumerate(names):
        fields = cifar100_batch([seed, 9 - seed])
        (folder / name).write_bytes(python2_pickle({"data": fields["data"], "labels": fields["fine_labels"]}))


@pytest.mark.parametrize("root", ["cifar10", "cifar10/cifar10"])
def test_folders_of_pictures(root: str) -> None:
    assert _labels(CIFAR10, SAMPLES / root) == [("airplane/0000.png", 0), ("cat/0001.png", 3), ("truck/0002.png", 9)]
    assert len(_labels(CIFAR10, SAMPLES / root, "train")) == 3


@pytest.mark.parametrize("root", [SAMPLES / "cifar100", BATCHES.parent, BATCHES])
def test_original_batches(root: Path) -> None:
    examples = list(CIFAR100.read(root, "test"))

    assert [(e.id, e.label) for e in examples] == [("test/00000", 0), ("test/00001", 99), ("test/00002", 1)]
    for example in examples:
        (pixels,) = example.media
        assert isinstance(pixels, Pixels)
        assert (pixels.array.shape, pixels.array.dtype) == ((32, 32, 3), np.uint8)
        assert np.array_equal(pixels.array, gradient(example.label or 0, 32))
    assert _labels(CIFAR100, root, "train") == [("train/00000", 1), ("train/00001", 98)]


def test_batches_of_cifar10_are_read_one_after_the_other(tmp_path: Path) -> None:
    names = tuple(f"data_batch_{number}" for number in range(1, 6))
    _save_cifar10(tmp_path / "cifar-10-batches-py", names)

    assert _labels(CIFAR10, tmp_path, "train") == [
        (f"{name}/{index:05d}", label)
        for seed, name in enumerate(names)
        for index, label in enumerate((seed, 9 - seed))
    ]


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_batches_packed_again_by_python_3(tmp_path: Path, protocol: int) -> None:
    fields = cifar100_batch([4, 2])
    fields["data"] = np.asfortranarray(fields["data"])
    (tmp_path / "test").write_bytes(pickle.dumps(fields, protocol=protocol))
    if protocol == 2:  # Python 3 writes bytes this way in the old protocol: by naming a function
        with pytest.raises(BadExample, match=r"asks to run code \(_codecs\.encode\)"):
            read_batch(tmp_path / "test", "fine_labels", 100)
        return

    pictures, labels = read_batch(tmp_path / "test", "fine_labels", 100)

    assert labels == [4, 2]
    assert np.array_equal(pictures, [gradient(4, 32), gradient(2, 32)])


class _Bomb:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickle_bomb_is_refused(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "exploded"
    fields = {"data": _Bomb(open, str(marker), "w"), "fine_labels": [1]}
    (tmp_path / "test").write_bytes(pickle.dumps(fields, protocol=protocol))

    with pytest.raises(BadExample, match=r"asks to run code \(_?io\.open\), which no file of CIFAR does"):
        read_batch(tmp_path / "test", "fine_labels", 100)
    assert not marker.exists()


@pytest.mark.parametrize("function", [eval, getattr, np.load, np.frombuffer, np.array])
def test_no_other_function_can_be_named(tmp_path: Path, function: Any) -> None:
    (tmp_path / "test").write_bytes(pickle.dumps(_Bomb(function, "1"), protocol=2))

    with pytest.raises(BadExample, match="asks to run code"):
        read_batch(tmp_path / "test", "fine_labels", 100)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is a damaged batch file .*download the set again"),
        (b"not a pickle at all", "is a damaged batch file"),
        (python2_pickle(cifar100_batch([1]))[:500], "is a damaged batch file"),
        (b"\x80\x02cnumpy\ndtype\n}b.", "is a damaged batch file"),  # state for the stand-in itself
        (b"\x80\x02]q\x00.", "holds a list instead of named fields"),
        (python2_pickle({"data": cifar100_batch([1])["data"]}), "has no list 'fine_labels' of numbers below 100"),
        (python2_pickle(cifar100_batch([100])), "has no list 'fine_labels' of numbers below 100"),
        (python2_pickle(cifar100_batch([-1])), "of numbers below 100"),
        (python2_pickle({**cifar100_batch([1]), "fine_labels": ["1"]}), "of numbers below 100"),
        (
            python2_pickle({"fine_labels": [1]}),
            r"no uint8 array 'data' of shape \(1, 3072\), one row per label; found No",
        ),
        (python2_pickle({**cifar100_batch([1]), "fine_labels": [1, 2]}), r"shape \(2, 3072\), .* found \(1, 3072\)"),
        (python2_pickle({"fine_labels": [1], "data": np.zeros((1, 3072), np.int8)}), "has no uint8 array 'data'"),
        (python2_pickle({"fine_labels": [1], "data": np.zeros((1, 32, 32, 3), np.uint8)}), "has no uint8 array 'data'"),
        (python2_pickle({"fine_labels": [1], "data": np.array([[None] * 3072])}), "has no uint8 array 'data'"),
        (b"\x80\x02}(X\x0b\x00\x00\x00fine_labels](K\x01eX\x04\x00\x00\x00datacnumpy\nndarray\n)\x81u.", "found"),
    ],
)
def test_damaged_batch(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "test").write_bytes(content)

    with pytest.raises(BadExample, match=message):
        read_batch(tmp_path / "test", "fine_labels", 100)


def test_array_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    short = python2_pickle({"fine_labels": [1], "data": np.zeros((1, 3071), np.uint8)})
    claim = short.replace(b"M\xff\x0b", b"M\x00\x0c")  # the shape alone: 3071 -> 3072
    assert claim != short
    (tmp_path / "test").write_bytes(claim)

    with pytest.raises(BadExample, match=r"one row per label; found \(1, 3072\)"):
        read_batch(tmp_path / "test", "fine_labels", 100)


@pytest.mark.parametrize("names", [list(read_facts("cifar100_classes")[::-1]), ["apple"], 7, None])
def test_class_list_in_another_order(tmp_path: Path, names: object) -> None:
    shutil.copytree(BATCHES, tmp_path / "cifar100/cifar-100-python")
    (tmp_path / "cifar100/cifar-100-python/meta").write_bytes(python2_pickle({"fine_label_names": names}))

    with pytest.raises(BadExample, match="lists other classes than cifar100 has, or in another order"):
        _labels(CIFAR100, tmp_path)


def test_missing_batch(tmp_path: Path) -> None:
    _save_cifar10(tmp_path / "cifar10/cifar-10-batches-py", ("data_batch_1", "data_batch_2"))

    with pytest.raises(MissingFile, match=r"has neither a folder 'train' nor the file 'data_batch_3'[\s\S]*batches-py"):
        _labels(CIFAR10, tmp_path, "train")


@pytest.mark.parametrize("dataset", [CIFAR10, CIFAR100], ids=lambda dataset: dataset.name)
def test_missing_and_unknown(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(MissingFile, match=f"holds no folder {dataset.name}"):
        _labels(dataset, tmp_path)
    with pytest.raises(UnknownName, match=f"unknown split of {dataset.name} 'val'"):
        _labels(dataset, tmp_path, "val")


def test_folder_that_is_no_class(tmp_path: Path) -> None:
    (tmp_path / "cifar10/test/unicorn").mkdir(parents=True)

    with pytest.raises(BadExample, match="'unicorn', which is no class folder"):
        _labels(CIFAR10, tmp_path)


def test_class_names() -> None:
    assert _class_names(CIFAR100)[:2] == ("apple", "aquarium fish")
    assert len(set(_class_names(CIFAR100))) == 100
    assert list(_class_names(CIFAR100)) == sorted(_class_names(CIFAR100))


def test_class_names_of_cifar10_are_the_published_ones(test_data: Path) -> None:
    published = (test_data / "wds_cifar10/classnames.txt").read_text(encoding="utf-8").splitlines()

    assert list(_class_names(CIFAR10)) == published


@pytest.mark.peer
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_templates_are_those_of_clip_benchmark(name: str) -> None:
    spec = importlib.util.find_spec("clip_benchmark")
    if spec is None or spec.origin is None:
        pytest.skip("clip-benchmark is not installed")
    file = Path(spec.origin).parent / "datasets/en_zeroshot_classification_templates.json"

    assert list(TEMPLATES) == json.loads(file.read_text(encoding="utf-8"))[name]
