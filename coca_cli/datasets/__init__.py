"""Files on disk -> Example. No torch, no tensors, no downloads. One file per family of datasets."""

from __future__ import annotations

from pathlib import Path

from coca_cli.datasets.example import Dataset, Scheme
from coca_cli.errors import CocaError, UnknownName
from coca_cli.registry import Registry, unknown_name

DATASETS: Registry[Dataset | Scheme] = Registry("coca_cli.datasets", (Dataset, Scheme), "dataset")


def find_dataset(name: str) -> Dataset:
    """The dataset that the user named: a registered name, or `scheme:argument` such as `folder:PATH`.

    Raises:
        UnknownName: No dataset or scheme of that name.
        CocaError: A scheme without its argument.
    """
    word, colon, argument = name.partition(":")
    shown = [f"{e.name}:{e.argument}" if isinstance(e, Scheme) else e.name for e in DATASETS.entries()]
    if word not in DATASETS.names():
        _refuse(name, shown)
    entry = DATASETS.get(word)
    if isinstance(entry, Dataset):
        if colon:
            raise CocaError(f"dataset {word!r} takes nothing after a colon; use -d {word}")
        return entry
    if not argument:
        raise CocaError(f"{word} needs to know where the data are: -d {word}:{entry.argument}")
    return entry.open(argument)


def _refuse(name: str, shown: list[str]) -> None:
    """Say that there is no such dataset; where a path was given alone, what to write before it.

    Raises:
        UnknownName: Always.
    """
    try:
        path = Path(name).expanduser()
        folder, file = bool(name) and path.is_dir(), path.is_file()
    except (OSError, RuntimeError):  # no name of a file at all
        folder = file = False
    if folder:
        raise UnknownName(
            f"no dataset is called {name}, but a folder is: folder:{name} reads its pictures by class, videos:{name} "
            f"its clips, wds:{name} its tar shards"
        )
    if file:
        raise UnknownName(
            f"no dataset is called {name}, but a file is: captions:{name} reads captioned pictures from it, "
            f"questions:{name} questions, python:{name} a dataset in Python"
        )
    raise UnknownName(unknown_name("dataset", name, shown))
