from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from coca_cli.datasets.image_folder import read_facts
from coca_cli.datasets.imagenet import IMAGENET, class_index, read_ground_truth, read_solution
from coca_cli.errors import BadExample, MissingFile, UnknownName
from tests.datasets.make_samples import SAMPLES

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def _tree(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    return root


def _labels(root: Path, split: str = "val") -> list[tuple[str, int | None]]:
    return [(e.id, e.label) for e in IMAGENET.read(root, split)]


def _timm_list(name: str) -> list[str]:
    spec = importlib.util.find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "data/_info" / name).read_text(encoding="utf-8").split()


def _write_ground_truth(file: Path, start: list[int]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    numbers = start + [1] * (50_000 - len(start))
    file.write_text("".join(f"{number}\n" for number in numbers), encoding="utf-8")


@pytest.mark.parametrize("root", ["imagenet", "imagenet/imagenet"])
def test_sample(root: str) -> None:
    assert _labels(SAMPLES / root, "val") == [
        ("n01440764/ILSVRC2012_val_00000293.JPEG", 0),
        ("n01440764/ILSVRC2012_val_00002138.JPEG", 0),
        ("n01443537/ILSVRC2012_val_00000236.JPEG", 1),
        ("n15075141/ILSVRC2012_val_00001149.JPEG", 999),
    ]
    assert _labels(SAMPLES / root, "train") == [
        ("n01440764/n01440764_10026.JPEG", 0),
        ("n01443537/n01443537_10007.JPEG", 1),
    ]


def test_real_pictures_have_the_class_of_their_folder(test_data: Path) -> None:
    index = json.loads((test_data / "imagenet_meta/imagenet_class_index.json").read_text(encoding="utf-8"))
    examples = list(IMAGENET.read(test_data, "val"))

    assert len(examples) == 200
    for example in examples:
        wnid, name = index[str(example.label)]
        assert example.id.startswith(f"{wnid}/")
        assert example.id.lower() == f"{wnid}/{name}.jpeg".lower()


def test_class_order_equals_timms() -> None:
    assert list(read_facts("imagenet_wnids")) == _timm_list("imagenet_synsets.txt")
    assert list(read_facts("imagenet_wnids")) == sorted(class_index())


def test_class_orders_equal_the_published_lists(test_data: Path) -> None:
    meta = test_data / "imagenet_meta"
    index = json.loads((meta / "imagenet_class_index.json").read_text(encoding="utf-8"))
    kit = [line.split() for line in (meta / "map_clsloc.txt").read_text(encoding="utf-8").splitlines()]

    assert {wnid: int(number) for number, (wnid, _) in index.items()} == class_index()
    assert read_facts("ilsvrc2012_wnids") == tuple(wnid for wnid, _, _ in sorted(kit, key=lambda row: int(row[1])))
    assert sorted(read_facts("ilsvrc2012_wnids")) == sorted(class_index())


def test_ground_truth_agrees_with_what_people_see_in_the_pictures(test_data: Path) -> None:
    """People relabelled the validation pictures (Beyer et al. 2020); their labels and the official ones agree often."""
    spec = importlib.util.find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    real = json.loads((Path(spec.origin).parent / "data/_info/imagenet_real_labels.json").read_text(encoding="utf-8"))

    labels = read_ground_truth(test_data / "imagenet_meta" / GROUND_TRUTH)

    agreed = sum(label in real[number - 1] for number, label in labels.items())
    assert agreed == 42_164  # of 46,837 pictures with labels; with a wrong order of classes it would be about 50


@pytest.mark.parametrize("folder", ["val", "ILSVRC2012_val", "ILSVRC2012_img_val", "ILSVRC/Data/CLS-LOC/val"])
@pytest.mark.parametrize("truth", [GROUND_TRUTH, f"ILSVRC2012_devkit_t12/data/{GROUND_TRUTH}"])
def test_flat_layout_finds_labels_by_the_number_in_the_name(tmp_path: Path, folder: str, truth: str) -> None:
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in (2, 5, 50_000)]
    _tree(tmp_path / "imagenet" / folder, *names)
    _write_ground_truth(tmp_path / "imagenet" / truth, [490, 361, 171, 822, 297])

    assert _labels(tmp_path) == [
        (names[0], class_index()[read_facts("ilsvrc2012_wnids")[360]]),
        (names[1], class_index()[read_facts("ilsvrc2012_wnids")[296]]),
        (names[2], class_index()["n02119789"]),
    ]


def test_flat_layout_with_the_official_ground_truth(tmp_path: Path, test_data: Path) -> None:
    _tree(tmp_path / "imagenet/val", *(f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 6)))
    (tmp_path / "imagenet" / GROUND_TRUTH).write_bytes((test_data / "imagenet_meta" / GROUND_TRUTH).read_bytes())

    # sea snake, alp, Shetland sheepdog, soup bowl, cradle
    assert [label for _, label in _labels(tmp_path)] == [65, 970, 230, 809, 516]


def test_flat_layout_with_the_table_of_kaggle(tmp_path: Path) -> None:
    _tree(tmp_path / "imagenet/ILSVRC/Data/CLS-LOC/val", "ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000003.JPEG")
    (tmp_path / "imagenet/LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00000003,n02105855 85 1 499 272 \n"
        "ILSVRC2012_val_00000001,n01751748 111 108 441 193 n01751748 1 2 3 4 \n",
        encoding="utf-8",
    )

    assert _labels(tmp_path) == [("ILSVRC2012_val_00000001.JPEG", 65), ("ILSVRC2012_val_00000003.JPEG", 230)]

    _tree(tmp_path / "imagenet/ILSVRC/Data/CLS-LOC/val", "ILSVRC2012_val_00000002.JPEG")
    with pytest.raises(BadExample, match="has no label for validation picture number 2; is it of the same set"):
        _labels(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "ImageId,PredictionString\nILSVRC2012_val_00000003,n99999999 85 1 499 272\n",
        "ImageId,PredictionString\nn01440764_10026,n01440764 85 1 499 272\n",
        "ILSVRC2012_val_00000003,n02105855 85 1 499 272\nILSVRC2012_val_00000004,n02105855 85 1 499 272\n",
        "ImageId\nILSVRC2012_val_00000003\n",
    ],
)
def test_bad_table_of_kaggle(tmp_path: Path, content: str) -> None:
    file = tmp_path / "LOC_val_solution.csv"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(BadExample, match="has a row that names no validation picture and ImageNet class"):
        read_solution(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "has 49,999 labels, not 50,000; take it from ILSVRC2012_devkit_t12 again"),
        (lambda lines: [*lines, "7"], "has 50,001 labels, not 50,000"),
        (lambda lines: ["0", *lines[1:]], "line 1 of .* is '0', which is no class number from 1 to 1000"),
        (lambda lines: [*lines[:-1], "1001"], "line 50000 of .* is '1001', which is no class number"),
        (lambda lines: [lines[0], "n01440764", *lines[2:]], "line 2 of .* is 'n01440764', which is no class number"),
        (lambda lines: ["-1", *lines[1:]], "is '-1', which is no class number"),
    ],
)
def test_bad_ground_truth(tmp_path: Path, change, message: str) -> None:
    file = tmp_path / GROUND_TRUTH
    file.write_text("\n".join(change(["1000"] * 50_000)), encoding="utf-8")

    with pytest.raises(BadExample, match=message):
        read_ground_truth(file)


@pytest.mark.parametrize("name", ["holiday.JPEG", "ILSVRC2012_test_00000001.JPEG", "ILSVRC2012_val_1.JPEG"])
def test_flat_picture_of_another_name(tmp_path: Path, name: str) -> None:
    _tree(tmp_path / "imagenet/val", name)
    _write_ground_truth(tmp_path / "imagenet" / GROUND_TRUTH, [])

    with pytest.raises(BadExample, match=f"{name} has no label: without class folders a picture of ImageNet's val"):
        _labels(tmp_path)


def test_flat_layout_without_labels(tmp_path: Path) -> None:
    _tree(tmp_path / "imagenet/val", "ILSVRC2012_val_00000001.JPEG")

    with pytest.raises(MissingFile, match="has no labels for its flat validation folder"):
        _labels(tmp_path)


def test_empty_split_folder(tmp_path: Path) -> None:
    _tree(tmp_path / "imagenet/val", "notes.txt")

    with pytest.raises(MissingFile, match=r"holds neither class folders nor pictures[\s\S]*imagenet/val/WNID"):
        _labels(tmp_path)


def test_missing_split_folder(tmp_path: Path) -> None:
    _tree(tmp_path / "imagenet/val/n01440764", "a.JPEG")

    with pytest.raises(MissingFile, match="has no folder for the split 'train'"):
        _labels(tmp_path, "train")


def test_missing_dataset(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"holds no folder imagenet[\s\S]*ILSVRC2012_validation_ground_truth\.txt"):
        _labels(tmp_path)


def test_folder_that_is_no_class(tmp_path: Path) -> None:
    _tree(tmp_path / "imagenet/val", "n01440764/a.JPEG", "n00000001/a.JPEG")

    with pytest.raises(BadExample, match="'n00000001', which is no class folder"):
        _labels(tmp_path)


def test_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown split of imagenet 'test'"):
        _labels(tmp_path, "test")


def test_prompts() -> None:
    assert IMAGENET.prompts is not None
    prompts = IMAGENET.prompts(Path("nowhere"))

    assert (len(prompts.class_names), len(prompts.templates)) == (1000, 80)
    assert prompts.class_names[class_index()["n02123045"]] == "tabby cat"
