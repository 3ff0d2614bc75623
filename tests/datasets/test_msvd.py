from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from coca_cli.datasets.msvd import MSVD
from coca_cli.errors import BadExample, MissingFile, UnknownName
from tests.datasets.make_samples import SAMPLES

SAMPLE = SAMPLES / "msvd"
TEST = ["WPG-BIWOrG4_21_26", "UgUFP5baQ9Y_0_7"]
VAL = "-4wsuPCjDBc_5_15"
CAPTIONS = "AllVideoDescriptions.txt"


def ids(root: Path, split: str) -> list[str]:
    return [example.id for example in MSVD.read(root, split)]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sample, at a data root where it may be changed."""
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    return tmp_path


def captions(root: Path, content: str | bytes) -> tuple[str, ...]:
    """The captions of the one clip of the split val, read from a file with this content."""
    (root / "msvd" / CAPTIONS).write_bytes(content if isinstance(content, bytes) else content.encode())
    (example,) = MSVD.read(root, "val")
    return example.texts


def test_every_split() -> None:
    assert ids(SAMPLE, "test") == TEST
    assert ids(SAMPLE, "val") == [VAL]
    assert ids(SAMPLE, "train") == ["mv89psg6zh4_33_46"]
    (example,) = MSVD.read(SAMPLE, "val")
    assert example.media == (SAMPLE / f"msvd/YouTubeClips/{VAL}.avi",)
    assert example.texts == ("a square is moving", "colours are flowing")


def test_the_folder_in_capitals(copy: Path) -> None:
    (copy / "msvd").rename(copy / "MSVD")
    assert ids(copy, "test") == TEST


def test_the_data_root_may_be_the_folder_itself(copy: Path) -> None:
    assert ids(copy / "msvd", "test") == TEST


def test_lists_and_captions_may_lie_deeper(copy: Path) -> None:
    (copy / "msvd/msvd_data").mkdir()
    for file in (copy / "msvd").glob("*.txt"):
        file.rename(copy / "msvd/msvd_data" / file.name)
    assert ids(copy, "test") == TEST


def test_remarks_and_empty_lines_are_no_captions(copy: Path) -> None:
    content = f"# {VAL} a remark\n\n #another\n{VAL} a # in a caption\n{VAL}\n{VAL}  \nunknown a clip of another list\n"
    assert captions(copy, content) == ("a # in a caption",)


def test_blanks_and_tabs(copy: Path) -> None:
    assert captions(copy, f"{VAL}\ta  cat \n  {VAL}   two cats\n") == ("a  cat", "two cats")


def test_windows_line_ends_and_byte_order_marks(copy: Path) -> None:
    for file in (copy / "msvd").glob("*.txt"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert [(e.id, e.texts) for e in MSVD.read(copy, "test")] == [(e.id, e.texts) for e in MSVD.read(SAMPLE, "test")]


def test_lines_in_the_encoding_of_windows(copy: Path) -> None:
    windows = f"{VAL} it\x92s a caf\xe9\n{VAL} \x81\n".encode("latin-1")
    unicode = f"{VAL} it\u2019s a caf\xe9\n".encode()
    assert captions(copy, windows + unicode) == ("it\u2019s a caf\xe9", "\ufffd", "it\u2019s a caf\xe9")


def test_only_line_breaks_end_a_line(copy: Path) -> None:
    assert captions(copy, f"{VAL} a cat\u2028sits\x85down\x0chere\n") == ("a cat\u2028sits\x85down\x0chere",)


def test_lists_may_have_endings(copy: Path) -> None:
    (copy / "msvd/test_list.txt").write_text(f"{TEST[1]}.avi\n{TEST[0]}\n")
    assert ids(copy, "test") == TEST[::-1]


def test_missing_clips_are_yielded_where_they_should_be(copy: Path) -> None:
    gone = copy / f"msvd/YouTubeClips/{TEST[1]}.avi"
    gone.unlink()
    assert [example.media for example in MSVD.read(copy, "test")][1] == (gone,)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test_list.txt", "\n# none\n", r"test_list\.txt lists no clip: write one name a line, or fetch it again"),
        ("test_list.txt", f"{TEST[0]}\n{TEST[1]}\n{TEST[0]}.avi\n", f"lists the clip {TEST[0]} twice: drop one"),
        ("test_list.txt", f"{TEST[0]}\nvid1\n", "has no caption for 1 clips such as vid1: fetch the file again"),
        (CAPTIONS, f"{TEST[0]} a cat\n", f"has no caption for 1 clips such as {TEST[1]}"),
    ],
)
def test_broken_files_are_refused(copy: Path, name: str, content: str, message: str) -> None:
    (copy / "msvd" / name).write_text(content)
    with pytest.raises(BadExample, match=message):
        ids(copy, "test")


def test_a_missing_list_is_named(copy: Path) -> None:
    (copy / "msvd/test_list.txt").unlink()
    with pytest.raises(MissingFile, match=r"msvd has no test_list\.txt\. Expected below the data root"):
        ids(copy, "test")


def test_files_that_cannot_be_opened(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coca_cli.datasets.msvd.find_beside", lambda folder, places, name: folder)
    with pytest.raises(MissingFile, match=r"cannot read .*msvd: Is a directory\. Expected below the data root"):
        ids(copy, "test")


def test_unknown_split() -> None:
    with pytest.raises(UnknownName, match="unknown split of msvd 'valid'"):
        ids(SAMPLE, "valid")
