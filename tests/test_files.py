from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from coca_cli.errors import CocaError
from coca_cli.files import make_folder, written_whole


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "table.csv"
    with written_whole(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent  # a rename between file systems would be a copy
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail() -> None:
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), written_whole(tmp_path / "table.csv"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with written_whole(tmp_path / "table.csv") as temporary:
            temporary.write_text(content)
    assert (tmp_path / "table.csv").read_text() == "second"


def test_whoever_reads_the_old_file_keeps_it(tmp_path: Path) -> None:
    """A new file takes the name; nobody sees one that is half old, half new."""
    path = tmp_path / "table.csv"
    path.write_text("old")
    with path.open() as reader:
        with written_whole(path) as temporary:
            temporary.write_text("new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_others_may_read_it_as_the_umask_says(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with written_whole(tmp_path / "table.csv"):
            pass
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "table.csv").stat().st_mode & 0o777 == mode


def test_two_writers_do_not_share_a_temporary_name(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with written_whole(path) as one, written_whole(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # the outer block ended last


def test_a_file_in_a_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    for folder in (tmp_path / "results", tmp_path / "results" / "deeper"):
        message = f"cannot write into the folder {folder}: "
        with pytest.raises(CocaError, match=f"{re.escape(message)}.+; choose another place"):
            make_folder(folder)
        with pytest.raises(CocaError, match=re.escape(message)), written_whole(folder / "table.csv"):
            pytest.fail("nothing can be written here")


def test_a_folder_in_a_files_place_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "table.csv").mkdir()
    with (
        pytest.raises(CocaError, match=r"cannot write the file .*table\.csv: a folder of that name is in its place"),
        written_whole(tmp_path / "table.csv"),
    ):
        pytest.fail("nothing can be written here")
    assert list(tmp_path.iterdir()) == [tmp_path / "table.csv"]


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    with (
        pytest.raises(CocaError, match=r"cannot write .*: File name too long; choose another place"),
        written_whole(path),
    ):
        pytest.fail("nothing can be written here")


def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is played, for whoever runs the tests may be allowed everything."""

    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(
        CocaError, match=r"cannot write into the folder .*: Read-only file system; choose another place"
    ):
        make_folder(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write into read-only folders")
def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(CocaError, match=r"cannot write into the folder .*: Permission denied"):
            make_folder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_making_a_folder_leaves_it_empty(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
