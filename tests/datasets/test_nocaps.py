from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coca_cli.datasets import find_dataset
from coca_cli.datasets.captioned import find_captioned
from coca_cli.datasets.example import Example
from coca_cli.datasets.nocaps import NOCAPS
from coca_cli.errors import BadExample, MissingFile, UnknownName
from tests.datasets.make_samples import SAMPLES

SAMPLE = SAMPLES / "nocaps"
VAL, TEST = "nocaps_val_4500_captions.json", "nocaps_test_image_info.json"
PICTURES = ["0013ea2087020901.jpg", "004886b7d043cfef.jpg", "00665e73ab8d17a2.jpg", "0084b71a5d1ffe2c.jpg"]
"""The sample's val pictures, in the order of its file."""
TEST_PICTURES = ["0000d67245642c5f.jpg", "00045d609ca3f4eb.jpg"]


def read(root: Path, split: str = "val") -> list[Example]:
    return list(NOCAPS.read(root, split))


def files(examples: list[Example]) -> list[Path]:
    found = [medium for example in examples for medium in example.media]
    assert all(isinstance(medium, Path) for medium in found)
    return [Path(str(medium)) for medium in found]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sample, at a data root where it may be changed."""
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    return tmp_path


def change(file: Path, edit: Callable[[Any], object]) -> None:
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def test_captions_and_domains_in_the_order_of_the_file() -> None:
    examples = read(SAMPLE)

    assert [example.id for example in examples] == ["0", "1", "2", "3"]
    assert [example.group for example in examples] == ["in-domain", "near-domain", "out-domain", "near-domain"]
    assert [example.texts for example in examples] == [
        (f"a drawn square, number {n}.", f"colours that flow, number {n}.") for n in range(4)
    ]
    assert files(examples) == [SAMPLE / "nocaps/images" / name for name in PICTURES]


def test_the_captions_of_test_are_kept_back() -> None:
    examples = read(SAMPLE, "test")

    assert files(examples) == [SAMPLE / "nocaps/images" / name for name in TEST_PICTURES]
    assert [(example.texts, example.group) for example in examples] == [((), "")] * 2


def test_val_is_what_is_evaluated() -> None:
    assert find_dataset("nocaps") is NOCAPS
    assert [example.id for example in find_captioned("nocaps", SAMPLE).read()] == ["0", "1", "2", "3"]


def test_an_unknown_domain_is_no_group_of_its_own(copy: Path) -> None:
    def edit(content: Any) -> None:
        content["images"][0]["domain"] = "outer-space"
        content["images"][1]["domain"] = ["in-domain"]
        del content["images"][2]["domain"]

    change(copy / "nocaps" / VAL, edit)
    assert [example.group for example in read(copy)] == ["", "", "", "near-domain"]


def test_the_domains_of_test_are_taken_where_the_file_has_them(copy: Path) -> None:
    change(copy / "nocaps" / TEST, lambda content: content["images"][1].update(domain="out-domain"))
    assert [example.group for example in read(copy, "test")] == ["", "out-domain"]


@pytest.mark.parametrize("place", ["images", "val", "images/val", ""])
def test_places_of_pictures(copy: Path, place: str) -> None:
    target = copy / "nocaps" / place
    (copy / "nocaps/images").rename(copy / "moved")
    target.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        (copy / "moved" / name).rename(target / name)
    assert files(read(copy)) == [target / name for name in PICTURES]


def test_each_split_may_have_a_folder_of_its_own(copy: Path) -> None:
    """Also where pictures of one name lie in both."""
    for split in ("val", "test"):
        shutil.copytree(copy / "nocaps/images", copy / "nocaps" / split)
    shutil.rmtree(copy / "nocaps/images")
    assert files(read(copy, "val")) == [copy / "nocaps/val" / name for name in PICTURES]
    assert files(read(copy, "test")) == [copy / "nocaps/test" / name for name in TEST_PICTURES]


@pytest.mark.parametrize("place", ["images", "val", ""])
def test_the_file_may_lie_among_annotations(copy: Path, place: str) -> None:
    folder = copy / "nocaps"
    (folder / "annotations").mkdir()
    (folder / VAL).rename(folder / "annotations" / VAL)
    shutil.copytree(folder / "images", copy / "moved")
    shutil.rmtree(folder / "images")
    shutil.copytree(copy / "moved", folder / place, dirs_exist_ok=True)

    examples = read(copy)

    assert files(examples) == [folder / place / name for name in PICTURES]
    assert [example.group for example in examples][:2] == ["in-domain", "near-domain"]


@pytest.mark.parametrize("folder", ["NoCaps", "NOCAPS", "nocaps/nocaps"])
def test_names_of_the_folder(copy: Path, folder: str) -> None:
    (copy / "nocaps").rename(copy / "moved")
    (copy / folder).parent.mkdir(exist_ok=True)
    (copy / "moved").rename(copy / folder)
    assert files(read(copy)) == [copy / folder / "images" / name for name in PICTURES]


def test_the_data_root_may_be_the_folder_itself(copy: Path) -> None:
    assert files(read(copy / "nocaps")) == [copy / "nocaps/images" / name for name in PICTURES]


def test_one_split_can_be_there_alone(copy: Path) -> None:
    (copy / "nocaps" / VAL).unlink()
    assert files(read(copy / "nocaps", "test")) == [copy / "nocaps/images" / name for name in TEST_PICTURES]
    with pytest.raises(MissingFile, match=rf"nocaps has no {VAL}\. Expected below the data root"):
        read(copy)


def test_without_any_file(copy: Path, tmp_path: Path) -> None:
    for name in (VAL, TEST):
        (copy / "nocaps" / name).unlink()
    with pytest.raises(MissingFile, match=rf"nocaps has no {TEST}\. Expected below the data root"):
        read(copy, "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFile, match="empty holds no folder nocaps") as error:
        read(tmp_path / "empty")
    assert "captions are kept back" in str(error.value)


def test_without_pictures(copy: Path) -> None:
    shutil.rmtree(copy / "nocaps/images")
    with pytest.raises(MissingFile, match=f"none of the 4 pictures that .*{VAL} names is there, such as {PICTURES[0]}"):
        read(copy)


def test_a_missing_picture_is_yielded_where_it_should_be(copy: Path) -> None:
    gone = copy / "nocaps/images" / PICTURES[2]
    gone.unlink()
    assert files(read(copy))[2] == gone


def test_windows_line_ends_and_a_byte_order_mark(copy: Path) -> None:
    file = copy / "nocaps" / VAL
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert [example.group for example in read(copy)] == [example.group for example in read(SAMPLE)]


def test_a_damaged_file_is_refused(copy: Path) -> None:
    (copy / "nocaps" / VAL).write_text('{"images": [')
    with pytest.raises(BadExample, match="is not valid JSON in UTF-8"):
        read(copy)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(UnknownName, match=r"unknown split of nocaps 'vla'\. Did you mean val\?"):
        read(SAMPLE, "vla")
