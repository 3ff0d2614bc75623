from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from coca_cli.datasets.shards import MOST_TEXT, expand_shards, natural_order, read_shard, split_name
from coca_cli.errors import BadExample, CocaError, MissingFile

BLOCK = tarfile.BLOCKSIZE


def write_shard(path: Path, members: Iterable[tuple[str, bytes | str]], format: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as archive:
        for name, content in members:
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_special(path: Path, name: str, kind: bytes, target: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadExample) as error:
        list(read_shard(path))
    assert str(path) in str(error.value)
    return str(error.value)


def test_members_of_one_key_are_one_entry(tmp_path: Path) -> None:
    shard = write_shard(
        tmp_path / "a.tar",
        [
            ("set/0.JPG", b"first picture"),
            ("set/0.txt", "\ufeffa caption"),
            ("set/0.cls", "7"),
            ("set/1.seg.png", b"mask"),
            ("set/1.png", b"second picture"),
        ],
    )

    first, second = read_shard(shard)

    assert (first.key, list(first.members), first.texts) == (
        "set/0",
        ["jpg", "txt", "cls"],
        {"txt": "a caption", "cls": "7"},
    )
    assert first.members["jpg"].read_bytes() == b"first picture"
    assert (second.key, list(second.members), second.texts) == ("set/1", ["seg.png", "png"], {})
    assert second.members["png"].read_bytes() == b"second picture"
    assert second.members["png"].name == "set/1.png"


def test_only_the_texts_asked_for_are_read(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), ("0.cls", "1"), ("0.json", "{}")])

    (entry,) = read_shard(shard, texts=("json",))

    assert entry.texts == {"json": "{}"}


def test_picture_bytes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = write_shard(tmp_path / "a.tar", [(f"{n}.jpg", bytes(100_000)) for n in range(10)])
    read: list[int] = []

    class Counting(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size) or b""
            read.append(len(data))
            return data

    monkeypatch.setattr(Path, "open", lambda path, mode: Counting(path, mode))

    assert len(list(read_shard(shard))) == 10
    assert 0 < sum(read) < 20 * BLOCK


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0001.jpg", ("0001", "jpg")),
        ("a.b/c.d.E", ("a.b/c", "d.e")),
        ("/abs/x.JPEG", ("/abs/x", "jpeg")),
        ("../up.png", ("../up", "png")),
        ("README", ("README", "")),
        ("folder/._0001.jpg", ("folder/._0001.jpg", "")),
        ("__meta__.json", ("__meta__.json", "")),
        ("a/__key__.txt", ("a/__key__.txt", "")),
    ],
)
def test_names_are_split_at_the_first_dot_of_the_base_name(name: str, expected: tuple[str, str]) -> None:
    assert split_name(name) == expected


def test_names_are_keys_and_never_paths(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    shard = write_shard(
        folder / "a.tar", [("../out.jpg", b"x"), ("/tmp-absolute/in.jpg", b"y"), ("../../etc.txt", "t")]
    )
    before = sorted(tmp_path.rglob("*"))

    entries = list(read_shard(shard))

    assert [entry.key for entry in entries] == ["../out", "/tmp-absolute/in", "../../etc"]
    assert sorted(tmp_path.rglob("*")) == before


def test_folders_and_files_of_no_example_are_passed_over(tmp_path: Path) -> None:
    shard = tmp_path / "a.tar"
    with tarfile.open(shard, "w") as archive:
        for name, kind in (("set.v2", tarfile.DIRTYPE), ("latest", tarfile.SYMTYPE), ("._0.jpg", tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type = kind
            archive.addfile(info)

    assert list(read_shard(shard)) == []


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE],
)
def test_a_link_or_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")

    message = refusal(write_special(tmp_path / "a.tar", "0.jpg", kind, str(tmp_path / "secret.jpg")))

    assert "as a link, a device or a sparse file, which is never followed" in message
    assert "'0.jpg'" in message


def test_a_sparse_file_of_the_newer_kind_is_refused(tmp_path: Path) -> None:
    shard = tmp_path / "a.tar"
    with tarfile.open(shard, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("0.jpg")
        info.size = 4
        info.pax_headers = {"GNU.sparse.map": "0,4", "GNU.sparse.size": "100", "GNU.sparse.name": "0.jpg"}
        archive.addfile(info, io.BytesIO(b"data"))

    assert "sparse file, which is never followed" in refusal(shard)


def test_a_shard_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = write_shard(tmp_path / "whole.tar", [("0.jpg", bytes(700)), ("0.cls", "1"), ("1.jpg", bytes(300))])
    data, end = whole.read_bytes(), BLOCK * (3 + 1 + 1 + 1 + 1)
    assert data[end : end + BLOCK] == bytes(BLOCK)
    assert data[end - BLOCK : end] == bytes(BLOCK)  # the last picture is all zero here, so only its place tells the end
    cut = tmp_path / "cut.tar"

    for length in range(1, end + BLOCK, 100):
        cut.write_bytes(data[:length])
        refusal(cut)
    for length in (BLOCK, 1000, 3 * BLOCK, end, end + 10):
        cut.write_bytes(data[:length])
        assert f"the shard {cut} is cut off or damaged (" in refusal(cut)
    cut.write_bytes(data[: end + BLOCK])
    assert len(list(read_shard(cut))) == 2


def test_a_damaged_header_is_not_the_end(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), ("1.jpg", b"y"), ("2.jpg", b"z")])
    data = bytearray(shard.read_bytes())
    data[2 * BLOCK + 5] ^= 0xFF
    shard.write_bytes(data)

    assert "a damaged header at byte 1,024" in refusal(shard)


def test_a_false_size_does_not_lead_back(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), ("1.jpg", b"y")])
    data = bytearray(shard.read_bytes())
    header = data[2 * BLOCK : 3 * BLOCK]
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"  # -1,024 in tar's binary notation
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[2 * BLOCK : 3 * BLOCK] = header
    shard.write_bytes(data)

    message = refusal(shard)

    assert "the header of '1.jpg' is false" in message or "cut off or damaged" in message


@pytest.mark.parametrize(
    ("kind", "compress"),
    [
        ("gzip", gzip.compress),
        ("bzip2", bz2.compress),
        ("xz", lzma.compress),
        ("zstd", lambda data: b"\x28\xb5\x2f\xfd" + data),
    ],
)
def test_a_compressed_shard_is_refused(tmp_path: Path, kind: str, compress: Any) -> None:
    shard = write_shard(tmp_path / "a.tar", [("0.jpg", b"x")])
    shard.write_bytes(compress(shard.read_bytes()))

    assert f"is compressed with {kind}, so its members cannot be found by their place" in refusal(shard)


@pytest.mark.parametrize("content", [b"", b"no tar at all", bytes(range(256)) * 8])
def test_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)

    message = refusal(tmp_path / "a.tar")

    assert "is not a tar file (" in message
    assert "\n" not in message


def test_an_empty_shard_has_no_examples(tmp_path: Path) -> None:
    assert list(read_shard(write_shard(tmp_path / "a.tar", []))) == []


@pytest.mark.parametrize("name", ["absent.tar", "folder.tar"])
def test_a_shard_that_is_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.tar").mkdir()

    with pytest.raises(MissingFile, match="cannot open the shard"):
        list(read_shard(tmp_path / name))


def test_members_of_one_key_must_stand_together(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), ("1.jpg", b"y"), ("0.cls", "0")])

    assert "holds the members of '0' in two places; the files of one example must follow" in refusal(shard)


def test_one_extension_comes_once_per_key(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", [("0.jpg", b"x"), ("0.JPG", b"y")])

    assert "holds '0.JPG' twice: pack it anew, with one jpg per key" in refusal(shard)


def test_a_large_text_is_refused_without_reading_it(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", [("0.txt", b"x" * (MOST_TEXT + 1))])

    assert "0.txt has 1,048,577 bytes, more than the 1,048,576 allowed for a text" in refusal(shard)


def test_a_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", [("0.txt", "na\xefve".encode("latin-1"))])

    assert "0.txt is not UTF-8 text (byte 2): write it as UTF-8" in refusal(shard)


def test_names_in_another_encoding_can_still_be_printed(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", [("naive.jpg", b"x")], format=tarfile.USTAR_FORMAT)
    data = bytearray(shard.read_bytes())
    data[2] = 0xEF
    header = data[:BLOCK]
    header[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(header)
    shard.write_bytes(data)

    (entry,) = read_shard(shard)

    assert entry.key == "na\\xefve"
    assert entry.key.encode("utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("train-2", "train-10", "train-0001", "val-0", "._train-2", "deep/x"):
        write_shard(tmp_path / f"{name}.tar", [])
    (tmp_path / "notes.txt").write_text("no shard")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (".", ["train-0001", "train-2", "train-10", "val-0"]),
        ("train-*.tar", ["train-0001", "train-2", "train-10"]),
        ("**/*.tar", ["deep/x", "train-0001", "train-2", "train-10", "val-0"]),
        ("train-{0001,2}.tar", ["train-0001", "train-2"]),
        ("train-{0001..0001}.tar", ["train-0001"]),
        ("{train,val}-[02].tar", ["train-2", "val-0"]),
        ("{train-2,val-0,train-2}.tar", ["train-2", "val-0"]),
        ("val-0.tar", ["val-0"]),
    ],
)
def test_patterns_are_expanded(folder: Path, pattern: str, expected: list[str]) -> None:
    assert [str(path.with_suffix("")) for path in expand_shards(pattern)] == expected
    assert [path.with_suffix("") for path in expand_shards(folder / pattern)] == [folder / name for name in expected]


@pytest.mark.parametrize(
    ("pattern", "stems"),
    [
        ("{0..11}", [str(number) for number in range(12)]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{0000..0002}", ["0000", "0001", "0002"]),
        ("{3..1}", ["1", "2", "3"]),
        ("{7..7}-{a,b}", ["7-a", "7-b"]),
    ],
)
def test_ranges_keep_their_zeros(tmp_path: Path, pattern: str, stems: list[str]) -> None:
    for stem in (*stems, "12", "0009"):
        write_shard(tmp_path / f"{stem}.tar", [])

    assert [shard.stem for shard in expand_shards(tmp_path / f"{pattern}.tar")] == stems


def test_a_name_with_braces_in_it_is_taken_as_it_is(tmp_path: Path) -> None:
    write_shard(tmp_path / "a{1,2}.tar", [])
    write_shard(tmp_path / "b{x}.tar", [])

    assert expand_shards(tmp_path / "a{1,2}.tar") == [tmp_path / "a{1,2}.tar"]
    assert expand_shards(tmp_path / "[b]{x}.tar") == [tmp_path / "b{x}.tar"]


def test_home_is_understood(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))

    assert expand_shards("~/val-*.tar") == [folder / "val-0.tar"]


@pytest.mark.parametrize("pattern", ["train-{0001..0002}.tar", "absent.tar", "test-*.tar", "absent/*.tar"])
def test_a_missing_shard_is_named(folder: Path, pattern: str) -> None:
    with pytest.raises(MissingFile, match="no such tar shard: ") as error:
        expand_shards(pattern)
    assert f"(asked for as {pattern}); look for a typing error" in str(error.value)


def test_a_folder_without_shards_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"no \*\.tar in the folder"):
        expand_shards(tmp_path)


@pytest.mark.parametrize("pattern", ["{0..99999999999}.tar", "{0..9999}{0..9999}.tar"])
def test_a_huge_range_is_refused_before_it_fills_the_memory(pattern: str) -> None:
    with pytest.raises(CocaError, match="stands for more than 1,000,000 shards: correct the range"):
        expand_shards(pattern)


def test_numbers_in_names_count_as_numbers() -> None:
    names = [Path(name) for name in ("10.tar", "9.tar", "a/2.tar", "a/010.tar")]

    assert [str(path) for path in sorted(names, key=natural_order)] == ["9.tar", "10.tar", "a/2.tar", "a/010.tar"]


def test_real_shards_hold_every_example_once(test_data: Path) -> None:
    shards = expand_shards(test_data / "rsicd" / "val-{0000..0001}.tar")

    entries = [entry for shard in shards for entry in read_shard(shard)]

    assert len(entries) == 1094
    assert all(set(entry.members) == {"jpg", "json"} and set(entry.texts) == {"json"} for entry in entries)
    with tarfile.open(shards[0]) as archive:
        name = entries[0].members["jpg"].name
        extracted = archive.extractfile(name)
        assert extracted is not None
        assert extracted.read() == entries[0].members["jpg"].read_bytes()
