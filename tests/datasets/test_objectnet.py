from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coca_cli.datasets.imagenet import class_index
from coca_cli.datasets.objectnet import LABELS_FILE, NAMES_FILE, OBJECTNET, ORDER_FILE, SHARED_FILE, imagenet_classes
from coca_cli.datasets.open_clip_metadata import imagenet_prompts
from coca_cli.errors import BadExample, MissingFile, UnknownName
from tests.datasets.make_samples import SAMPLES

SAMPLE = SAMPLES / "objectnet"


def _labels(root: Path) -> list[tuple[str, int | None]]:
    return [(e.id, e.label) for e in OBJECTNET.read(root, "test")]


def _class_names(root: Path) -> tuple[str, ...]:
    assert OBJECTNET.prompts is not None
    return OBJECTNET.prompts(root).class_names


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_sample_has_only_the_classes_that_imagenet_has() -> None:
    assert _labels(SAMPLE) == [
        ("alarm_clock/42d42cf4b12b41c.png", 0),
        ("alarm_clock/693607a663e3472.png", 0),
        ("hair_dryer/7ee6baf1e7da4f9.png", 1),
    ]
    assert _class_names(SAMPLE) == ("alarm clock", "hair dryer")
    assert imagenet_classes(SAMPLE) == ((409, 530), (589,))


@pytest.mark.parametrize("moved_to", ["objectnet/mappings", "objectnet", "objectnet/objectnet-1.0"])
def test_mapping_files_may_lie_elsewhere(copy: Path, moved_to: str) -> None:
    files = list((copy / "objectnet/objectnet-1.0/mappings").iterdir())
    (copy / moved_to).mkdir(exist_ok=True)
    for file in files:
        file.rename(copy / moved_to / file.name)
    (copy / "objectnet/objectnet-1.0/mappings").rmdir()

    assert len(_labels(copy)) == 3
    assert imagenet_classes(copy) == ((409, 530), (589,))


@pytest.mark.parametrize("root", ["objectnet", "objectnet/objectnet-1.0"])
def test_data_root_may_be_the_folder_itself(copy: Path, root: str) -> None:
    assert len(_labels(copy / root)) == 3


def test_images_without_the_inner_folder(copy: Path) -> None:
    for part in ("images", "mappings"):
        (copy / "objectnet/objectnet-1.0" / part).rename(copy / "objectnet" / part)
    (copy / "objectnet/objectnet-1.0").rmdir()

    assert len(_labels(copy)) == 3


def test_classes_are_the_113_of_the_real_files_in_the_order_of_their_folders(test_data: Path) -> None:
    folders = json.loads((test_data / "objectnet" / LABELS_FILE).read_text(encoding="utf-8"))
    shared = json.loads((test_data / "objectnet" / SHARED_FILE).read_text(encoding="utf-8"))

    names = _class_names(test_data)

    assert len(names) == 113
    assert names == tuple(folders[folder].lower() for folder in sorted(folders) if folders[folder] in shared)
    assert OBJECTNET.prompts is not None
    assert OBJECTNET.prompts(test_data).templates == imagenet_prompts().templates


def test_every_class_has_imagenet_classes_of_its_own(test_data: Path) -> None:
    classes = imagenet_classes(test_data)

    every = [index for indices in classes for index in indices]
    assert len(classes) == 113
    assert min(map(len, classes)) == 1
    assert len(set(every)) == len(every) == 125
    assert set(every) <= set(range(1000))


def test_imagenet_classes_are_those_of_the_published_table(test_data: Path) -> None:
    """The table of pictures that ObjectNet's authors publish names ImageNet's wnid beside each folder."""
    folders = json.loads((test_data / "objectnet" / LABELS_FILE).read_text(encoding="utf-8"))
    by_name = dict(zip(_class_names(test_data), imagenet_classes(test_data), strict=True))
    with (test_data / "objectnet/objectnet.csv").open(encoding="utf-8", newline="") as lines:
        pairs = {(row["objectnet_label"], row["imagenet_label"]) for row in csv.DictReader(lines)}

    assert len(pairs) == 104
    for folder, wnid in pairs:
        assert class_index()[wnid] in by_name[folders[folder].lower()]


def test_order_file_maps_class_indices_to_lines_of_the_names_file(test_data: Path) -> None:
    """Its name promises the numbers of ImageNet's development kit, and read in the other direction it is nonsense."""
    index = json.loads((test_data / "imagenet_meta/imagenet_class_index.json").read_text(encoding="utf-8"))
    lines = (test_data / "objectnet" / NAMES_FILE).read_text(encoding="utf-8").splitlines()
    order = json.loads((test_data / "objectnet" / ORDER_FILE).read_text(encoding="utf-8"))

    def same(class_: int, line: int) -> bool:
        return index[str(class_)][1].replace("_", " ").lower() in lines[line].lower()

    assert sum(same(int(class_), line) for class_, line in order.items()) == 1000
    assert sum(same(line, int(class_)) for class_, line in order.items()) < 20


def test_real_pictures_have_a_red_border_of_two_pixels(test_data: Path) -> None:
    files = sorted((test_data / "objectnet/sample").glob("*.png"))

    assert len(files) == 3
    for file in files:
        picture = np.asarray(Image.open(file).convert("RGB"))
        for _ in range(4):  # top, left, bottom, right
            assert (picture[: OBJECTNET.border] == (255, 0, 0)).all()
            assert not (picture[OBJECTNET.border, 2:-2] == (255, 0, 0)).all()
            picture = np.rot90(picture)


def test_drawn_sample_has_the_border_too() -> None:
    for example in OBJECTNET.read(SAMPLE, "test"):
        assert isinstance(example.media[0], Path)
        picture = np.asarray(Image.open(example.media[0]))
        assert (picture[:2] == (255, 0, 0)).all()
        assert not (picture[2, 2:-2] == (255, 0, 0)).all()


@pytest.mark.parametrize("name", [LABELS_FILE, SHARED_FILE, ORDER_FILE, NAMES_FILE])
def test_missing_mapping_file(copy: Path, name: str) -> None:
    (copy / "objectnet/objectnet-1.0/mappings" / name).unlink()

    with pytest.raises(MissingFile, match=rf"ObjectNet's mapping file {name} is not in[\s\S]*objectnet-1\.0/mappings/"):
        imagenet_classes(copy)


def test_missing_pictures(copy: Path) -> None:
    shutil.rmtree(copy / "objectnet/objectnet-1.0/images")

    with pytest.raises(MissingFile, match="images: it is not there"):
        _labels(copy)


def test_missing_dataset(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="holds no folder objectnet"):
        _labels(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (LABELS_FILE, '{"alarm_clock": "Alarm', "is not the JSON that ObjectNet ships"),
        (LABELS_FILE, "[" * 100_000, "is not the JSON that ObjectNet ships"),
        (LABELS_FILE, '["alarm_clock"]', "is no JSON object whose values are all str"),
        (SHARED_FILE, '{"Alarm clock": 7}', "is no JSON object whose values are all str"),
        (ORDER_FILE, '{"409": "one"}', "is no JSON object whose values are all int"),
        (SHARED_FILE, '{"Wand": "wand"}', "names 'Wand', for which .* has no folder; unpack both files again"),
        (
            SHARED_FILE,
            '{"Alarm clock": "sun dial"}',
            "'sun dial', an ImageNet class of ObjectNet's 'Alarm clock', has no",
        ),
        (ORDER_FILE, '{"409": 1, "x": 2, "589": 0}', "'digital clock', an ImageNet class of ObjectNet's"),
    ],
)
def test_damaged_mapping_file(copy: Path, name: str, content: str, message: str) -> None:
    (copy / "objectnet/objectnet-1.0/mappings" / name).write_text(content, encoding="utf-8")

    with pytest.raises(BadExample, match=message):
        imagenet_classes(copy)


def test_unknown_split() -> None:
    with pytest.raises(UnknownName, match="unknown split of objectnet 'val'"):
        list(OBJECTNET.read(SAMPLE, "val"))
