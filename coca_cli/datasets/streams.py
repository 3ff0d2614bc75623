"""Tar shards that can only be read from front to back: what a command prints, and what a web server sends."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from coca_cli.datasets.entries import captions_of, class_of, labels_of, picture_of, record_of
from coca_cli.datasets.example import Example, Streamed
from coca_cli.datasets.image_folder import is_picture
from coca_cli.datasets.pairs import Kind
from coca_cli.datasets.shards import (
    TEXT_EXTENSIONS,
    Found,
    belongs,
    expand_braces,
    group_members,
    read_text,
    split_name,
)
from coca_cli.errors import BadExample, MissingFile
from coca_cli.extras import needs

STARTS = ("pipe:", "http://", "https://")
DRAINED = 1 << 26  # bytes read on after a damaged place, to learn whether the command fails as well
CURL_EXITS = {  # what curl, which fetches for webdataset, means by them
    6: "there is no such server",
    7: "the server does not answer",
    18: "the file was cut off on the way",
    22: "the server refuses it, or has no such file",
    28: "the server took too long",
    56: "the connection broke",
}


def is_stream(text: str) -> bool:
    """Whether the user typed a command or an address, not a file."""
    return text.startswith(STARTS)


def expand_streams(text: str) -> tuple[str, ...]:
    """The streams that a pattern with braces stands for, in its order.

    Raises:
        CocaError: The braces stand for too many.
    """
    return tuple(expand_braces(text))


def read_stream(kind: Kind, stream: str) -> Iterator[Example]:
    """The examples of one stream with pictures in memory, also those without texts.

    Args:
        kind: What the texts are: captions or class names.
        stream: `pipe:COMMAND`, which the shell runs, or the address of a tar file, compressed or not.

    Raises:
        MissingFile: The command fails, or the server does not send the file.
        BadExample: The tar is cut off or damaged, or an entry cannot be read; a class index has no name.
    """
    for entry in group_members(stream, _members(stream)):
        picture = picture_of(entry)
        if picture is None:
            continue
        record = record_of(entry)
        value = class_of(entry, record, listed=True)
        texts = captions_of(entry, record) if kind == "pairs" else labels_of(entry, record)
        if kind == "labels" and not texts and value is not None:
            name = class_of(entry, record, listed=False)
            if not isinstance(name, str):
                raise BadExample(
                    f"{picture} has the class index {value} and no class name, and a stream has no list of names: "
                    'write "class": "NAME" into each KEY.json, or give the shards as files'
                )
            texts = (name,)
        label = value if isinstance(value, int) and len(texts) == 1 else None
        yield Example(f"{stream}:{entry.key}", (picture,), label if kind == "labels" else None, texts)


class _StrictInfo(tarfile.TarInfo):
    """A header that is cut off or false is an error; tarfile takes it for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _StrictInfo:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


def _members(stream: str) -> Iterator[Found]:
    """The pictures and texts of a stream; webdataset's own loop would take a cut-off tar for a whole one."""
    with _opened(stream) as file, _as_tar(file) as archive:
        while (info := archive.next()) is not None:
            vars(archive)["members"].clear()  # tarfile keeps every header otherwise
            if not belongs(stream, info):
                continue
            extension = split_name(info.name)[1]
            if extension not in TEXT_EXTENSIONS and not is_picture(f".{extension}"):
                continue
            name = f"{stream}:{info.name}"
            content = archive.extractfile(info)
            assert content is not None  # a regular file
            if extension in TEXT_EXTENSIONS:
                text = read_text(name, info.size, content.read)
                yield Found(info.name, Streamed(b"", name), text)
            else:
                yield Found(info.name, Streamed(content.read(), name), None)


def _as_tar(file: Any) -> tarfile.TarFile:
    return tarfile.open(fileobj=file, mode="r|*", tarinfo=_StrictInfo, encoding="utf-8", errors="backslashreplace")


@contextmanager
def _opened(stream: str) -> Iterator[Any]:
    """The bytes of a stream, from webdataset's opener; at the end it is known whether they came whole."""
    with needs("train", "reading streams"):
        from webdataset.gopen import gopen

    try:
        pipe = gopen(stream)
    except OSError as error:
        raise MissingFile(f"cannot start what reads {stream}: {error}; install it or give a file") from error
    whole = False
    try:
        yield pipe.stream
        while pipe.stream.read(1 << 20):
            pass
        _refuse_failure(stream, pipe.proc.wait())
        whole = True
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:
        if _ends_soon(pipe.stream):
            _refuse_failure(stream, pipe.proc.wait())
        raise BadExample(f"the stream {stream} is no tar file, cut off or damaged ({error}): look at it") from error
    finally:
        if not whole:
            pipe.proc.terminate()  # the reader has seen enough
        with suppress(OSError):
            pipe.close()


def _ends_soon(file: Any) -> bool:
    return any(not file.read(1 << 20) for _ in range(DRAINED >> 20))


def _refuse_failure(stream: str, code: int) -> None:
    if not code:
        return
    if stream.startswith("pipe:"):
        raise MissingFile(f"the command of {stream} failed with exit code {code}: try it by itself in a shell")
    why = CURL_EXITS.get(code, "see the exit codes of curl")
    raise MissingFile(f"cannot fetch {stream}: {why} (curl ended with {code}); check the address")
