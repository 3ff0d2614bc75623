"""Strange and spoiled tar shards: read whole or refused by name, from a disk and from a pipe; nothing is unpacked."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from coca_cli.datasets import find_dataset
from coca_cli.datasets.streams import read_stream
from coca_cli.media.images import read_image
from tests.faults.judging import MOST_LETTERS, NAMED, outcome
from tests.faults.shards import Shard, shards

SHARDS = shards()
each_shard = pytest.mark.parametrize("shard", SHARDS, ids=[shard.name for shard in SHARDS])


def read_from_disk(path: Path) -> int:
    dataset = find_dataset(f"wds:{path}")
    found = list(dataset.read(path.parent, dataset.splits[0]))
    for example in found:
        assert read_image(example.media[0]).size == (40, 30)
        "".join(example.texts).encode()
    return len(found)


def read_from_pipe(path: Path) -> int:
    found = list(read_stream("pairs", f"pipe:cat {shlex.quote(str(path))}"))
    for example in found:
        assert read_image(example.media[0]).size == (40, 30)
        "".join(example.texts).encode()
    return len(found)


@each_shard
@pytest.mark.parametrize("read", [read_from_disk, read_from_pipe])
def test_a_shard_is_read_or_named(shard: Shard, read: Callable[[Path], int], tmp_path: Path) -> None:
    path = tmp_path / "inside" / "train.tar"
    path.parent.mkdir()
    path.write_bytes(shard.content)
    found = outcome(lambda: read(path))
    assert found.count == shard.readable, found
    if found.count == NAMED:
        assert "train.tar" in found.message
        assert len(found.message) < MOST_LETTERS
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["train.tar"]  # nothing was unpacked
