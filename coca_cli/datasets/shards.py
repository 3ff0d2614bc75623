"""Tar shards, read in place: members are found by offset and size, nothing is unpacked, no picture byte is read."""

from __future__ import annotations

import itertools
import re
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from coca_cli.datasets.example import Member, Streamed
from coca_cli.errors import BadExample, CocaError, MissingFile

TEXT_EXTENSIONS = frozenset({"cls", "txt", "json"})
MOST_TEXT = 1 << 20  # bytes of one text member: a caption file is far below, a mislabelled picture is not
MOST_NAMES = 1_000_000  # shards one pattern may stand for, so that a slip of the keyboard does not fill the memory

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


class Found(NamedTuple):
    """A member on the way.

    Attributes:
        name: Its name in the shard.
        member: Where it is, or its bytes.
        text: Its content, where it is a text that is asked for.
    """

    name: str
    member: Member | Streamed
    text: str | None


class Entry(NamedTuple):
    """The members of a shard that belong to one example.

    Attributes:
        key: The member's path up to the first dot of its base name; never used as a path.
        members: Lower-case extension (what follows that dot) -> the member, held in memory where a shard streams by.
        texts: Extension -> content, of the small text members that were asked for.
    """

    key: str
    members: dict[str, Member | Streamed]
    texts: dict[str, str]


def read_shard(path: Path, texts: Collection[str] = TEXT_EXTENSIONS) -> Iterator[Entry]:
    """The examples of one uncompressed tar shard, in its order.

    Args:
        path: The shard.
        texts: Extensions whose content is read on the way.

    Raises:
        MissingFile: The shard cannot be opened.
        BadExample: It is compressed, cut off, damaged or no tar; a key's members do not stand together or come twice;
            a member is a link; a text member is too large or not UTF-8.
    """
    with _open(path) as archive:
        yield from group_members(path, _with_texts(path, archive, texts))


def _with_texts(path: Path, archive: tarfile.TarFile, texts: Collection[str]) -> Iterator[Found]:
    for member in _members(path, archive):
        wanted = split_name(member.name)[1] in texts
        text = read_text(member, member.size, partial(_read_at, archive, member.offset)) if wanted else None
        yield Found(member.name, member, text)


def group_members(shard: object, members: Iterable[Found]) -> Iterator[Entry]:
    """The examples that the members of a shard make up.

    Args:
        shard: What the shard is called in messages.
        members: In its order.

    Raises:
        BadExample: A key's members do not stand together or come twice.

    Source: the grouping by key is that of the WebDataset format.
    """
    seen: set[str] = set()
    entry: Entry | None = None
    for name, member, text in members:
        key, extension = split_name(name)
        if entry is None or key != entry.key:
            if entry is not None:
                yield entry
            if key in seen:
                raise BadExample(
                    f"{shard} holds the members of {key!r} in two places; the files of one example must follow one "
                    "another: pack them anew, sorted by name"
                )
            seen.add(key)
            entry = Entry(key, {}, {})
        if extension in entry.members:
            raise BadExample(f"{shard} holds {name!r} twice: pack it anew, with one {extension} per key")
        entry.members[extension] = member
        if text is not None:
            entry.texts[extension] = text
    if entry is not None:
        yield entry


def belongs(shard: object, info: tarfile.TarInfo) -> bool:
    """Whether a member of a shard is a file of an example.

    Raises:
        BadExample: It would be, but is a link, a device or a sparse file.
    """
    if info.isdir() or not split_name(info.name)[1]:
        return False
    if not info.isreg() or info.issparse():
        raise BadExample(
            f"{shard} holds {info.name!r} as a link, a device or a sparse file, which is never followed: "
            "pack the file itself (tar --dereference --hard-dereference)"
        )
    return True


def split_name(name: str) -> tuple[str, str]:
    """A member's name as (key, lower-case extension); the extension is "" for names that belong to no example.

    Those are names without a dot, hidden files (macOS writes `._name.jpg`) and `__meta__` files.
    """
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    if not stem or (stem.startswith("__") and stem.endswith("__")):
        return name, ""
    return f"{folder}{slash}{stem}", extension.lower()


def read_text(member: object, size: int, read: Callable[[int], bytes]) -> str:
    """A small text member.

    Args:
        member: What it is called in messages.
        size: Its bytes.
        read: Gives so many of them.

    Raises:
        BadExample: It is too large for a text, or not UTF-8.
    """
    if size > MOST_TEXT:
        raise BadExample(
            f"{member} has {size:,} bytes, more than the {MOST_TEXT:,} allowed for a text: is it a text at all?"
        )
    try:
        return read(size).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadExample(f"{member} is not UTF-8 text (byte {error.start}): write it as UTF-8") from error


def expand_shards(pattern: str | Path) -> list[Path]:
    """The shards that a folder, a glob or a pattern such as `train-{0000..0008}.tar` or `{a,b}.tar` stands for.

    Returns:
        The paths in natural order (9.tar before 10.tar).

    Raises:
        MissingFile: There is none, or one that the braces name is not there.
        CocaError: The braces stand for too many names.
    """
    whole = Path(pattern).expanduser()
    if whole.is_dir():
        shards = [path for path in whole.glob("*.tar") if is_visible(path)]
        if not shards:
            raise MissingFile(
                f"no *.tar in the folder {whole}: give a folder of tar shards, or a pattern that ends in .tar"
            )
        return sorted(shards, key=natural_order)
    return expand_files(whole, "tar shard")


def expand_files(pattern: str | Path, noun: str) -> list[Path]:
    """The files that a glob or a pattern with braces stands for, as in `expand_shards`.

    Args:
        pattern: A path, a glob, a pattern.
        noun: What such a file is called in messages.

    Raises:
        MissingFile: There is none, or one that the braces name is not there.
        CocaError: The braces stand for too many names.
    """
    whole = Path(pattern).expanduser()
    if whole.is_file():
        return [whole]
    found: dict[Path, None] = {}
    for name in expand_braces(str(whole)):
        matches = _expand_glob(Path(name)) if _is_glob(name) else [Path(name)]
        if not matches or not all(path.is_file() for path in matches):
            raise MissingFile(f"no such {noun}: {name} (asked for as {pattern}); look for a typing error in the path")
        found.update(dict.fromkeys(matches))
    return sorted(found, key=natural_order)


def expand_braces(pattern: str) -> list[str]:
    """Every name that numeric ranges and comma lists in braces stand for; other braces stay as they are.

    Raises:
        CocaError: They stand for too many.
    """
    pieces: list[list[str]] = []
    count, end = 1, 0
    for match in _BRACES.finditer(pattern):
        choices = _brace_choices(match, pattern)
        count *= len(choices)
        _refuse_many(count, pattern)
        pieces += [[pattern[end : match.start()]], choices]
        end = match.end()
    return ["".join(chosen) for chosen in itertools.product(*pieces, [pattern[end:]])]


def natural_order(path: Path) -> tuple[tuple[int, str], ...]:
    """A sort key by which numbers inside names count as numbers."""
    pieces = re.split(r"(\d+)", path.as_posix())
    return tuple((int(piece), piece) if piece.isdecimal() else (-1, piece) for piece in pieces)


def is_visible(path: Path) -> bool:
    """False for files whose name begins with a dot, such as the ones macOS adds to copied folders."""
    return not path.name.startswith(".")


@contextmanager
def _open(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise MissingFile(f"cannot open the shard {path}: {error.strerror}; give the path of a tar file") from error
    with file:
        _refuse_compressed(path, file)
        with _as_tar(path, file) as archive:
            yield archive


def _as_tar(path: Path, file: IO[bytes]) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="backslashreplace")
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise BadExample(f"{path} is not a tar file ({error}): give uncompressed tar shards") from error


def _refuse_compressed(path: Path, file: IO[bytes]) -> None:
    start = file.read(8)
    file.seek(0)
    for magic, kind in _COMPRESSED.items():
        if start.startswith(magic):
            raise BadExample(
                f"{path} is compressed with {kind}, so its members cannot be found by their place: decompress it to "
                "a plain .tar (pictures are compressed already)"
            )


def _members(path: Path, archive: tarfile.TarFile) -> Iterator[Member]:
    """The regular files that belong to examples; raises BadExample where the shard ends before its end mark."""
    last = -1
    while (info := _next(path, archive)) is not None:
        vars(archive)["members"].clear()  # tarfile keeps every header otherwise: much memory for a big shard
        if info.size < 0 or info.offset <= last:
            raise BadExample(_damaged(path, f"the header of {info.name!r} is false"))
        last = info.offset
        if belongs(path, info):
            yield Member(path, info.name, info.offset_data, info.size)
    # tarfile takes a damaged header, and a file that just stops, for the end of the archive.
    end = _read_at(archive, archive.offset, tarfile.BLOCKSIZE)
    if end != bytes(tarfile.BLOCKSIZE):
        found = "a damaged header" if end else "no end mark"
        raise BadExample(_damaged(path, f"{found} at byte {archive.offset:,}"))


def _next(path: Path, archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    try:
        return archive.next()
    except (tarfile.TarError, ValueError, OverflowError, OSError) as error:
        raise BadExample(_damaged(path, str(error))) from error


def _damaged(path: Path, what: str) -> str:
    return f"the shard {path} is cut off or damaged ({what}): copy it again"


def _read_at(archive: tarfile.TarFile, offset: int, size: int) -> bytes:
    file = archive.fileobj
    assert file is not None  # set as long as the archive is open
    file.seek(offset)
    return bytes(file.read(size))


def _brace_choices(match: re.Match[str], pattern: str) -> list[str]:
    inside = match.group(1)
    if numbers := _RANGE.fullmatch(inside):
        first, last = sorted((int(numbers.group(1)), int(numbers.group(2))))
        _refuse_many(last - first + 1, pattern)
        padded = any(len(number) > 1 and number.startswith("0") for number in numbers.groups())
        width = max(map(len, numbers.groups())) if padded else 0
        return [f"{number:0{width}d}" for number in range(first, last + 1)]
    return inside.split(",") if "," in inside else [match.group(0)]


def _refuse_many(count: int, pattern: str) -> None:
    if count > MOST_NAMES:
        raise CocaError(f"{pattern} stands for more than {MOST_NAMES:,} shards: correct the range in the braces")


def _is_glob(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def _expand_glob(pattern: Path) -> list[Path]:
    depth = next(index for index, part in enumerate(pattern.parts) if _is_glob(part))
    start = Path(*pattern.parts[:depth])
    matches = start.glob(str(Path(*pattern.parts[depth:])))
    return [path for path in matches if path.is_file() and is_visible(path)]
