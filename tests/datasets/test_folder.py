from __future__ import annotations

from pathlib import Path

import pytest

from coca_cli.datasets import find_dataset
from coca_cli.datasets.folder import open_folder
from coca_cli.datasets.templates import GENERAL_TEMPLATES
from coca_cli.errors import BadExample, MissingFile, UnknownName
from tests.datasets.make_samples import SAMPLES

NO_ROOT = Path("nowhere")


def _tree(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    return root


def _ids(path: Path, split: str) -> list[tuple[str, int | None]]:
    return [(e.id, e.label) for e in open_folder(str(path)).read(NO_ROOT, split)]


def _names(path: Path) -> tuple[str, ...]:
    prompts = open_folder(str(path)).prompts
    assert prompts is not None
    return prompts(NO_ROOT).class_names


def test_sample_with_split_folders() -> None:
    dataset = find_dataset(f"folder:{SAMPLES / 'folder'}")

    assert dataset.splits == ("test", "val", "train")
    assert dataset.prompts is not None
    assert dataset.prompts(NO_ROOT) == (("cat", "hot dog"), GENERAL_TEMPLATES)
    assert [(e.id, e.label) for e in dataset.read(NO_ROOT, "test")] == [
        ("cat/whiskers.jpg", 0),
        ("hot_dog/2024/street.webp", 1),
        ("hot_dog/with onions.png", 1),
    ]


def test_tree_without_split_folders_has_one_split(tmp_path: Path) -> None:
    _tree(tmp_path, "dog/b.jpg", "cat/a.jpg", "notes.txt")

    assert open_folder(str(tmp_path)).splits == ("all",)
    assert _ids(tmp_path, "all") == [("cat/a.jpg", 0), ("dog/b.jpg", 1)]


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    _tree(tmp_path, "bus/a.jpg", "train/a.jpg")

    assert open_folder(str(tmp_path)).splits == ("all",)
    assert _names(tmp_path) == ("bus", "train")


def test_a_split_folder_may_be_a_link_and_a_class_folder_not(tmp_path: Path) -> None:
    _tree(tmp_path, "real/cat/a.jpg", "linked_split/notes.txt", "linked_class/dog/a.jpg")
    (tmp_path / "linked_split/test").symlink_to(tmp_path / "real")
    (tmp_path / "linked_class/cat").symlink_to(tmp_path / "real/cat")

    assert _ids(tmp_path / "linked_split", "test") == [("cat/a.jpg", 0)]
    with pytest.raises(BadExample, match=r"cat is a link to .*, and links are not followed"):
        _ids(tmp_path / "linked_class", "all")


def test_labels_mean_the_same_class_in_every_split(tmp_path: Path) -> None:
    _tree(tmp_path, "train/ant/a.jpg", "train/bee/a.jpg", "test/bee/a.jpg", "test/cow/a.jpg")

    assert _names(tmp_path) == ("ant", "bee", "cow")
    assert _ids(tmp_path, "test") == [("bee/a.jpg", 1), ("cow/a.jpg", 2)]
    assert _ids(tmp_path, "train") == [("ant/a.jpg", 0), ("bee/a.jpg", 1)]


def test_display_names_one_a_line(tmp_path: Path) -> None:
    _tree(tmp_path, "a_1/x.jpg", "b-2/x.jpg")
    assert _names(tmp_path) == ("a 1", "b 2")

    (tmp_path / "classnames.txt").write_text("\ufeffsea otter\nAlpine swift\n\n", encoding="utf-8")

    assert _names(tmp_path) == ("sea otter", "Alpine swift")


def test_display_names_by_folder_set_the_order_and_may_name_absent_classes(tmp_path: Path) -> None:
    _tree(tmp_path, "a/x.jpg", "b/x.jpg")
    (tmp_path / "classnames.txt").write_text("b\tsea otter\nz\tzebra\na\tAlpine swift\n", encoding="utf-8")

    assert _names(tmp_path) == ("sea otter", "zebra", "Alpine swift")
    assert _ids(tmp_path, "all") == [("b/x.jpg", 0), ("a/x.jpg", 2)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\n", "has 1 names for 2 class folders; write one a line"),
        (b"one\n\nthree\n", "line 2 is empty, but every line counts: fill or remove it"),
        (b"a\tant\nbee\n", "line 2 of .* is 'bee'; every line must be FOLDER<TAB>NAME"),
        (b"a\tant\nb\t\n", "every line must be FOLDER<TAB>NAME"),
        (b"a\tant\na\tbee\n", "lists 2 folders, but only 1 different ones; list each once"),
        (b"a\tant\nc\tcow\n", "does not list the class folder 'b'; add its line"),
        (b"\xe4pfel\nbirne\n", r"is not UTF-8 text \(byte 0\): write it as UTF-8"),
    ],
)
def test_bad_class_names(tmp_path: Path, content: bytes, message: str) -> None:
    _tree(tmp_path, "a/x.jpg", "b/x.jpg")
    (tmp_path / "classnames.txt").write_bytes(content)

    with pytest.raises(BadExample, match=message):
        _names(tmp_path)
    with pytest.raises(BadExample, match=message):
        _ids(tmp_path, "all")


def test_own_templates(tmp_path: Path) -> None:
    _tree(tmp_path, "a/x.jpg")
    (tmp_path / "templates.txt").write_text("a drawing of {c}.\n{c}\n", encoding="utf-8")
    dataset = open_folder(str(tmp_path))
    assert dataset.prompts is not None

    assert dataset.prompts(NO_ROOT).templates == ("a drawing of {c}.", "{c}")

    (tmp_path / "templates.txt").write_text("a drawing of {}.\n", encoding="utf-8")
    with pytest.raises(BadExample, match=r"the template 'a drawing of \{\}\.' has no \{c\} where the class name goes"):
        dataset.prompts(NO_ROOT)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "has no folders in it, so its pictures have no classes"),
        (("a.jpg", "b.jpg"), r"has no folders in it[\s\S]*PATH/CLASS/"),
        ((".hidden/a.jpg",), "has no folders in it"),
    ],
)
def test_nothing_to_classify(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    with pytest.raises(MissingFile, match=message):
        open_folder(str(_tree(tmp_path, *files)))


def test_path_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(
        MissingFile, match=r"is not there[\s\S]*\nName the folder that holds this, as PATH after the"
    ) as bad:
        open_folder(str(tmp_path / "nowhere"))
    assert "data root" not in str(bad.value)
    with pytest.raises(MissingFile, match="is a file, not a folder"):
        open_folder(str(_tree(tmp_path, "a.jpg") / "a.jpg"))


def test_unknown_split(tmp_path: Path) -> None:
    _tree(tmp_path, "a/x.jpg")

    with pytest.raises(UnknownName, match=r"unknown split of folder:.*'test'\. Known: all\."):
        _ids(tmp_path, "test")


def test_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tree(tmp_path, "pets/cat/x.jpg")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert [e.id for e in open_folder("~/pets").read(NO_ROOT, "all")] == ["cat/x.jpg"]
