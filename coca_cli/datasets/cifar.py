"""CIFAR-10 and CIFAR-100: 32 x 32 photographs, as folders of pictures or as the original pickled batches.

A pickle can run any code while it is read. The batches need nothing but lists, texts and arrays of bytes, so the
reader here builds these itself and refuses a file that asks for anything else.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coca_cli.datasets.example import Dataset, Example, Pixels, Prompts
from coca_cli.datasets.image_folder import (
    check_split,
    has_folder_of,
    locate,
    missing,
    read_class_folders,
    read_facts,
)
from coca_cli.errors import BadExample

SPLITS = ("test", "train")
SIDE = 32  # pixels
CIFAR10_FOLDERS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Source: the 18 prompts that CLIP's authors publish for both sets.
_FORMS = (
    "a photo of a",
    "a blurry photo of a",
    "a black and white photo of a",
    "a low contrast photo of a",
    "a high contrast photo of a",
    "a bad photo of a",
    "a good photo of a",
    "a photo of a small",
    "a photo of a big",
)
TEMPLATES = tuple(f"{form.replace(' of a', article)} {{c}}." for article in (" of a", " of the") for form in _FORMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How one of the two sets lies on disk.

    Attributes:
        name: The dataset's name and the name of its folder.
        folders: Names of the class folders, in the order of the labels; the class names have spaces for `_`.
        batch_folder: Where the pickled batches lie.
        batches: Names of the batch files of each split.
        labels_field: What a batch calls its labels.
        meta: The file, and its field, that lists the classes.
    """

    name: str
    folders: tuple[str, ...]
    batch_folder: str
    batches: Mapping[str, tuple[str, ...]]
    labels_field: str
    meta: tuple[str, str]

    @property
    def layout(self) -> str:
        """The files expected below the data root."""
        files = ", ".join(file for split in SPLITS for file in self.batches[split])
        return "\n".join(
            (
                f"{self.name}/SPLIT/CLASS/*.png      (SPLIT: {', '.join(SPLITS)}; CLASS such as {self.folders[0]})",
                f"or {self.name}/{self.batch_folder}/ with {files}",
            )
        )

    @property
    def labels(self) -> dict[str, int]:
        """Label by name of the class folder."""
        return {folder: label for label, folder in enumerate(self.folders)}


class _Array:
    """Stands in for a NumPy array, so that no code of NumPy sees what a file claims before it is checked."""

    shape: Any = ()
    kind: Any = None
    fortran: Any = False
    content: Any = b""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.kind, self.fortran, self.content = state

    def rows(self, count: int) -> NDArray[np.uint8] | None:
        """(count, 3072) uint8; None where the file holds another array."""
        shape = (count, 3 * SIDE * SIDE)
        bytes_only = isinstance(self.kind, _Kind) and self.kind.name in (b"u1", "u1") and type(self.content) is bytes
        if not bytes_only or self.shape != shape or len(self.content) != count * shape[1]:
            return None
        return np.frombuffer(self.content, np.uint8).reshape(shape, order="F" if self.fortran else "C")


class _Kind:
    """Stands in for a NumPy dtype."""

    name: Any = None

    def __init__(self, name: object = None, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Byte order and fields, of which uint8 has none."""


_STAND_INS: dict[tuple[str, str], type] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
}


class _AsksForCode(Exception):  # noqa: N818 - never leaves this module
    """A pickle names something that is no array."""


class _BatchUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> type:
        if (module_name, global_name) not in _STAND_INS:
            raise _AsksForCode(f"{module_name}.{global_name}")
        return _STAND_INS[module_name, global_name]


def _unpickle(file: Path) -> dict[str, Any]:
    """The fields of one of the original files."""
    with file.open("rb") as stream:
        try:
            found = _BatchUnpickler(stream, encoding="bytes").load()
        except _AsksForCode as error:
            raise BadExample(
                f"{file} asks to run code ({error}), which no file of CIFAR does; download the set again"
            ) from None
        except Exception as error:  # a damaged pickle can end in nearly any exception
            raise BadExample(
                f"{file} is a damaged batch file ({type(error).__name__}: {error}); download the set again"
            ) from error
    if not isinstance(found, dict):
        raise BadExample(f"{file} holds a {type(found).__name__} instead of named fields; download the set again")
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): value for key, value in found.items()}


def read_batch(file: Path, labels_field: str, classes: int) -> tuple[NDArray[np.uint8], list[int]]:
    """One of the original batches.

    Args:
        file: The pickled batch.
        labels_field: What it calls its labels.
        classes: How many classes there are.

    Returns:
        Pictures, (n, 32, 32, 3) uint8 RGB, and n labels from 0 to `classes` - 1.

    Raises:
        BadExample: The file is damaged, asks to run code, or holds something else.
    """
    fields = _unpickle(file)
    labels, data = fields.get(labels_field), fields.get("data")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < classes for label in labels):
        raise BadExample(f"{file} has no list {labels_field!r} of numbers below {classes}; download the set again")
    rows = data.rows(len(labels)) if isinstance(data, _Array) else None
    if rows is None:
        raise BadExample(
            f"{file} has no uint8 array 'data' of shape ({len(labels)}, {3 * SIDE * SIDE}), one row per label; found "
            f"{getattr(data, 'shape', type(data).__name__)}; download the set again"
        )
    return rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), labels  # (n, 32, 32, 3)


def _check_class_order(family: Family, folder: Path) -> None:
    file, field = folder / family.meta[0], family.meta[1]
    if not file.is_file():
        return
    found = _unpickle(file).get(field)
    listed = found if isinstance(found, list) else []
    names = [name.decode("latin-1") if isinstance(name, bytes) else name for name in listed]
    if names != list(family.folders):
        raise BadExample(
            f"{file} lists other classes than {family.name} has, or in another order; use the original set"
        )


def _fits(family: Family, folder: Path) -> bool:
    in_folders = any(has_folder_of(folder / split, family.labels) for split in SPLITS)
    in_batches = any((folder / file).is_file() for file in family.batches["train"])
    return in_folders or in_batches or (folder / family.batch_folder).is_dir()


def _read(family: Family, root: Path, split: str) -> Iterator[Example]:
    check_split(family.name, split, SPLITS)
    folder = locate(root, (family.name,), partial(_fits, family), family.layout)
    if (folder / split).is_dir():
        yield from read_class_folders(folder / split, family.labels, family.layout)
        return
    if (folder / family.batch_folder).is_dir():
        folder = folder / family.batch_folder
    _check_class_order(family, folder)
    for name in family.batches[split]:
        if not (folder / name).is_file():
            raise missing(f"{folder} has neither a folder {split!r} nor the file {name!r}", family.layout)
    for name in family.batches[split]:
        pictures, labels = read_batch(folder / name, family.labels_field, len(family.folders))
        for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            place = f"{name}/{index:05d}"
            pixels = Pixels(np.ascontiguousarray(picture), f"{folder / name} row {index}")
            yield Example(id=place, media=(pixels,), label=label)


def _prompts(family: Family, root: Path) -> Prompts:
    return Prompts(tuple(folder.replace("_", " ") for folder in family.folders), TEMPLATES)


def _dataset(family: Family) -> Dataset:
    return Dataset(
        name=family.name,
        task="classification",
        splits=SPLITS,
        source="Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="see source",
        layout=family.layout,
        read=partial(_read, family),
        prompts=partial(_prompts, family),
    )


CIFAR10 = _dataset(
    Family(
        name="cifar10",
        folders=CIFAR10_FOLDERS,
        batch_folder="cifar-10-batches-py",
        batches={"test": ("test_batch",), "train": tuple(f"data_batch_{number}" for number in range(1, 6))},
        labels_field="labels",
        meta=("batches.meta", "label_names"),
    )
)
CIFAR100 = _dataset(
    Family(
        name="cifar100",
        folders=read_facts("cifar100_classes"),
        batch_folder="cifar-100-python",
        batches={"test": ("test",), "train": ("train",)},
        labels_field="fine_labels",
        meta=("meta", "fine_label_names"),
    )
)
