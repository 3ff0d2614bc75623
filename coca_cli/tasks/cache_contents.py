"""What the cache holds, whose it is, and how it is emptied."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from coca_cli.errors import CocaError
from coca_cli.json_text import parse_json
from coca_cli.tasks.feature_store import FACTS_FILE, FOLDER
from coca_cli.tasks.text_cache import FACTS

UNKNOWN = "?"
TEXTS = ("classifiers", "captions")
DIGEST = re.compile("[0-9a-f]{20}")


class CacheEntry(NamedTuple):
    """The features of one set, or the embeddings of one list of texts.

    Attributes:
        path: A folder or a file.
        kind: What they are: features, classifiers or captions.
        model: Whose.
        weights: Short hash.
        dataset: Of what, with the split.
        precision: Number format of the weights.
        size: Bytes.
        written: When it was last written, in seconds since 1970.
    """

    path: Path
    kind: str
    model: str
    weights: str
    dataset: str
    precision: str
    size: int
    written: float


def list_cache(cache: Path) -> list[CacheEntry]:
    """All entries, the last written first; none where there is no cache.

    Raises:
        CocaError: The folder cannot be read.
    """
    try:
        found = [_entry(path) for path in _entries(cache.expanduser())]
    except OSError as error:
        raise CocaError(f"the cache {cache} cannot be read: {error.strerror}; name another with --cache-dir") from None
    return sorted(found, key=lambda entry: -entry.written)


def choose_entries(
    entries: Sequence[CacheEntry], words: Sequence[str], older_than: float | None, now: float
) -> list[CacheEntry]:
    """The entries that a user means.

    Args:
        entries: All.
        words: Each stands in the model, the weights' hash, the dataset or the kind, in capitals or not; none: all.
        older_than: Days since they were written; None: whenever.
        now: Seconds since 1970.
    """
    return [
        entry
        for entry in entries
        if all(any(word.lower() in part.lower() for part in entry[1:6]) for word in words)
        and (older_than is None or now - entry.written > older_than * 86_400)
    ]


def clear_entries(entries: Iterable[CacheEntry]) -> int:
    """Remove entries; the bytes that they took.

    Raises:
        CocaError: One cannot be removed.
    """
    freed = 0
    for entry in entries:
        try:
            shutil.rmtree(entry.path) if entry.path.is_dir() else entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise CocaError(f"cannot remove {entry.path} from the cache: {error.strerror}; is it yours?") from None
        freed += entry.size
    return freed


def _entries(cache: Path) -> Iterator[Path]:
    """What `coca` itself writes, by folder and name: whoever names another folder must lose nothing in it."""
    for kind in (FOLDER, *TEXTS):
        folder = cache / kind
        for path in folder.iterdir() if folder.is_dir() else ():
            if DIGEST.fullmatch(path.stem) and path.suffix == ("" if kind == FOLDER else ".safetensors"):
                yield path


def _entry(path: Path) -> CacheEntry:
    files = [file for file in path.iterdir() if file.is_file()] if path.is_dir() else [path]
    facts, states = _facts(path), [file.stat() for file in files]
    dataset = " ".join(str(facts[key]) for key in ("dataset", "split", "kind") if key in facts)
    return CacheEntry(
        path,
        path.parent.name,
        str(facts.get("model", UNKNOWN)),
        str(facts.get("weights", UNKNOWN)),
        dataset or UNKNOWN,
        str(facts.get("precision", UNKNOWN)),
        sum(state.st_size for state in states),
        max((state.st_mtime for state in states), default=0.0),
    )


def _facts(path: Path) -> Mapping[str, Any]:
    """Whose an entry is; nothing where its file does not say."""
    try:
        if path.parent.name == FOLDER:
            found = parse_json((path / FACTS_FILE).read_text(encoding="utf-8"))
        else:
            with safe_open(path, framework="numpy") as file:
                found = parse_json((file.metadata() or {}).get(FACTS, "{}"))
    except (OSError, SafetensorError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
