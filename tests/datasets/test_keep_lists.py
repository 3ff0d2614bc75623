from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from coca_cli.datasets.keep_lists import (
    Compared,
    KeepList,
    Origin,
    Removed,
    can_be_listed,
    check_keep_list_path,
    read_keep_list,
    removed_path,
    removed_table,
    write_keep_list,
)
from coca_cli.errors import BadExample, CocaError, MissingFile

IDS = ["a.jpg", "with blanks, and a comma.jpg", "# no header.jpg", " leading", "größe.jpg", "a\u2028b.jpg", "# ids"]


def origin(kept: int, source: str = "my data: 1") -> Origin:
    return Origin(
        source=source,
        pictures=kept + 1,
        removed=1,
        kept=kept,
        compared=[Compared("flickr30k test", 1000, found=1, near=1)],
        settings={"least correlation": 0.75},
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "below" / "keep.txt"
    write_keep_list(path, IDS, origin(len(IDS)))
    return path


def test_what_is_written_is_read(written: Path) -> None:
    assert read_keep_list(written) == KeepList("my data: 1", frozenset(IDS), written)


def test_the_header_says_how_it_came_about(written: Path) -> None:
    lines = written.read_text().split("\n")
    assert lines[: lines.index("# ids")] == [
        "# coca keep-list, version 1",
        "# source: my data: 1",
        "# pictures: 8",
        "# removed: 1",
        "# unreadable (left to training, which skips them): 0",
        "# compared with flickr30k test: 1000 pictures",
        "# least correlation: 0.75",
        "# kept: 7",
    ]


def test_a_name_that_is_not_utf_8_comes_back_as_it_was(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    write_keep_list(tmp_path / "keep.txt", [name], origin(1))
    assert b"caf\xe9.jpg\n" in (tmp_path / "keep.txt").read_bytes()
    assert read_keep_list(tmp_path / "keep.txt").ids == {name}


def test_a_list_saved_by_an_editor_of_windows_is_the_same(written: Path) -> None:
    written.write_bytes(b"\xef\xbb\xbf" + written.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert read_keep_list(written).ids == frozenset(IDS)


def test_an_empty_list(tmp_path: Path) -> None:
    write_keep_list(tmp_path / "keep.txt", [], origin(0))
    assert read_keep_list(tmp_path / "keep.txt").ids == frozenset()


def test_a_failure_leaves_the_old_list(written: Path) -> None:
    before = written.read_bytes()

    def broken() -> list[str]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_keep_list(written, (each for each in broken()), origin(1))
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == ["keep.txt"]


@pytest.mark.parametrize("name", ["a\nb", "a\r", "\n"])
def test_a_line_break_cannot_be_listed(name: str) -> None:
    assert not can_be_listed(name)
    assert all(map(can_be_listed, IDS))


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"cannot read the keep-list .*: No such file"):
        read_keep_list(tmp_path / "keep.txt")


@pytest.mark.parametrize("content", [b"", b"a.jpg\nb.jpg\n", b"# coca keep-list, version 2\n", b"\xff\xfe\x00"])
def test_another_file_is_no_list(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ids.txt").write_bytes(content)
    with pytest.raises(BadExample, match="is no keep-list that can be read: it begins with"):
        read_keep_list(tmp_path / "ids.txt")


@pytest.mark.parametrize("kept", [len(IDS) - 1, len(IDS) + 1])
def test_a_list_that_was_cut_off(written: Path, kept: int) -> None:
    written.write_text(written.read_text().replace("# kept: 7", f"# kept: {kept}"))
    with pytest.raises(BadExample, match=rf"has 7 ids, but its header counts {kept}: it was cut off or changed"):
        read_keep_list(written)


@pytest.mark.parametrize(("line", "lacks"), [("# source: my data: 1\n", "source"), ("# kept: 7\n", "kept")])
def test_a_header_that_lacks_something(written: Path, line: str, lacks: str) -> None:
    written.write_text(written.read_text().replace(line, ""))
    with pytest.raises(BadExample, match=f"the header of the keep-list .* lacks {lacks}: make it anew"):
        read_keep_list(written)


def test_without_the_end_of_the_header_no_line_is_an_id(tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("# coca keep-list, version 1\n# source: a\n# kept: 1\nb.jpg\n")
    with pytest.raises(BadExample, match="has 0 ids, but its header counts 1"):
        read_keep_list(tmp_path / "keep.txt")


def test_the_place_is_looked_at_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(CocaError, match="is a folder; give the name of the file"):
        check_keep_list_path(tmp_path)
    check_keep_list_path(tmp_path / "new" / "keep.txt")
    assert (tmp_path / "new").is_dir()


def test_what_was_removed_is_a_table(tmp_path: Path) -> None:
    path = removed_path(tmp_path / "keep.txt")
    rows = [
        Removed("a,b.jpg", "flickr30k test", os.fsdecode(b"caf\xe9.jpg"), "hash", True, 4, 0.98),
        Removed("c.jpg", "flickr30k test", "d.jpg", "copy"),
    ]
    with removed_table(path) as table:
        table.writerows(row._asdict() for row in rows)
    assert path.name == "keep.txt.removed.csv"
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert found[0] == {
        "train_id": "a,b.jpg",
        "evaluation_set": "flickr30k test",
        "evaluation_id": "caf\\udce9.jpg",
        "found_by": "hash",
        "mirrored": "True",
        "distance": "4",
        "correlation": "0.98",
        "cosine": "",
    }
    assert found[1]["found_by"] == "copy"
    assert found[1]["correlation"] == ""
