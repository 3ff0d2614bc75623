"""Features of pictures and clips, computed once per weights, settings and data, and kept on disk for later runs.

Examples are cut in their order into parts of the same size. A part's features, the ids that they belong to and the
state of the files that they were made from stand in one safetensors file, which is written whole; so a killed job
keeps the parts that it finished, and a file that changed is computed anew.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from coca_cli.datasets.example import Example, Medium, Member, Pixels, Streamed
from coca_cli.errors import CocaError
from coca_cli.files import written_whole
from coca_cli.json_text import parse_json

PART = 256
"""Examples of one file; also the unit in which several processes share the work."""
VERSION = 2
"""Raised whenever a change moves a feature."""
FACTS_FILE = "facts.json"
FOLDER = "features"


class Part(NamedTuple):
    """The features of consecutive examples.

    Attributes:
        rows: For each row of `features`, the number of its example within the part.
        features: (n, ...) one row per example that could be read.
        unreadable: Number within the part -> why the example has none.
    """

    rows: list[int]
    features: Tensor
    unreadable: dict[int, str]


class FeatureStore:
    """The parts of one set under one setting.

    Args:
        cache: The folder of all caches; None keeps nothing.
        facts: All that decides the features: weights, image settings, dataset, split, number format.
        warn: Told once when nothing can be kept; the run goes on.
    """

    def __init__(self, cache: Path | None, facts: Mapping[str, object], warn: Callable[[str], None]) -> None:
        self.facts = {"version": VERSION, **facts}
        digest = hashlib.sha256(json.dumps(self.facts, sort_keys=True, default=str).encode()).hexdigest()[:20]
        self.folder = None if cache is None else cache.expanduser() / FOLDER / digest
        self._warn = warn

    def read(self, number: int, examples: Sequence[Example], *, seen: bool = False) -> Part | None:
        """The features of a part, if they are there and its files are as they were.

        Args:
            number: Which part.
            examples: Its examples; may be fewer than were stored, as with another `--limit`.
            seen: `holds` or `write` saw the files a moment ago; looking twice is most of what reading takes.
        """
        known = self._known(number, examples, seen=seen)
        if known is None:
            return None
        try:
            with safe_open(self._path(number), framework="pt") as file:
                features = file.get_tensor("features")
        except (OSError, SafetensorError):
            return None
        count = len(examples)
        rows = [row for row in known["rows"] if row < count]
        unreadable = {int(row): reason for row, reason in known["unreadable"].items() if int(row) < count}
        return Part(rows, features[: len(rows)], unreadable)

    def holds(self, number: int, examples: Sequence[Example]) -> bool:
        """Whether `read` would find the part; its features stay on disk."""
        return self._known(number, examples) is not None

    def _known(self, number: int, examples: Sequence[Example], *, seen: bool = False) -> dict[str, Any] | None:
        """What the file of a part says of itself, if it is there and about these examples as they are now."""
        if self.folder is None:
            return None
        try:
            with safe_open(self._path(number), framework="pt") as file:
                known: dict[str, Any] = parse_json(file.metadata()["part"])
            ids, stamps = known["ids"][: len(examples)], known["stamps"][: len(examples)]
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None  # not there yet, or damaged: made anew and replaced
        if ids != [example.id for example in examples]:
            return None
        return known if seen or stamps == [stamp_of(example) for example in examples] else None

    def write(self, number: int, examples: Sequence[Example], part: Part) -> None:
        """Keep a part, in place of an earlier one."""
        if self.folder is None:
            return
        known = {
            "ids": [example.id for example in examples],
            "stamps": [stamp_of(example) for example in examples],
            "rows": part.rows,
            "unreadable": part.unreadable,
        }
        try:
            if not (self.folder / FACTS_FILE).is_file():
                with written_whole(self.folder / FACTS_FILE) as file:
                    file.write_text(json.dumps(self.facts, indent=2, default=str) + "\n", encoding="utf-8")
            with written_whole(self._path(number)) as file:
                save_file({"features": part.features.contiguous()}, file, metadata={"part": json.dumps(known)})
        except (CocaError, OSError, SafetensorError) as error:
            self._warn(f"features are not kept for the next run: {error}")
            self.folder = None

    def _path(self, number: int) -> Path:
        assert self.folder is not None
        return self.folder / f"{number:05d}.safetensors"


def parts_of(examples: Sequence[Example]) -> list[Sequence[Example]]:
    """The examples in parts of the size that files have."""
    return [examples[start : start + PART] for start in range(0, len(examples), PART)]


def stamp_of(example: Example) -> list[str]:
    """What tells whether an example is still the same: its files' sizes and times, what drawn pictures look like; of
    an example without files, its texts.
    """
    if not example.media:
        return [f"texts {zlib.crc32(json.dumps(example.texts).encode())}"]
    return [_stamp(medium) for medium in example.media]


def _stamp(medium: Medium) -> str:
    if isinstance(medium, Pixels) and callable(medium.drawn):
        return f"drawn as {medium.name}"  # what draws it is of the dataset's version, which the facts name
    if isinstance(medium, Pixels):
        return f"drawn {zlib.crc32(medium.array.tobytes())}"
    if isinstance(medium, Streamed):
        return f"streamed {zlib.crc32(medium.data)}"
    file, place = (medium.tar, f"{medium.offset}+{medium.size} ") if isinstance(medium, Member) else (medium, "")
    try:
        found = file.stat()
    except OSError:
        return f"{place}absent"
    return f"{place}{found.st_size} {found.st_mtime_ns}"
