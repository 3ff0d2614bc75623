"""Pictures with captions to evaluate on, found from what the user typed: never the part for training."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from coca_cli.datasets import DATASETS
from coca_cli.datasets.captions import VIDEOS, open_captions
from coca_cli.datasets.example import Dataset, Scheme
from coca_cli.datasets.picture_sets import PictureSet, find_picture_sets, holds_shards
from coca_cli.datasets.sources import find_source
from coca_cli.errors import CocaError


def find_captioned(text: str, root: Path) -> PictureSet:
    """What the user named.

    A registered dataset gives the split that papers evaluate, shards the first split that is not for training, a
    caption file with splits its `test`, else its `val`; a table, a file without splits or a folder gives all.

    Args:
        text: A dataset's name, a scheme with its path, shards, a caption file, a table or a folder.
        root: The data root, below which named datasets lie.

    Raises:
        UnknownName: No such dataset or split.
        MissingFile: No such path, or no picture in it.
        BadExample: It cannot be read.
        CocaError: It holds clips.
    """
    name = text.removeprefix("pairs:")
    path = Path(name).expanduser()
    word = name.partition(":")[0]
    if word in DATASETS.names() and _holds_clips(DATASETS.get(word)):
        raise CocaError(f"{name} holds clips, and here pictures are looked for: name a set of pictures")
    if word in DATASETS.names() or path.suffix.lower() == ".tar" or holds_shards(path):
        return find_picture_sets(name, root)[0]
    if path.suffix.lower() == ".json":
        found = open_captions(name)
        return PictureSet(name, partial(found.read, root, found.splits[0]))
    return PictureSet(name, find_source(text, root).read)


def _holds_clips(entry: Dataset | Scheme) -> bool:
    return entry.media == "video" if isinstance(entry, Dataset) else entry is VIDEOS
