"""Files on disk -> Example. No torch, no tensors, no downloads. One file per family of datasets."""

from __future__ import annotations

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
        raise UnknownName(unknown_name("dataset", name, shown))
    entry = DATASETS.get(word)
    if isinstance(entry, Dataset):
        if colon:
            raise CocaError(f"dataset {word!r} takes nothing after a colon; use -d {word}")
        return entry
    if not argument:
        raise CocaError(f"{word} needs to know where the data are: -d {word}:{entry.argument}")
    return entry.open(argument)
