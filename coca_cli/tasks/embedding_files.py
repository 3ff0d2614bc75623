"""Embeddings on disk for other programs: .npz for NumPy, .parquet for tables; written as they come."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from coca_cli.errors import CocaError
from coca_cli.files import written_whole

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetWriter

Add = Callable[[Sequence[str], str, NDArray[np.float32]], None]
"""Takes the ids of n items, what they are, and their embeddings (n, D) fp32."""


def check_ending(path: Path, option: str = "--output") -> None:
    """See that the format of a file is known by its ending.

    Args:
        path: The file.
        option: Where the user named it.

    Raises:
        CocaError: It is not.
    """
    if path.suffix.lower() not in WRITERS:
        raise CocaError(f"{option} {path}: the format is known by the ending; use {' or '.join(WRITERS)}")


def opened_embeddings(path: Path, about: Mapping[str, object]) -> AbstractContextManager[Add]:
    """A file that takes embeddings part by part, and is there once all are in it.

    Args:
        path: Its ending tells the format. An .npz has the arrays `ids`, `kinds`, `embeddings` (n, D) fp32, and `about`,
            a JSON text; a .parquet has the columns `id`, `kind` and `embedding`, a list of D fp32 numbers, and `about`
            as the schema's metadata.
        about: How the embeddings were made.
    """
    return WRITERS[path.suffix.lower()](path, json.dumps(about, default=str))


@contextmanager
def _opened_npz(path: Path, about: str) -> Iterator[Add]:
    ids: list[str] = []
    kinds: list[str] = []
    widths: set[int] = set()
    with written_whole(path) as target, tempfile.TemporaryFile(dir=path.parent) as raw:

        def add(names: Sequence[str], kind: str, embeddings: NDArray[np.float32]) -> None:
            ids.extend(names)
            kinds.extend([kind] * len(names))
            widths.add(embeddings.shape[1])
            raw.write(np.ascontiguousarray(embeddings, dtype="<f4").tobytes())

        yield add
        raw.seek(0)
        with zipfile.ZipFile(target, "w") as archive:
            for name, words in (("ids", ids), ("kinds", kinds), ("about", about)):
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    npy.write_array(file, np.array(words, dtype=np.str_), allow_pickle=False)
            with archive.open("embeddings.npy", "w", force_zip64=True) as file:
                _copy_matrix(raw, file, (len(ids), max(widths, default=0)))


def _copy_matrix(raw: IO[bytes], file: IO[bytes], shape: tuple[int, int]) -> None:
    """A whole .npy of fp32 numbers whose bytes stand in another file."""
    npy.write_array_header_2_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    shutil.copyfileobj(raw, file, 1 << 20)


@contextmanager
def _opened_parquet(path: Path, about: str) -> Iterator[Add]:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    writers: list[ParquetWriter] = []
    with written_whole(path) as target:

        def add(names: Sequence[str], kind: str, embeddings: NDArray[np.float32]) -> None:
            rows = pyarrow.array(np.ascontiguousarray(embeddings, dtype=np.float32).ravel())
            columns = {
                "id": pyarrow.array(list(names), pyarrow.string()),
                "kind": pyarrow.array([kind] * len(names), pyarrow.string()),
                "embedding": pyarrow.FixedSizeListArray.from_arrays(rows, embeddings.shape[1]),
            }
            table = pyarrow.table(columns, metadata={"about": about})
            if not writers:
                writers.append(ParquetWriter(target, table.schema))
            writers[0].write_table(table)

        try:
            yield add
        finally:
            for writer in writers:
                writer.close()


WRITERS: dict[str, Callable[[Path, str], AbstractContextManager[Add]]] = {
    ".npz": _opened_npz,
    ".parquet": _opened_parquet,
}
