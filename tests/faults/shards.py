"""Tar shards as careless and hostile people pack them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from typing import NamedTuple

from tests.faults.judging import NAMED
from tests.faults.pictures import encoded, photograph


class Shard(NamedTuple):
    """A shard of a corpus.

    Attributes:
        name: What is strange about it.
        content: Its bytes.
        readable: Examples that can be read from it; `NAMED` where it is refused.
    """

    name: str
    content: bytes
    readable: int


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """A header, with these fields changed, and what stands behind it."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def packed(members: Iterable[tuple[tarfile.TarInfo, bytes]], kind: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return buffer.getvalue()


def _sound(count: int = 3, picture: bytes = b"") -> list[tuple[tarfile.TarInfo, bytes]]:
    picture = picture or encoded(photograph(), "JPEG")
    made = []
    for number in range(count):
        made += [member(f"{number:04}.jpg", picture), member(f"{number:04}.txt", b"a dog on a beach")]
    return made


def _with_json(content: bytes) -> bytes:
    return packed([*_sound(2), member("9.jpg", encoded(photograph(), "JPEG")), member("9.json", content)])


def _spoiled(content: bytes, place: int, value: bytes) -> bytes:
    return content[:place] + value + content[place + len(value) :]


def shards() -> list[Shard]:
    """All of them; each has captions, where it has anything."""
    jpeg = encoded(photograph(), "JPEG")
    sound = packed(_sound())
    pair = [member("a.jpg", jpeg), member("a.txt", b"a red car")]
    outside = [member("../../evil.jpg", jpeg), member("../../evil.txt", b"a dog")]
    rooted = [member("/etc/evil.jpg", jpeg), member("/etc/evil.txt", b"a dog")]
    link = member("a.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")
    made: list[tuple[str, bytes, int]] = [
        ("sound", sound, 3),
        ("PAX headers", packed(_sound(), tarfile.PAX_FORMAT), 3),
        ("old headers", packed(_sound(), tarfile.USTAR_FORMAT), 3),
        ("names that lead outside", packed([*_sound(), *outside]), 4),
        ("names from the root", packed([*_sound(), *rooted]), 4),
        ("long names", packed([member(f"{'n' * 300}.jpg", jpeg), member(f"{'n' * 300}.txt", b"a dog")]), 1),
        ("names in letters of all kinds", packed([member("写真🦝.jpg", jpeg), member("写真🦝.txt", b"a dog")]), 1),
        (
            "folders inside",
            packed([member("f", type=tarfile.DIRTYPE), member("f/a.jpg", jpeg), member("f/a.txt", b"a")]),
            1,
        ),
        ("hidden files", packed([*pair, member("._a.jpg", b"x"), member(".DS_Store", b"x")]), 1),
        ("files without an ending", packed([*pair, member("README", b"x")]), 1),
        ("a symbolic link", packed([*_sound(), link, member("a.txt", b"a")]), NAMED),
        ("a hard link", packed([*_sound(), member("a.jpg", type=tarfile.LNKTYPE, linkname="0000.jpg")]), NAMED),
        ("a device", packed([*_sound(), member("a.jpg", type=tarfile.CHRTYPE)]), NAMED),
        ("a pipe", packed([*_sound(), member("a.jpg", type=tarfile.FIFOTYPE)]), NAMED),
        ("a sparse file", packed([*_sound(), member("a.jpg", type=tarfile.GNUTYPE_SPARSE)]), NAMED),
        ("members of a key apart", packed([*pair[:1], *_sound(1), *pair[1:]]), NAMED),
        ("a member twice", packed([*pair, member("a.jpg", jpeg)]), NAMED),
        ("a key twice", packed([*pair, *_sound(1), *pair]), NAMED),
        ("empty", b"", NAMED),
        ("zeros alone", bytes(10240), 0),
        ("half", sound[: len(sound) // 2], NAMED),
        ("half a header", sound[: 512 * 9 + 100], NAMED),
        ("no end", sound.rstrip(b"\0"), NAMED),
        ("a page", b"<!DOCTYPE html><html><body>Sign in</body></html>" * 40, NAMED),
        ("compressed", b"\x1f\x8b\x08\x00" + sound[:2000], NAMED),
        ("compressed otherwise", b"\x28\xb5\x2f\xfd" + sound[:2000], NAMED),
        ("a spoiled sum", _spoiled(sound, 148, b"000000"), NAMED),
        ("a spoiled size", _spoiled(sound, 124, b"77777777777"), NAMED),
        ("a size below zero", _spoiled(sound, 124, b"\xff" * 12), NAMED),
        ("a size beyond all disks", _spoiled(sound, 124, b"\x80" + b"\x7f" * 11), NAMED),
        ("no number for a size", _spoiled(sound, 124, b"size unknown"), NAMED),
        ("something in the middle", _spoiled(sound, 512 * 6, b"\xa5" * 512 * 3), NAMED),
        ("text that is no UTF-8", packed([*_sound(), member("a.jpg", jpeg), member("a.txt", b"caf\xe9")]), NAMED),
        ("text of a megabyte", packed([*_sound(), member("a.jpg", jpeg), member("a.txt", b"a " * 2**20)]), NAMED),
        ("JSON cut off", _with_json(b'{"captions": ["a dog'), NAMED),
        ("JSON nested too deep", _with_json(b"[" * 100_000), NAMED),
        ("JSON with numbers for captions", _with_json(b'{"captions": [1, 2]}'), NAMED),
        ("JSON with an object for captions", _with_json(b'{"captions": {"a": "b"}}'), NAMED),
        ("JSON with a byte order mark", _with_json(b'\xef\xbb\xbf{"caption": "a dog"}'), 3),
        ("JSON with half a character", _with_json(b'{"caption": "a dog \\ud83e"}'), 3),
    ]
    return [Shard(*one) for one in made]
