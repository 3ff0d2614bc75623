"""Sources of small pictures whose shade says which they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from coca_cli.datasets.example import Example, Pixels, Streamed
from coca_cli.datasets.pairs import Kind
from coca_cli.datasets.sources import Source


def examples_of(n: int, texts: int = 1, first: int = 0) -> list[Example]:
    """Pictures of one shade each, 10 times their number, and captions that begin with that number."""
    return [
        Example(
            f"picture {i}",
            (Pixels(np.full((10, 12, 3), 10 * i % 250, np.uint8), f"picture {i}"),),
            texts=tuple(f"{i} {t}" for t in range(texts)),
        )
        for i in range(first, first + n)
    ]


def broken(n: int) -> list[Example]:
    """Pictures that cannot be read."""
    return [
        Example(f"broken {i}", (Streamed(b"no picture", f"broken {i}.jpg"),), texts=("99 never",)) for i in range(n)
    ]


def with_broken(n: int, bad: int, name: str = "pairs") -> Source:
    """A source of n pictures, so many of them broken."""
    return pairs(examples_of(n - bad) + broken(bad), name)


def pairs(examples: Sequence[Example], name: str = "pairs") -> Source:
    """A source of these pairs."""
    return Source(name=name, kind="pairs", read=lambda: iter(examples))


def stream(
    shards: Mapping[str, Sequence[Example]],
    name: str = "stream",
    kind: Kind = "pairs",
    templates: tuple[str, ...] = (),
    read: list[str] | None = None,
) -> Source:
    """Shards that pass by; the ids of what has passed are noted in `read`."""

    def read_stream(shard: str) -> Iterator[Example]:
        for example in shards[shard]:
            if read is not None:
                read.append(example.id)
            yield example

    return Source(
        name=name,
        kind=kind,
        read=lambda: (example for shard in shards for example in read_stream(shard)),
        templates=templates,
        streams=tuple(shards),
        read_stream=read_stream,
    )
