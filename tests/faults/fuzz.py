"""Random bytes for the readers of annotations and shards, led by what they reach in the code. Run by hand:

    python -m pip install atheris
    python -m tests.faults.fuzz annotations|shards SECONDS [FOLDER]

Begins with the sound and the spoiled files of this folder's corpora. A refusal is right; any other exception ends the
run, and the bytes stay in FOLDER, to become a case of a corpus.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.annotations import FORMATS_BY_NAME, write_format
from tests.faults.changes import spoiled_bytes
from tests.faults.shards import shards

MOST_BYTES = 4096
PLACE = Path(tempfile.gettempdir()) / "coca-fuzz"


def read_annotations(content: bytes) -> None:
    """The first byte says which reader gets the others."""
    from coca_cli.datasets import find_dataset
    from coca_cli.errors import CocaError

    made = list(FORMATS_BY_NAME.values())[content[0] % len(FORMATS_BY_NAME)] if content else None
    if made is None:
        return
    file = PLACE / made.file
    file.write_bytes(content[1:])
    try:
        dataset = find_dataset(made.dataset.format(file=file))
        for example in dataset.read(PLACE, made.split if made.split in dataset.splits else dataset.splits[0]):
            "".join((example.id, *example.texts, example.question or "")).encode()
    except CocaError:
        return


def read_shards(content: bytes) -> None:
    """As a file and as a stream."""
    from coca_cli.datasets.shards import read_shard
    from coca_cli.errors import CocaError

    file = PLACE / "fuzzed.tar"
    file.write_bytes(content)
    try:
        for entry in read_shard(file):
            entry.key.encode()
    except CocaError:
        return


def seeds(target: str) -> list[bytes]:
    """What the fuzzer begins with."""
    if target == "shards":
        return [shard.content[:MOST_BYTES] for shard in shards()]
    found = []
    for number, made in enumerate(FORMATS_BY_NAME.values()):
        sound = made.write(made.document)
        found += [bytes([number]) + content for content in (sound, *(c for _, c, _ in spoiled_bytes(sound)))]
    return [content for content in found if len(content) <= MOST_BYTES]


TARGETS: dict[str, Callable[[bytes], None]] = {"annotations": read_annotations, "shards": read_shards}


def main() -> None:
    """Read the command line and fuzz."""
    import atheris

    target, seconds, *rest = sys.argv[1:]
    kept = Path(rest[0]) if rest else PLACE / "found"
    corpus = PLACE / "corpus" / target
    for folder in (kept, corpus):
        folder.mkdir(parents=True, exist_ok=True)
    for made in FORMATS_BY_NAME.values():
        write_format(PLACE, made, made.write(made.document))
    for number, content in enumerate(seeds(target)):
        (corpus / f"seed-{number:03}").write_bytes(content)
    read: Any = TARGETS[target]
    with atheris.instrument_imports(include=["coca_cli.datasets"]):
        read(b"\0")  # the readers are imported here
    limits = [f"-max_total_time={seconds}", f"-max_len={MOST_BYTES}", "-timeout=20", f"-artifact_prefix={kept}/"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
