"""What an evaluation leaves behind: one row per number, and what one run did."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from coca_cli.errors import CocaError
from coca_cli.json_text import parse_json
from coca_cli.version import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One number: one row of a long table.

    Attributes:
        task: What was measured, such as "zeroshot".
        dataset: The name that the user typed after `--dataset`.
        dataset_version: The dataset's version; it rises whenever a change of the reader moves a score.
        split: Which part of the dataset.
        metric: The field's name of the number, such as "top-1".
        value: In the points that papers print: 0 to 100 for rates, CIDEr times 100. NaN where it is not defined.
        low: Lower end of the 95 % interval, in points.
        high: Upper end of the 95 % interval, in points.
        n: Examples scored.
        skipped: Examples left out because they could not be read.
        model: The name that the user typed after `--model`.
        checkpoint: Short hash of the weights.
        settings: Short hash of every setting that can move the number; the settings stand in the run file.
        seed: Seed of all randomness.
        device: Where the model ran, such as "cpu".
        precision: Number format of the weights during inference.
        seconds: How long the whole run took.
        coca: Version of this program.
        torch: Version of PyTorch.
        when: When the run ended, as `utc_now` writes it; the same for all rows of one run.
    """

    task: str
    dataset: str
    dataset_version: int
    split: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    skipped: int
    model: str
    checkpoint: str
    settings: str
    seed: int
    device: str
    precision: str
    seconds: float
    coca: str
    torch: str
    when: str


KINDS: dict[str, str] = {field.name: str(field.type) for field in fields(Result)}
"""Every column of a row, in order, and its type: "str", "int" or "float"."""

SAME_SETTING = ("task", "dataset", "split", "metric", "model", "checkpoint", "settings", "seed", "precision")
"""The columns that tell one setting from another; a row that is equal in them is the same number measured again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one command did, for the run file: enough to see where each row comes from and to do it again.

    Attributes:
        task: As in its rows.
        dataset: As in its rows.
        command: The command line as it was typed.
        settings: Every setting that can move a number, by name; its `settings_hash` stands in the rows.
        chosen: What the run itself chose on the way, and from what, such as a learning rate by validation scores.
        skipped: The examples that could not be read, as (id, reason).
        versions: As `installed_versions` gives them.
        seconds: How long the run took.
        when: As in its rows.
        model_folder: Where the model lies, if it is a folder.
    """

    task: str
    dataset: str
    command: str
    settings: Mapping[str, object]
    chosen: Mapping[str, object] = field(default_factory=dict)
    skipped: Sequence[tuple[str, str]] = ()
    versions: Mapping[str, str]
    seconds: float
    when: str
    model_folder: str = ""


def utc_now() -> str:
    """The time as rows and run files have it, in whole seconds: 2025-01-31T12:00:00Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def installed_versions() -> dict[str, str]:
    """Versions of Python, coca and torch, and the machine's platform, without importing torch."""
    return {
        "python": platform.python_version(),
        "coca": __version__,
        "torch": importlib.metadata.version("torch"),
        "platform": platform.platform(),
    }


def settings_hash(settings: Mapping[str, object]) -> str:
    """Short hash of settings: 10 hex digits that do not depend on the order of the names, the machine or the process.

    Raises:
        TypeError: A value that is neither plain data nor a path.
    """
    text = json.dumps(plain_data(settings), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def plain_data(value: object) -> Any:
    """The value as JSON can hold it: paths, enums, sets and numpy's numbers become plain.

    Raises:
        TypeError: Something that is neither plain data nor a path.
    """
    if isinstance(value, Enum):
        return plain_data(value.value)
    if isinstance(value, np.generic):
        return plain_data(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # JSON has no number for it
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        return {str(name): plain_data(inner) for name, inner in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain_data(inner) for inner in value), key=repr)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain_data(inner) for inner in value]
    raise TypeError(f"a setting must be plain data or a path, not {type(value).__name__}: {value!r}")


def to_record(result: Result) -> dict[str, str | int | float | None]:
    """The row as JSON can hold it: numpy's numbers become Python's, and what is not finite becomes None."""
    return {name: _coerce(kind, getattr(result, name)) for name, kind in KINDS.items()}


def _coerce(kind: str, value: Any) -> str | int | float | None:
    if kind == "str":
        return str(value)
    if kind == "int":
        return int(value)
    return float(value) if math.isfinite(value) else None


def parse_row(line: bytes) -> Result:
    """The inverse of `to_record`, from one line of JSON; keys of later versions are passed over.

    Raises:
        ValueError: It is no row.
    """
    record = parse_json(line, halves=True)
    if not isinstance(record, dict):
        raise ValueError("it is not a JSON object")
    if missing := [name for name in KINDS if name not in record]:
        raise ValueError(f"it has no {', '.join(missing)}")
    return Result(**{name: _restore(name, kind, record[name]) for name, kind in KINDS.items()})


def _restore(name: str, kind: str, value: Any) -> Any:
    if kind == "float" and value is None:
        return math.nan
    wanted: dict[str, Any] = {"str": str, "int": int, "float": int | float}
    if not isinstance(value, wanted[kind]) or isinstance(value, bool):
        raise ValueError(f"its {name} is {value!r:.60}")
    if kind == "float":
        return _float(name, value)
    return value


def _float(name: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"its {name} is too large a number") from None


def latest(rows: Sequence[Result]) -> list[Result]:
    """The newest row of every setting, in the order of the store: a repeated run counts once.

    Two rows are of one setting when all of `SAME_SETTING` is equal, and so the examples, the weights and what was done
    with them. A newer version of coca, of torch or of the dataset's reader replaces the older number.
    """
    newest: dict[tuple[object, ...], int] = {}
    for position, row in enumerate(rows):
        key = tuple(getattr(row, column) for column in SAME_SETTING)
        if key not in newest or rows[newest[key]].when <= row.when:
            newest[key] = position
    return [rows[position] for position in sorted(newest.values())]


def select(rows: Sequence[Result], *, task: str | None, dataset: str | None, model: str | None) -> list[Result]:
    """The rows whose task, dataset and model are as wanted.

    Args:
        rows: Any rows.
        task: A name, or a pattern such as "eval*"; None for all.
        dataset: The same.
        model: The same.

    Raises:
        CocaError: No row is left; the message names what there is.
    """
    chosen = list(rows)
    for column, wanted in (("task", task), ("dataset", dataset), ("model", model)):
        known = sorted({getattr(row, column) for row in chosen})
        if wanted is not None:
            chosen = [row for row in chosen if _matches(getattr(row, column), wanted)]
        if not chosen:
            raise CocaError(f"no result has the {column} {wanted!r}. The store has: {', '.join(known)}.")
    return chosen


def _matches(name: str, wanted: str) -> bool:
    return name == wanted or fnmatchcase(name, wanted)
