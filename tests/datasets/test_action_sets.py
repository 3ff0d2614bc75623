"""Moments in Time, UCF101 and HMDB51."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from coca_cli.datasets import find_dataset
from coca_cli.datasets.example import Dataset
from coca_cli.datasets.hmdb51 import HMDB51
from coca_cli.datasets.moments_in_time import MOMENTS_IN_TIME
from coca_cli.datasets.ucf101 import UCF101
from coca_cli.errors import BadExample, MissingFile
from tests.datasets.make_samples import SAMPLES

CopyOf = Callable[[Dataset], Path]


@pytest.fixture
def copy_of(tmp_path: Path) -> CopyOf:
    """A sample at a data root where it may be changed; gives the set's own folder."""

    def copy(dataset: Dataset) -> Path:
        shutil.copytree(SAMPLES / dataset.name, tmp_path, dirs_exist_ok=True)
        return tmp_path / dataset.name

    return copy


def classes(dataset: Dataset, root: Path, split: str) -> list[tuple[str, str]]:
    """Id and class name of each example."""
    assert dataset.prompts is not None
    names = dataset.prompts(root).class_names
    return [(example.id, names[example.label or 0]) for example in dataset.read(root, split)]


def test_moments() -> None:
    assert classes(MOMENTS_IN_TIME, SAMPLES / "moments-in-time", "val") == [
        ("clapping/yt-0aDsNJ9lVrY_12.mp4", "clapping"),
        ("adult+male+speaking/flickr-5-7-8-2-7-11_3.mp4", "adult male speaking"),
    ]


def test_ucf101_three_ways() -> None:
    root = SAMPLES / "ucf101"
    assert classes(UCF101, root, "test1") == [
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01", "Apply Eye Makeup"),
        ("HandstandPushups/v_HandStandPushups_g01_c02", "Handstand Pushups"),
    ]
    assert classes(UCF101, root, "train2") == [("YoYo/v_YoYo_g09_c02", "Yo Yo")]


def test_hmdb51_marks() -> None:
    root = SAMPLES / "hmdb51"
    assert classes(HMDB51, root, "test1") == [("brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0", "brush hair")]
    assert classes(HMDB51, root, "train2") == [("wave/21_wave_u_nm_np1_fr_goo_5", "wave")]
    assert classes(HMDB51, root, "test2") == [("wave/#50_FIRST_DATES_wave_u_cm_np1_fr_goo_30", "wave")]


@pytest.mark.parametrize("dataset", [MOMENTS_IN_TIME, UCF101, HMDB51], ids=lambda dataset: dataset.name)
def test_the_data_root_may_be_the_folder_itself(copy_of: CopyOf, dataset: Dataset) -> None:
    folder = copy_of(dataset)
    assert list(dataset.read(folder, dataset.splits[0]))


@pytest.mark.parametrize("dataset", [MOMENTS_IN_TIME, UCF101, HMDB51], ids=lambda dataset: dataset.name)
def test_clips_elsewhere(copy_of: CopyOf, dataset: Dataset) -> None:
    folder = copy_of(dataset)
    clips = next(folder / name for name in ("validation", "UCF-101", "hmdb51_org") if (folder / name).is_dir())
    (folder / "videos").mkdir()
    clips.rename(folder / "videos/validation" if dataset is MOMENTS_IN_TIME else folder / "videos")
    found = [example.media[0] for example in dataset.read(folder.parent, dataset.splits[0])]
    assert all(isinstance(path, Path) and path.is_file() for path in found)
    shutil.rmtree(folder / "videos")
    with pytest.raises(MissingFile, match=r"there is no folder with the \d+ clips|none of the \d+ clips such as"):
        list(dataset.read(folder.parent, dataset.splits[0]))


@pytest.mark.parametrize(
    ("dataset", "file", "content", "reason"),
    [
        (MOMENTS_IN_TIME, "validationSet.csv", "", "lists no clip: fetch it again"),
        (MOMENTS_IN_TIME, "validationSet.csv", "a/b.mp4\n", "line 1, is not FILE,CLASS"),
        (MOMENTS_IN_TIME, "validationSet.csv", "a/b.mp4,a,1,1\n", "names the class 'a', which is none of the 339"),
        (UCF101, "ucfTrainTestlist/testlist01.txt", "", "lists no clip: fetch it again"),
        (UCF101, "ucfTrainTestlist/testlist01.txt", "Flying/v_Flying_g01_c01.avi\n", "names the class 'Flying'"),
        (UCF101, "ucfTrainTestlist/testlist01.txt", "YoYo/a.avi\nYoYo/a.avi\n", "lists the clip YoYo/a more than once"),
        (HMDB51, "testTrainMulti_7030_splits/wave_test_split1.txt", "a.avi 3\n", "line 1, is not FILE.avi and 0, 1 or"),
    ],
)
def test_lists_that_cannot_be_right(copy_of: CopyOf, dataset: Dataset, file: str, content: str, reason: str) -> None:
    folder = copy_of(dataset)
    (folder / file).write_text(content)
    with pytest.raises(BadExample, match=reason):
        list(dataset.read(folder.parent, dataset.splits[0]))


def test_a_class_of_hmdb51_without_its_list(copy_of: CopyOf) -> None:
    folder = copy_of(HMDB51)
    lists = folder / "testTrainMulti_7030_splits"
    (lists / "wave_test_split1.txt").unlink()
    with pytest.raises(MissingFile, match="there is a folder wave of clips, but no list"):
        list(HMDB51.read(folder.parent, "test1"))


def test_no_clip_of_hmdb51_has_the_mark(copy_of: CopyOf) -> None:
    folder = copy_of(HMDB51)
    for label in ("brush_hair", "wave"):
        (folder / f"testTrainMulti_7030_splits/{label}_test_split1.txt").write_text("a.avi 0\n")
    with pytest.raises(BadExample, match="mark no clip with 2"):
        list(HMDB51.read(folder.parent, "test1"))


@pytest.mark.parametrize(
    ("dataset", "gone", "said"),
    [
        (MOMENTS_IN_TIME, "validationSet.csv", r"has no validationSet\.csv"),
        (UCF101, "ucfTrainTestlist/testlist01.txt", r"has no testlist01\.txt"),
    ],
)
def test_a_list_that_is_not_there(copy_of: CopyOf, dataset: Dataset, gone: str, said: str) -> None:
    folder = copy_of(dataset)
    (folder / gone).unlink()
    with pytest.raises(MissingFile, match=said):
        list(dataset.read(folder.parent, dataset.splits[0]))


def test_lists_of_hmdb51_that_are_not_there(copy_of: CopyOf) -> None:
    folder = copy_of(HMDB51)
    for label in ("brush_hair", "wave"):
        (folder / f"testTrainMulti_7030_splits/{label}_test_split1.txt").unlink()
    with pytest.raises(MissingFile, match=r"has no CLASS_test_split1\.txt"):
        list(HMDB51.read(folder.parent, "test1"))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("kinetics-400", "mmaction2_kinetics_label_map_k400"),
        ("kinetics-600", "mmaction2_kinetics_label_map_k600"),
        ("kinetics-700", "mmaction2_kinetics_label_map_k700"),
        ("moments-in-time", "mmaction2_mit_label_map"),
        ("ucf101", "mmaction2_ucf101_label_map"),
        ("hmdb51", "mmaction2_hmdb51_label_map"),
    ],
)
def test_classes_in_the_order_of_the_label_maps(test_data: Path, name: str, file: str) -> None:
    dataset = find_dataset(name)
    assert dataset.prompts is not None
    listed = (test_data / f"video_labels/{file}.txt").read_text().splitlines()
    own = dataset.prompts(Path()).class_names
    plain = [line.replace("_", " ").replace("+", " ").replace(" ", "") for line in listed if line]
    assert [label.replace(" ", "") for label in own] == plain
