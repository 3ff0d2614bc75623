from __future__ import annotations

from pathlib import Path

import pytest

from coca_cli.datasets.user_files import find_user_files, read_list
from coca_cli.errors import CocaError, MissingFile


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures, clips, texts, hidden files and others; the current folder."""
    for name in ("p/b10.jpg", "p/b9.JPG", "p/c.mp4", "p/deep/er/d.png", "p/.hidden.jpg", "p/.git/e.jpg", "p/notes.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "p" / "words.txt").write_text("\ufeffa cat\n\n  a dog \n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ids(words: list[str], texts: bool = False) -> list[list[str]]:
    return [[example.id for example in examples] for examples in find_user_files(words, texts=texts)]


def test_a_folder_is_searched_with_all_below_it_but_what_is_hidden(folder: Path) -> None:
    pictures = ["p/b9.JPG", "p/b10.jpg", "p/deep/er/d.png"]
    assert ids(["p"]) == [pictures, ["p/c.mp4"], []]
    assert ids(["p"], texts=True) == [pictures, ["p/c.mp4"], ["p/words.txt:1", "p/words.txt:3"]]


def test_lines_of_text_files_are_texts(folder: Path) -> None:
    found = find_user_files(["p/words.txt"], texts=True)
    assert [example.texts for example in found.texts] == [("a cat",), ("a dog",)]
    assert [example.media for example in found.texts] == [(), ()]


def test_the_order_is_the_user_s_and_nothing_comes_twice(folder: Path) -> None:
    assert ids(["p/deep", "p/b10.jpg", "p/*.jpg", "./p/b10.jpg", str(folder / "p")])[0] == [
        "p/deep/er/d.png",
        "p/b10.jpg",
        f"{folder.as_posix()}/p/b9.JPG",
    ]


def test_globs_may_go_deep(folder: Path) -> None:
    assert ids(["p/**/*.png", "p/*.m*"]) == [["p/deep/er/d.png"], ["p/c.mp4"], []]


def test_a_file_may_have_the_signs_of_a_glob_in_its_name(folder: Path) -> None:
    (folder / "a[1].jpg").write_bytes(b"")
    assert ids(["a[1].jpg"])[0] == ["a[1].jpg"]


@pytest.mark.parametrize(
    ("word", "error", "message"),
    [
        ("q", MissingFile, "no such picture or clip: q "),
        ("q/*.jpg", MissingFile, r"no such picture or clip: q/\*.jpg "),
        ("p/*.md", MissingFile, r"nothing that fits p/\*.md is a picture or a clip by its ending"),
        ("p/notes.md", CocaError, r"p/notes.md is neither a picture nor a clip by its ending; known are \.jpg, "),
        ("p/words.txt", CocaError, "is neither a picture nor a clip by its ending"),
        ("empty", CocaError, "the folder empty holds no picture or clip: name a folder or files with some"),
    ],
)
def test_what_is_no_use_is_refused(folder: Path, word: str, error: type[CocaError], message: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(error, match=message):
        find_user_files([word])


def test_messages_speak_of_texts_where_these_are_wanted(folder: Path) -> None:
    (folder / "empty").mkdir()
    for word, message in (
        ("empty", "holds no picture, clip or text file"),
        ("p/notes.md", "is neither a picture nor a clip nor a text file by its ending; known are .*, .txt"),
        ("q*", "no such picture, clip or text file"),
        ("p/*.md", "is a picture, a clip or a text file by its ending"),
    ):
        with pytest.raises(CocaError, match=message):
            find_user_files([word], texts=True)


def test_texts_that_are_not_utf8_are_refused(folder: Path) -> None:
    (folder / "latin.txt").write_bytes("ein Käfer".encode("latin-1"))
    with pytest.raises(CocaError, match=r"latin.txt is not UTF-8 text \(.*\): convert it, as with iconv"):
        find_user_files(["latin.txt"], texts=True)


def test_a_text_file_that_cannot_be_read_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(MissingFile, match=r"words.txt cannot be read: Permission denied; make it readable"):
        find_user_files(["p/words.txt"], texts=True)


def test_links_in_a_circle_end(folder: Path) -> None:
    (folder / "p" / "again").symlink_to(folder / "p")
    assert len(ids(["p"])[0]) == 3


def test_lists_have_one_path_a_line() -> None:
    assert read_list(["a b.jpg\n", "\n", "c.jpg\r\n", "d.jpg"]) == ["a b.jpg", "c.jpg", "d.jpg"]
