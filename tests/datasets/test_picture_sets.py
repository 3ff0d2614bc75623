from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coca_cli.datasets import picture_sets as module
from coca_cli.datasets.example import Dataset, Example
from coca_cli.datasets.picture_sets import find_picture_sets
from coca_cli.errors import CocaError, MissingFile, UnknownName
from tests.datasets.test_shards import write_shard

NO_ROOT = Path("nowhere")


def found(text: object, root: Path = NO_ROOT) -> dict[str, list[str]]:
    """Name -> ids."""
    return {each.name: [example.id for example in each.read()] for each in find_picture_sets(str(text), root)}


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    for split in ("train", "val", "test"):
        write_shard(folder / f"{split}-0.tar", [("0.jpg", b"x"), ("0.txt", "a cat"), ("1.jpg", b"y")])
    return folder


def test_a_registered_set_gives_the_split_that_is_evaluated() -> None:
    sets = found("digits")
    assert list(sets) == ["digits test"]
    assert len(sets["digits test"]) == 599


def test_another_split_is_named_after_an_at_sign() -> None:
    assert {name: len(ids) for name, ids in found("digits@train").items()} == {"digits train": 1198}


def test_the_border_of_a_set_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [each.border for each in find_picture_sets("objectnet", NO_ROOT)] == [2]


def test_shards_give_every_split_but_the_one_for_training(shards: Path) -> None:
    expected = ["test-0.tar:0", "test-0.tar:1"], ["val-0.tar:0", "val-0.tar:1"]
    assert found(shards) == {f"{shards} test": expected[0], f"{shards} val": expected[1]}
    assert found(f"wds:{shards}") == {f"wds:{shards} test": expected[0], f"wds:{shards} val": expected[1]}
    assert found(f"{shards}/val-*.tar") == {f"{shards}/val-*.tar val": expected[1]}


@pytest.mark.parametrize("scheme", ["", "wds:"])
def test_a_split_of_shards_is_named_after_an_at_sign(shards: Path, scheme: str) -> None:
    assert list(found(f"{scheme}{shards}@train")) == [f"{scheme}{shards} train"]


def test_shards_for_training_alone_are_all_there_is(shards: Path) -> None:
    assert list(found(shards / "train-0.tar")) == [f"{shards / 'train-0.tar'} train"]


def test_a_tree_of_classes_gives_its_splits(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/a.jpg", "val/cat/b.jpg", "val/dog/c.jpg")
    assert found(f"folder:{tmp_path}") == {f"folder:{tmp_path} val": ["cat/b.jpg", "dog/c.jpg"]}


def test_a_path_with_an_at_sign_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = touch(tmp_path / "mine@home", "a.jpg")
    assert found(folder) == {str(folder): ["a.jpg"]}
    tree = touch(tmp_path / "tree@val", "cat/a.jpg")
    assert found(f"folder:{tree}") == {f"folder:{tree} all": ["cat/a.jpg"]}


def test_a_folder_gives_all_its_pictures(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "deep/er/a.jpg", "notes.txt")
    assert found(tmp_path) == {str(tmp_path): ["b.png", "deep/er/a.jpg"]}


def test_of_a_folder_with_splits_the_one_for_training_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.jpg", "val/b.jpg", "c.jpg")
    assert found(tmp_path) == {str(tmp_path): ["c.jpg", "val/b.jpg"]}
    touch(tmp_path / "val", "train/d.jpg")
    assert found(tmp_path / "val") == {str(tmp_path / "val"): ["b.jpg", "train/d.jpg"]}


def test_a_table_gives_all_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,caption\n0.jpg,a cat\n1.jpg,\n")
    assert found(tmp_path / "a.csv") == {str(tmp_path / "a.csv"): ["0.jpg", "1.jpg"]}


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt")
    with pytest.raises(MissingFile, match="no pictures to compare with in the folder"):
        find_picture_sets(str(tmp_path), NO_ROOT)


def test_a_folder_has_no_splits(tmp_path: Path) -> None:
    touch(tmp_path / "mine", "a.jpg")
    with pytest.raises(CocaError, match="only datasets and tar shards have splits to choose with @; leave out @val"):
        find_picture_sets(f"{tmp_path}/mine@val", NO_ROOT)


def test_a_split_that_is_not_there(shards: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean val"):
        find_picture_sets(f"{shards}@vall", NO_ROOT)


def test_clips_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(root: Path, split: str) -> Iterator[Example]:
        return iter(())

    clips = Dataset(
        name="digits", task="captions", media="video", splits=("a",), source="", licence="", layout="", read=read
    )
    monkeypatch.setattr(module, "find_dataset", lambda name: clips)
    with pytest.raises(CocaError, match="holds clips, and only pictures are compared; leave out --against digits"):
        find_picture_sets("digits", NO_ROOT)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    touch(tmp_path, "a.zip")
    with pytest.raises(MissingFile, match=r"a\.zip is no evaluation set; give\n  a dataset by name"):
        find_picture_sets(str(tmp_path / "a.zip"), NO_ROOT)


@pytest.mark.parametrize("text", ["some/where", "a.csv"])
def test_a_path_that_is_not_there(text: str) -> None:
    with pytest.raises(MissingFile, match="to compare with; give\n  a dataset by name"):
        find_picture_sets(text, NO_ROOT)


def test_a_name_that_is_not_known() -> None:
    with pytest.raises(UnknownName, match=r"unknown evaluation set 'digist'\. Did you mean digits") as error:
        find_picture_sets("digist", NO_ROOT)
    assert "Or a path: give" in str(error.value)
