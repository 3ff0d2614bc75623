from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from coca_cli.datasets.example import Dataset
from coca_cli.datasets.image_folder import read_facts
from coca_cli.datasets.imagenet import class_index
from coca_cli.datasets.imagenet_shifts import IMAGENET_A, IMAGENET_R, IMAGENET_SKETCH, IMAGENET_V2
from coca_cli.datasets.open_clip_metadata import imagenet_prompts
from coca_cli.errors import BadExample, MissingFile, UnknownName
from tests.datasets.make_samples import SAMPLES

SHIFTS = (IMAGENET_V2, IMAGENET_A, IMAGENET_R, IMAGENET_SKETCH)


def _tree(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    return root


def _labels(dataset: Dataset, root: Path) -> list[tuple[str, int | None]]:
    return [(e.id, e.label) for e in dataset.read(root, "test")]


def _class_names(dataset: Dataset) -> tuple[str, ...]:
    assert dataset.prompts is not None
    return dataset.prompts(Path("nowhere")).class_names


def test_folders_of_v2_are_class_indices() -> None:
    assert _labels(IMAGENET_V2, SAMPLES / "imagenet-v2") == [("0/0a.jpeg", 0), ("2/2b.jpeg", 2), ("10/1c.jpeg", 10)]


def test_all_thousand_folders_of_v2_get_their_own_number(tmp_path: Path) -> None:
    _tree(tmp_path, *(f"{number}/a.jpeg" for number in range(1000)))

    assert _labels(IMAGENET_V2, tmp_path) == [(f"{number}/a.jpeg", number) for number in range(1000)]


@pytest.mark.parametrize(
    ("dataset", "folder"),
    [
        (IMAGENET_V2, "imagenet-v2"),
        (IMAGENET_V2, "imagenetv2-matched-frequency-format-val"),
        (IMAGENET_V2, "imagenet-v2/imagenetv2-matched-frequency-format-val"),
        (IMAGENET_V2, "."),
        (IMAGENET_A, "imagenet-a"),
        (IMAGENET_A, "imagenet-a/imagenet-a"),
        (IMAGENET_R, "imagenet-r"),
        (IMAGENET_R, "."),
        (IMAGENET_SKETCH, "imagenet-sketch"),
        (IMAGENET_SKETCH, "sketch"),
        (IMAGENET_SKETCH, "imagenet-sketch/sketch"),
    ],
)
def test_folders_as_published(tmp_path: Path, dataset: Dataset, folder: str) -> None:
    name = {"imagenet-v2": "5", "imagenet-a": "n01498041", "imagenet-r": "n02007558"}.get(dataset.name, "n01496331")
    _tree(tmp_path / folder, f"{name}/a.jpg", "README.txt")

    assert [id_ for id_, _ in _labels(dataset, tmp_path)] == [f"{name}/a.jpg"]


@pytest.mark.parametrize(("dataset", "letter"), [(IMAGENET_A, "a"), (IMAGENET_R, "r")])
def test_subsets_have_200_of_imagenets_classes(dataset: Dataset, letter: str) -> None:
    spec = importlib.util.find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    lists = Path(spec.origin).parent / "data/_info"
    wnids = (lists / f"imagenet_{letter}_synsets.txt").read_text(encoding="utf-8").split()
    indices = (lists / f"imagenet_{letter}_indices.txt").read_text(encoding="utf-8").split()
    names = imagenet_prompts().class_names

    assert list(read_facts(f"imagenet_{letter}_wnids")) == wnids == sorted(wnids)
    assert _class_names(dataset) == tuple(names[int(index)] for index in indices)
    assert len(set(wnids)) == 200


@pytest.mark.parametrize("letter", ["a", "r"])
def test_subsets_equal_the_published_lists(test_data: Path, letter: str) -> None:
    published = (test_data / f"imagenet_meta/imagenet_{letter}_wnids.txt").read_text(encoding="utf-8").split()

    assert list(read_facts(f"imagenet_{letter}_wnids")) == published


def test_labels_of_a_subset_count_its_own_classes(tmp_path: Path) -> None:
    wnids = read_facts("imagenet_r_wnids")
    _tree(tmp_path / "imagenet-r", *(f"{wnid}/art_0.jpg" for wnid in reversed(wnids)))

    labels = _labels(IMAGENET_R, tmp_path)

    assert labels == [(f"{wnid}/art_0.jpg", label) for label, wnid in enumerate(wnids)]
    for (path, label), name in zip(labels, _class_names(IMAGENET_R), strict=True):
        assert name == imagenet_prompts().class_names[class_index()[path.split("/")[0]]]
        assert name == _class_names(IMAGENET_R)[label or 0]


@pytest.mark.parametrize("dataset", [IMAGENET_V2, IMAGENET_SKETCH])
def test_whole_sets_have_imagenets_words(dataset: Dataset) -> None:
    assert dataset.prompts is not None
    assert dataset.prompts(Path("nowhere")) == imagenet_prompts()


@pytest.mark.parametrize(
    ("dataset", "known", "unknown"),
    [
        (IMAGENET_V2, "7", "1000"),
        (IMAGENET_V2, "7", "007"),
        (IMAGENET_A, "n01498041", "n01440764"),  # a class of ImageNet, but none of ImageNet-A
        (IMAGENET_R, "n01443537", "n01440764"),
        (IMAGENET_SKETCH, "n01440764", "tench"),
    ],
)
def test_folder_that_is_no_class(tmp_path: Path, dataset: Dataset, known: str, unknown: str) -> None:
    _tree(tmp_path / dataset.name, f"{known}/a.jpg", f"{unknown}/a.jpg")

    with pytest.raises(BadExample, match=f"'{unknown}', which is no class folder of this dataset"):
        _labels(dataset, tmp_path)


@pytest.mark.parametrize("dataset", SHIFTS, ids=lambda dataset: dataset.name)
def test_missing_and_unknown(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(MissingFile, match=rf"holds no folder {dataset.name}[\s\S]*{dataset.name}/CLASS/\*"):
        _labels(dataset, tmp_path)
    with pytest.raises(UnknownName, match=f"unknown split of {dataset.name} 'val'"):
        list(dataset.read(tmp_path, "val"))


@pytest.mark.parametrize("dataset", SHIFTS, ids=lambda dataset: dataset.name)
def test_sample(dataset: Dataset) -> None:
    labels = _labels(dataset, SAMPLES / dataset.name)

    assert len(labels) >= 2
    assert all(label is not None and 0 <= label < len(_class_names(dataset)) for _, label in labels)
