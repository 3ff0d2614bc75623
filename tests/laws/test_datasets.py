"""Law 4: every dataset has a sample of its real layout, ids are unique, labels in range, splits true."""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from coca_cli.datasets import DATASETS
from coca_cli.datasets.example import Dataset, Example, Medium, Member, Pixels, Prompts, Scheme
from coca_cli.datasets.held_out import share_examples
from coca_cli.datasets.selection import UNDERSTANDING
from coca_cli.errors import CocaError, MissingFile

SAMPLES = Path(__file__).parents[1] / "samples"
SAMPLE_BYTES = 50 * 1024
FIRST = 50
"""Examples looked at in a built-in set, whose splits may be long."""

KEPT_BACK = {("nocaps", "test"), ("vqav2", "test-dev"), ("vqav2", "test-std")}
"""Splits whose captions or answers their makers keep, to score results on a server."""

ALL = [entry for entry in DATASETS.entries() if isinstance(entry, Dataset)]
ON_DISK = [dataset for dataset in ALL if not dataset.built_in]
SCHEMES = [entry for entry in DATASETS.entries() if isinstance(entry, Scheme)]


def by_name(entry: Dataset | Scheme) -> str:
    return entry.name


def sample_root(dataset: Dataset) -> Path:
    return SAMPLES / dataset.name


def read_split(dataset: Dataset, split: str) -> list[Example]:
    examples = dataset.read(sample_root(dataset), split)
    return list(islice(examples, FIRST) if dataset.built_in else examples)


def read_medium(medium: Medium) -> bytes:
    if isinstance(medium, Pixels):
        assert medium.array.dtype == np.uint8
        assert medium.array.ndim in (3, 4)
        assert medium.array.shape[-1] == 3
        return medium.array.tobytes()
    if isinstance(medium, Member):
        found = medium.read_bytes()
        assert len(found) == medium.size
        return found
    return medium.read_bytes()


def find_faults(
    examples: Iterable[Example], prompts: Prompts | None, *, kept_back: bool = False, statements: bool = False
) -> list[str]:
    """What is wrong with the examples of one split, in words."""
    faults, ids = [], set()
    for example in examples:
        if example.id in ids:
            faults.append(f"{example.id} is there twice")
        ids.add(example.id)
        if not example.id or Path(example.id).is_absolute():
            faults.append(f"{example.id!r} is not the same on every machine")
        if not example.media:
            faults.append(f"{example.id} has no picture")
        if not all(read_medium(medium) for medium in example.media):
            faults.append(f"{example.id} has an empty picture")
        if prompts is not None and (example.label is None or not 0 <= example.label < len(prompts.class_names)):
            faults.append(f"{example.id} has the label {example.label} of {len(prompts.class_names)} classes")
        known = any(text.strip() for text in example.texts) or (statements and example.label is not None)
        if prompts is None and not kept_back and not known:
            faults.append(f"{example.id} has neither a class nor a text")
        if kept_back and example.texts:
            faults.append(f"{example.id} has texts that should be kept back")
    return faults if ids else ["there are no examples"]


def digest(example: Example) -> tuple[str, str]:
    whole = b"".join(read_medium(medium) for medium in example.media)
    return example.id, hashlib.sha256(whole).hexdigest()


def test_there_are_datasets() -> None:
    assert {"digits", "imagenet", "cifar10"} <= {dataset.name for dataset in ALL}
    assert {"coco", "flickr30k", "flickr8k", "msrvtt", "msvd"} <= {dataset.name for dataset in ALL}
    assert {"vqav2", "snli-ve", "nlvr2", "easy-vqa"} <= {dataset.name for dataset in ALL}
    assert {"folder", "wds", "captions", "videos", "questions"} <= {scheme.name for scheme in SCHEMES}


@pytest.mark.parametrize("dataset", ALL, ids=by_name)
def test_a_dataset_says_what_it_is(dataset: Dataset) -> None:
    assert dataset.name == dataset.name.strip().lower()
    assert ":" not in dataset.name
    for text in (dataset.layout, dataset.source, dataset.licence):
        assert text.strip()
    assert dataset.splits
    assert len(set(dataset.splits)) == len(dataset.splits)
    assert dataset.version >= 1
    assert dataset.border >= 0
    names = [protocol.name for protocol in dataset.protocols]
    assert len(set(names)) == len(names)
    for protocol in dataset.protocols:
        assert protocol.name.strip()
        assert protocol.split in dataset.splits
        assert protocol.folds >= 1
    if dataset.protocols:
        assert dataset.protocols[0].split == dataset.splits[0]


@pytest.mark.parametrize("scheme", SCHEMES, ids=by_name)
def test_a_scheme_says_what_it_is(scheme: Scheme) -> None:
    assert scheme.name == scheme.name.strip().lower()
    for text in (scheme.argument, scheme.description, scheme.layout):
        assert text.strip()


@pytest.mark.parametrize("dataset", ON_DISK, ids=by_name)
def test_a_sample_of_the_real_layout_is_small(dataset: Dataset) -> None:
    files = [path for path in sample_root(dataset).rglob("*") if path.is_file()]
    assert files, f"{sample_root(dataset)} holds no sample of {dataset.name}"
    assert sum(path.stat().st_size for path in files) <= SAMPLE_BYTES


@pytest.mark.parametrize("dataset", ALL, ids=by_name)
def test_prompts_name_every_class_once(dataset: Dataset) -> None:
    if dataset.prompts is None:
        assert dataset.task != "classification"
        return
    class_names, templates = dataset.prompts(sample_root(dataset))
    assert len(class_names) >= 2
    assert all(name.strip() for name in class_names)
    assert templates
    assert all("{c}" in template for template in templates)
    assert len(set(templates)) == len(templates)


@pytest.mark.parametrize(
    ("dataset", "split"), [(d, s) for d in ALL for s in d.splits], ids=lambda part: getattr(part, "name", part)
)
def test_every_split_is_sound(dataset: Dataset, split: str) -> None:
    prompts = None if dataset.prompts is None else dataset.prompts(sample_root(dataset))
    examples = read_split(dataset, split)
    kept_back = (dataset.name, split) in KEPT_BACK
    assert find_faults(examples, prompts, kept_back=kept_back, statements=bool(dataset.answers)) == []
    for example in examples:
        assert len(example.media) == dataset.pictures
        assert bool(example.question.strip()) is (dataset.task in UNDERSTANDING)
        assert example.label is None or not dataset.answers or 0 <= example.label < len(dataset.answers)
    assert [example.id for example in read_split(dataset, split)] == [example.id for example in examples]


@pytest.mark.parametrize("dataset", ALL, ids=by_name)
def test_no_example_is_in_two_splits(dataset: Dataset) -> None:
    tested = {protocol.split for protocol in dataset.protocols}  # protocols may measure on parts of each other's
    seen: dict[tuple[str, str], str] = {}
    for split in dataset.splits:
        part = "protocols" if split in tested else split
        if any(split in pair for pair in dataset.overlaps):
            continue
        for example in read_split(dataset, split):
            assert seen.setdefault(digest(example), part) == part, f"{example.id} is in {split} too"


@pytest.mark.parametrize(
    ("dataset", "pair"),
    [(d, pair) for d in ALL for pair in itertools.combinations(d.splits, 2) if d.overlaps],
    ids=lambda part: getattr(part, "name", None) or "-".join(part),
)
def test_splits_overlap_where_they_say_so(dataset: Dataset, pair: tuple[str, str]) -> None:
    one, other = ({digest(example) for example in read_split(dataset, split)} for split in pair)
    assert bool(one & other) is share_examples(dataset, *pair)


@pytest.mark.parametrize("dataset", ON_DISK, ids=by_name)
def test_an_empty_data_root_says_what_is_missing(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "easy_vqa", None)  # whose files would stand in
    for split in dataset.splits:
        with pytest.raises(MissingFile) as error:
            list(dataset.read(tmp_path, split))
        assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("dataset", ALL, ids=by_name)
def test_a_split_that_does_not_exist_is_refused(dataset: Dataset) -> None:
    with pytest.raises(CocaError):
        list(dataset.read(sample_root(dataset), "no-such-split"))


@pytest.mark.parametrize(
    ("example", "fault"),
    [
        (Example("a", (Path("picture"),), label=2), "a has the label 2 of 2 classes"),
        (Example("a", (Path("picture"),)), "a has the label None of 2 classes"),
        (Example("a", (), label=0), "a has no picture"),
        (Example("a", (Path("empty"),), label=0), "a has an empty picture"),
        (Example("b", (Path("picture"),), label=0), "b is there twice"),
        (Example("/a", (Path("picture"),), label=0), "'/a' is not the same on every machine"),
    ],
)
def test_the_law_can_be_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: Example, fault: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("picture").write_bytes(b"x")
    Path("empty").write_bytes(b"")
    good = Example("b", (Path("picture"),), label=1)
    prompts = Prompts(("cat", "dog"), ("a {c}.",))
    assert find_faults([good], prompts) == []
    assert find_faults([good, example], prompts) == [fault]
    assert find_faults([], prompts) == ["there are no examples"]
    textless, captioned = (Example("a", (Path("picture"),), texts=texts) for texts in ((), ("a cat",)))
    assert find_faults([textless], None) == ["a has neither a class nor a text"]
    assert find_faults([textless], None, kept_back=True) == []
    assert find_faults([captioned], None, kept_back=True) == ["a has texts that should be kept back"]
