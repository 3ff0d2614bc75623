from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from coca_cli.datasets import find_dataset
from coca_cli.datasets.kinetics import KINETICS_400
from coca_cli.errors import BadExample, MissingFile
from tests.datasets.make_samples import SAMPLES

SAMPLE = SAMPLES / "kinetics-400"
VAL = ["0wR5jVB-WPk_000417_000427", "oIzqh7yf9ao_000002_000012"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sample, at a data root where it may be changed."""
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    return tmp_path


def ids(root: Path, split: str) -> list[str]:
    return [example.id for example in KINETICS_400.read(root, split)]


def test_clips_of_a_split_and_their_classes() -> None:
    assert ids(SAMPLE, "val") == VAL
    assert KINETICS_400.prompts is not None
    names = KINETICS_400.prompts(SAMPLE).class_names
    labels = [example.label for example in KINETICS_400.read(SAMPLE, "val")]
    assert [names[label] for label in labels if label is not None] == ["abseiling", "zumba"]


def test_clips_in_class_folders() -> None:
    (example,) = KINETICS_400.read(SAMPLE, "train")
    assert example.media == (SAMPLE / "kinetics-400/train/abseiling/-3B32lodo2M_000059_000069.mp4",)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("kinetics-400_val.csv", "validate"),
        ("validate.csv", "videos_val"),
        ("k400_val.csv", "videos/val"),
        ("annotations/val.csv", "."),
    ],
)
def test_what_others_call_lists_and_folders(copy: Path, name: str, place: str) -> None:
    folder = copy / "kinetics-400"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / "val.csv").rename(folder / name)
    (folder / place).mkdir(parents=True, exist_ok=True)
    for file in (folder / "val").iterdir():
        file.rename(folder / place / file.name)
    (folder / "val").rmdir()
    assert all(example.media[0].is_file() for example in KINETICS_400.read(copy, "val"))  # type: ignore[union-attr]


@pytest.mark.parametrize("shorter", ["0wR5jVB-WPk", "0wR5jVB-WPk_417_427"])
def test_shorter_names_of_files(copy: Path, shorter: str) -> None:
    file = copy / "kinetics-400/val" / f"{VAL[0]}.mp4"
    file.rename(file.with_name(f"{shorter}.webm"))
    first, _ = KINETICS_400.read(copy, "val")
    assert first.media == (file.with_name(f"{shorter}.webm"),)
    assert first.id == VAL[0]


def test_a_clip_that_is_gone_keeps_its_place(copy: Path) -> None:
    gone = copy / "kinetics-400/val" / f"{VAL[1]}.mp4"
    gone.unlink()
    _, second = KINETICS_400.read(copy, "val")
    assert second.media == (gone,)


def test_no_clip_at_all(copy: Path) -> None:
    for file in (copy / "kinetics-400/val").iterdir():
        file.unlink()
    with pytest.raises(MissingFile, match=r"none of the 2 clips such as 0wR5jVB-WPk_000417_000427 is in "):
        ids(copy, "val")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("label,youtube_id,time_start\nabseiling,a,1", "has no column time_end"),
        ("label,youtube_id,time_start,time_end\n", "lists no clip below its header"),
        ("label,youtube_id,time_start,time_end\nabseiling,a,one,2", "has no times in seconds"),
        ("label,youtube_id,time_start,time_end\nflying,a,1,2", "names the class 'flying', which is none of the 400"),
        ("label,youtube_id,time_start,time_end\n" + "zumba,a,1,2\n" * 2, "lists the clip a_000001_000002 more than"),
    ],
)
def test_lists_that_cannot_be_right(copy: Path, content: str, reason: str) -> None:
    (copy / "kinetics-400/val.csv").write_text(content)
    with pytest.raises(BadExample, match=reason):
        ids(copy, "val")


def test_a_split_without_its_list(copy: Path) -> None:
    (copy / "kinetics-400/train.csv").unlink()
    with pytest.raises(MissingFile, match=r"has no train\.csv"):
        ids(copy, "train")


@pytest.mark.parametrize(("number", "clips"), [(400, 19_906), (600, 30_000)])
def test_the_official_lists(test_data: Path, tmp_path: Path, number: int, clips: int) -> None:
    folder = tmp_path / f"kinetics-{number}"
    (folder / "val").mkdir(parents=True)
    source = test_data / f"video_labels/kinetics-{number}_val.csv"
    shutil.copy(source, folder)
    header, first, *_ = source.read_text().splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=True))
    start, end = int(row["time_start"]), int(row["time_end"])
    (folder / "val" / f"{row['youtube_id']}_{start:06d}_{end:06d}.mp4").write_bytes(b"a clip")
    dataset = find_dataset(f"kinetics-{number}")
    examples = list(dataset.read(tmp_path, "val"))
    assert len({example.id for example in examples}) == clips
    assert {example.label for example in examples} == set(range(number))
    assert sum(path.is_file() for example in examples for path in example.media if isinstance(path, Path)) == 1
