from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from coca_cli.datasets import DATASETS, find_dataset
from coca_cli.datasets.checking import check_dataset
from coca_cli.datasets.example import Dataset, Example
from coca_cli.datasets.sizes import SIZES
from tests.datasets.make_samples import SAMPLES


def copied(name: str, folder: Path) -> Path:
    shutil.copytree(SAMPLES / name, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples are whole."""
    monkeypatch.setitem(SIZES, "nlvr2", {"dev": 3, "test-p": 1, "train": 1})
    monkeypatch.setitem(SIZES, "snli-ve", {"test": 2, "dev": 1, "train": 2})


@pytest.mark.usefixtures("sizes")
def test_a_whole_set_is_sound(tmp_path: Path) -> None:
    found = check_dataset(find_dataset("nlvr2"), copied("nlvr2", tmp_path))
    assert found.sound
    assert not found.absent
    assert [(split.split, split.state, split.found, split.missing) for split in found.splits] == [
        ("dev", "complete", 3, 0),
        ("test-p", "complete", 1, 0),
        ("train", "complete", 1, 0),
    ]


@pytest.mark.usefixtures("sizes")
def test_a_missing_file_is_named(tmp_path: Path) -> None:
    root = copied("nlvr2", tmp_path)
    gone = root / "nlvr2/images/dev/dev-850-0-img1.png"
    gone.unlink()
    dev = check_dataset(find_dataset("nlvr2"), root).splits[0]
    assert (dev.state, dev.found, dev.missing) == ("incomplete", 3, 2)  # two statements are about that pair
    assert dev.example.endswith(gone.name)


@pytest.mark.usefixtures("sizes")
def test_a_short_list_and_a_split_that_is_not_there(tmp_path: Path) -> None:
    root = copied("nlvr2", tmp_path)
    (root / "nlvr2/train.json").unlink()
    found = check_dataset(find_dataset("nlvr2"), root)
    assert found.sound  # nothing is evaluated on what is for training
    assert found.splits[2].state == "not there"
    assert "has no train.json" in found.splits[2].problem
    lines = (root / "nlvr2/dev.json").read_text().splitlines()
    (root / "nlvr2/dev.json").write_text("\n".join(lines[:2]))
    found = check_dataset(find_dataset("nlvr2"), root)
    assert (found.splits[0].state, found.splits[0].found, found.splits[0].expected) == ("incomplete", 2, 3)
    assert not found.sound


@pytest.mark.usefixtures("sizes")
def test_a_damaged_file(tmp_path: Path) -> None:
    root = copied("snli-ve", tmp_path)
    (root / "snli-ve/snli_ve_dev.jsonl").write_text("{")
    found = check_dataset(find_dataset("snli-ve"), root)
    assert [split.state for split in found.splits] == ["complete", "damaged", "complete"]
    assert "is cut off or no JSON" in found.splits[1].problem
    assert not found.sound


def test_nothing_at_all(tmp_path: Path) -> None:
    found = check_dataset(find_dataset("imagenet"), tmp_path)
    assert found.absent
    assert not found.sound


def test_a_set_whose_size_nobody_knows(tmp_path: Path) -> None:
    found = check_dataset(find_dataset("objectnet"), SAMPLES / "objectnet")
    assert found.splits[0].expected is None
    assert found.splits[0].state == "complete"
    empty = replace(find_dataset("objectnet"), read=lambda root, split: iter(()))
    assert check_dataset(empty, tmp_path).splits[0].state == "incomplete"


def test_progress_is_shown_by_split(tmp_path: Path) -> None:
    told: list[str] = []

    def track(examples: Iterable[Example], split: str) -> Iterable[Example]:
        told.append(split)
        return examples

    check_dataset(find_dataset("nlvr2"), SAMPLES / "nlvr2", track)
    assert told == ["dev", "test-p", "train"]


def test_sizes_are_of_splits_that_there_are() -> None:
    datasets = {entry.name: entry for entry in DATASETS.entries() if isinstance(entry, Dataset)}
    for name, sizes in SIZES.items():
        assert set(sizes) <= set(datasets[name].splits), name
        assert not datasets[name].built_in
