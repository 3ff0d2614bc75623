"""Files that appear whole or not at all, and folders that can be written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coca_cli.errors import CocaError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Hand out a temporary name beside `path`; rename it to `path` when the block ends well, else remove it.

    Raises:
        CocaError: The folder cannot be written, or is itself in the file's place.
    """
    make_folder(path.parent)
    try:
        if path.is_dir():
            raise CocaError(f"cannot write the file {path}: a folder of that name is in its place; choose another name")
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise CocaError(f"cannot write {path}: {error.strerror}; choose another place") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner may read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make the folder and its parents, and see that files can be written into it.

    Raises:
        CocaError: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CocaError(f"cannot write into the folder {folder}: {error.strerror}; choose another place") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
