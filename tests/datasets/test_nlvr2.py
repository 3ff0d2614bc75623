from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from coca_cli.datasets.example import Example
from coca_cli.datasets.nlvr2 import LABELS, NLVR2
from coca_cli.errors import BadExample, MissingFile
from tests.datasets.make_samples import SAMPLES

SAMPLE = SAMPLES / "nlvr2"


def read(root: Path, split: str = "dev") -> list[Example]:
    return list(NLVR2.read(root, split))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    return tmp_path / "nlvr2"


def test_statements_and_their_two_pictures() -> None:
    first, second, third = read(SAMPLE)
    assert (first.question, LABELS[first.label or 0]) == ("The left picture is drawn.", "True")
    assert first.media == tuple(SAMPLE / f"nlvr2/images/dev/dev-850-0-img{side}.png" for side in (0, 1))
    assert first.media == third.media != second.media
    assert LABELS[second.label or 0] == "False"


def test_a_statement_is_one_kind_whatever_pair_it_is_about() -> None:
    assert [example.kind for example in read(SAMPLE)] == ["dev-850-0", "dev-850-0", "dev-850-1"]


def test_training_pictures_lie_in_numbered_folders() -> None:
    (only,) = read(SAMPLE, "train")
    assert only.media[0] == SAMPLE / "nlvr2/images/train/7/train-10171-0-img0.png"


def test_all_pictures_may_lie_in_one_folder(copy: Path) -> None:
    for file in [*copy.glob("images/*/*.png"), *copy.glob("images/*/*/*.png")]:
        file.rename(copy / "images" / file.name)
    for split in NLVR2.splits:
        assert all(medium.parent == copy / "images" for example in read(copy, split) for medium in example.media)  # type: ignore[union-attr]


def test_pictures_may_lie_without_a_folder_above(copy: Path) -> None:
    (copy / "images/dev").rename(copy / "dev")
    assert read(copy)[0].media[0] == copy / "dev/dev-850-0-img0.png"


def test_what_is_missing(copy: Path) -> None:
    (copy / "test1.json").unlink()
    with pytest.raises(MissingFile, match=r"has no test1\.json"):
        read(copy, "test-p")
    (copy / "images/dev/dev-850-0-img1.png").unlink()
    assert read(copy)[0].media[1] == copy / "images/dev-850-0-img1.png"


GOOD = '{"identifier": "dev-850-0-0", "sentence": "x", "label": "True"}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.replace("dev-850-0-0", "850-0"), "line 1 has the identifier '850-0'"),
        (GOOD.replace("True", "maybe"), "labels dev-850-0-0 'maybe': it must be True or False"),
        (f"{GOOD}\n{GOOD}", "has the statement dev-850-0-0 twice"),
    ],
)
def test_lines_that_are_wrong(copy: Path, content: str, message: str) -> None:
    (copy / "dev.json").write_text(content)
    with pytest.raises(BadExample, match=message):
        read(copy)


def test_labels_in_small_letters(copy: Path) -> None:
    (copy / "dev.json").write_text(GOOD.replace("True", "true"))
    assert read(copy)[0].label == 1


def test_every_record_of_the_official_files(test_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nlvr2"
    folder.mkdir()
    shutil.copy(test_data / "nlvr2/dev.json", folder)
    (folder / "images").symlink_to(test_data / "nlvr2/images")
    found = read(tmp_path)
    assert Counter(LABELS[example.label or 0] for example in found) == {"True": 517, "False": 483}
    assert sum(all(Path(str(m)).is_file() for m in example.media) for example in found) == 8  # pictures of four pairs
    assert len({example.kind for example in found}) < len(found)
    shutil.copy(test_data / "nlvr2/tiny-dev.json", folder / "dev.json")
    tiny = read(tmp_path)
    assert len(tiny) == 8
    assert all(Path(str(medium)).is_file() for example in tiny for medium in example.media)
