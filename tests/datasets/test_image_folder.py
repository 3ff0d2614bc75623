from __future__ import annotations

import os
from pathlib import Path

import pytest

from coca_cli.datasets.image_folder import (
    check_split,
    list_pictures,
    locate,
    missing,
    read_class_folders,
    read_facts,
)
from coca_cli.errors import BadExample, MissingFile, UnknownName

LAYOUT = "pets/CLASS/*.jpg"
LABELS = {"cat": 0, "dog": 1}


def _tree(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    return root


def _read(folder: Path, labels: dict[str, int] = LABELS, *, skip_others: bool = False) -> list[tuple[str, int | None]]:
    return [(e.id, e.label) for e in read_class_folders(folder, labels, LAYOUT, skip_others=skip_others)]


def test_pictures_are_read_by_class_and_path(tmp_path: Path) -> None:
    _tree(tmp_path, "dog/b.jpg", "dog/a.jpg", "dog/A.PNG", "cat/sub/deep/x.webp", "cat/z.jpeg")

    examples = list(read_class_folders(tmp_path, LABELS, LAYOUT))

    assert [(e.id, e.label) for e in examples] == [
        ("cat/sub/deep/x.webp", 0),
        ("cat/z.jpeg", 0),
        ("dog/A.PNG", 1),
        ("dog/a.jpg", 1),
        ("dog/b.jpg", 1),
    ]
    assert examples[0].media == (tmp_path / "cat/sub/deep/x.webp",)


def test_classes_are_read_in_the_order_of_their_labels(tmp_path: Path) -> None:
    _tree(tmp_path, "10/a.jpg", "2/a.jpg", "1/a.jpg")
    labels = {str(index): index for index in range(11)}

    assert _read(tmp_path, labels) == [("1/a.jpg", 1), ("2/a.jpg", 2), ("10/a.jpg", 10)]


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "png", "webp", "BMP", "gif", "tif", "tiff", "ppm", "pgm"])
def test_usual_kinds_of_pictures_count(tmp_path: Path, ending: str) -> None:
    assert _read(_tree(tmp_path, f"cat/a.{ending}")) == [(f"cat/a.{ending}", 0)]


def test_hidden_files_leftovers_and_other_files_are_left_out(tmp_path: Path) -> None:
    _tree(
        tmp_path,
        "cat/a.jpg",
        "cat/._a.jpg",
        "cat/.cache/b.jpg",
        "cat/__MACOSX/c.jpg",
        "cat/notes.txt",
        "cat/jpg",
        "__MACOSX/cat/d.jpg",
        ".git/e.jpg",
        "loose.jpg",
    )

    assert _read(tmp_path) == [("cat/a.jpg", 0)]


def test_a_class_without_a_folder_or_pictures_is_no_mistake(tmp_path: Path) -> None:
    _tree(tmp_path, "dog/a.jpg", "cat/notes.txt")

    assert _read(tmp_path, {**LABELS, "owl": 2}) == [("dog/a.jpg", 1)]


def test_a_folder_of_another_name_is_refused_or_left_out(tmp_path: Path) -> None:
    _tree(tmp_path, "dog/a.jpg", "unicorn/a.jpg")

    with pytest.raises(BadExample, match=r"'unicorn', which is no class folder .* \(1 of 2 .* called like 'cat'\)"):
        _read(tmp_path)
    assert _read(tmp_path, skip_others=True) == [("dog/a.jpg", 1)]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingFile) as caught:
        _read(tmp_path / "pets")

    message = str(caught.value)
    assert f"{tmp_path / 'pets'}: it is not there" in message
    assert LAYOUT in message
    assert "Point --data-root (or COCA_DATA) at the folder that holds this" in message


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    _tree(tmp_path, "pets")

    with pytest.raises(MissingFile, match=r"pets: it is a file, not a folder[\s\S]*pets/CLASS/"):
        _read(tmp_path / "pets")


def test_folder_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)

    with pytest.raises(MissingFile, match="may not be opened by this user"):
        _read(tmp_path)


def test_folder_without_classes(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"has no class folders[\s\S]*pets/CLASS/"):
        _read(tmp_path)
    with pytest.raises(MissingFile, match="has no class folders"):
        _read(_tree(tmp_path, "other/a.jpg"), skip_others=True)


def test_class_folders_without_pictures(tmp_path: Path) -> None:
    _tree(tmp_path, "cat/a.txt", "dog/b.txt")

    with pytest.raises(MissingFile, match=r"no pictures \(\.jpg .*\) in the 2 class folders of"):
        _read(tmp_path)


@pytest.mark.parametrize(("link", "target"), [("cat/a.jpg", "outside/a.jpg"), ("cat", "outside"), ("cat/up", "pets")])
def test_links_that_lead_out_or_in_circles_are_refused(tmp_path: Path, link: str, target: str) -> None:
    _tree(tmp_path, "outside/a.jpg", "pets/dog/a.jpg")
    (tmp_path / "pets" / link).parent.mkdir(exist_ok=True)
    (tmp_path / "pets" / link).symlink_to(tmp_path / target)

    with pytest.raises(BadExample, match="links are not followed; put the files there instead"):
        _read(tmp_path / "pets")


def test_a_linked_split_folder_and_links_inside_it_are_followed(tmp_path: Path) -> None:
    _tree(tmp_path, "real/cat/a.jpg", "real/dog/b.jpg")
    (tmp_path / "real/dog/c.jpg").symlink_to("../cat/a.jpg")
    (tmp_path / "pets").symlink_to(tmp_path / "real")

    assert _read(tmp_path / "pets") == [("cat/a.jpg", 0), ("dog/b.jpg", 1), ("dog/c.jpg", 1)]


def test_list_pictures_of_a_flat_folder(tmp_path: Path) -> None:
    _tree(tmp_path, "b.jpg", "a.jpg", "c/d.png", "e.txt")

    assert list_pictures(tmp_path, LAYOUT) == ["a.jpg", "b.jpg", "c/d.png"]
    assert list_pictures(tmp_path, LAYOUT, "c") == ["c/d.png"]


@pytest.mark.parametrize(
    ("file", "root", "expected"),
    [
        ("pets/cat/a.jpg", ".", "pets"),
        ("pets/cat/a.jpg", "pets", "pets"),
        ("Pets/cat/a.jpg", ".", "Pets"),
        ("pets-v1/cat/a.jpg", ".", "pets-v1"),
        ("pets/pets-v1/cat/a.jpg", ".", "pets/pets-v1"),
        ("pets/pets-v1/cat/a.jpg", "pets", "pets/pets-v1"),
        ("pets/bird/a.jpg", ".", "pets"),
    ],
)
def test_locate_finds_the_folder_from_above_and_from_inside(
    tmp_path: Path, file: str, root: str, expected: str
) -> None:
    _tree(tmp_path, file)

    found = locate(tmp_path / root, ("pets", "pets-v1"), lambda folder: (folder / "cat").is_dir(), LAYOUT)

    assert found == tmp_path / expected


def test_locate_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"holds no folder pets or pets-v1[\s\S]*--data-root \(or COCA_DATA\)"):
        locate(tmp_path, ("pets", "pets-v1"), lambda folder: False, LAYOUT)
    with pytest.raises(MissingFile, match="nowhere: it is not there"):
        locate(tmp_path / "nowhere", ("pets",), lambda folder: False, LAYOUT)


def test_check_split_offers_the_splits() -> None:
    check_split("pets", "val", ("val", "train"))

    with pytest.raises(UnknownName, match=r"unknown split of pets 'vall'\. Did you mean val\? Known: train, val\."):
        check_split("pets", "vall", ("val", "train"))


def test_missing_shows_every_line_of_the_layout() -> None:
    message = str(missing("no pictures", "a/\nb/"))

    assert message.splitlines()[:3] == ["no pictures. Expected below the data root:", "  a/", "  b/"]


def test_facts_are_read_without_their_comments() -> None:
    assert read_facts("cifar100_classes")[:2] == ("apple", "aquarium_fish")
    assert len(read_facts("cifar100_classes")) == 100
