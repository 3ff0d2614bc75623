"""The user's own pictures, clips and texts: files, folders, globs and lists of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from coca_cli.datasets.example import Example
from coca_cli.datasets.image_folder import PICTURE_ENDINGS, is_picture
from coca_cli.datasets.shards import expand_files, natural_order
from coca_cli.datasets.video_files import VIDEO_ENDINGS, is_video
from coca_cli.errors import CocaError, MissingFile

TEXT_ENDING = ".txt"

Kind = Literal["picture", "clip", "text"]


class UserFiles(NamedTuple):
    """What was found, each file once, in the order in which it was named; folders in natural order.

    Attributes:
        pictures: id and one file each; the id is the path as it was given.
        clips: The same.
        texts: The lines of text files, with `texts` of one; the id is the path and the line's number.
    """

    pictures: list[Example]
    clips: list[Example]
    texts: list[Example]


def find_user_files(words: Iterable[str], *, texts: bool = False) -> UserFiles:
    """What the words of a command line stand for.

    Args:
        words: Files, folders (searched with all that is below them) and globs, such as 'photos/**/*.jpg'.
        texts: Whether text files are wanted too: one text a line, blank lines left out.

    Raises:
        MissingFile: A file or folder is not there, or a glob fits nothing.
        CocaError: A file of another kind was named, a folder holds nothing, or a text file is not UTF-8.
    """
    found = UserFiles([], [], [])
    seen: set[Path] = set()
    for word in words:
        for path in _expand(word, texts):
            place = path.resolve()
            if place not in seen:
                seen.add(place)
                _add(found, path, texts)
    return found


def read_list(lines: Iterable[str]) -> list[str]:
    """The paths of a list, one a line, as `find` and `ls` print them; blank lines are left out."""
    return [line.rstrip("\r\n") for line in lines if line.strip()]


def _expand(word: str, texts: bool) -> Iterator[Path]:
    path = Path(word).expanduser()
    if path.is_dir():
        inside = sorted(_files_below(path), key=natural_order)
        wanted = [file for file in inside if _kind(file, texts) is not None]
        if not wanted:
            raise CocaError(f"the folder {word} holds no {_noun(texts)}: name a folder or files with some")
        yield from wanted
    elif path.exists():
        if _kind(path, texts) is None:
            raise CocaError(f"{word} is {_no_kind(texts)} by its ending; known are {', '.join(_endings(texts))}")
        yield path
    else:
        wanted = [file for file in expand_files(word, _noun(texts)) if _kind(file, texts) is not None]
        if not wanted:
            raise MissingFile(f"nothing that fits {word} is {_kinds(texts)} by its ending")
        yield from wanted


def _files_below(folder: Path) -> Iterator[Path]:
    """All files that are not hidden; links to folders are not followed, so that none is searched for ever."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _kind(path: Path, texts: bool) -> Kind | None:
    if is_picture(path.name):
        return "picture"
    if is_video(path.name):
        return "clip"
    return "text" if texts and path.suffix.lower() == TEXT_ENDING else None


def _add(found: UserFiles, path: Path, texts: bool) -> None:
    kind = _kind(path, texts)
    if kind == "text":
        found.texts.extend(_lines(path))
    else:
        (found.pictures if kind == "picture" else found.clips).append(Example(path.as_posix(), (path,)))


def _lines(path: Path) -> Iterator[Example]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if text := line.strip():
                    yield Example(f"{path.as_posix()}:{number}", (), texts=(text,))
    except UnicodeDecodeError as error:
        raise CocaError(f"{path} is not UTF-8 text ({error.reason}): convert it, as with iconv") from None
    except OSError as error:
        raise MissingFile(f"{path} cannot be read: {error.strerror}; make it readable") from None


def _endings(texts: bool) -> tuple[str, ...]:
    return (*PICTURE_ENDINGS, *VIDEO_ENDINGS, *((TEXT_ENDING,) if texts else ()))


def _noun(texts: bool) -> str:
    return "picture, clip or text file" if texts else "picture or clip"


def _no_kind(texts: bool) -> str:
    return "neither a picture nor a clip nor a text file" if texts else "neither a picture nor a clip"


def _kinds(texts: bool) -> str:
    return "a picture, a clip or a text file" if texts else "a picture or a clip"
