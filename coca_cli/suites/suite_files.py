"""A suite as its TOML file has it: models, and benchmarks with their options, not yet looked at."""

from __future__ import annotations

import reprlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from coca_cli.errors import BadExample, CocaError, MissingFile, UnknownName
from coca_cli.registry import unknown_name

FOLDER = Path(__file__).parent
SUFFIX = ".toml"
TASKS = ("zeroshot", "retrieval", "caption", "probe", "classification", "understanding")
KEYS = ("title", "include", "models", "defaults", "benchmark")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One benchmark of a suite.

    Attributes:
        where: Where it stands, for messages.
        task: One of TASKS.
        dataset: As after `--dataset`.
        options: Options of the task's command, without `--`.
        defaults: Options of all benchmarks of its file; those that its command has not are passed over.
    """

    where: str
    task: str
    dataset: str
    options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A list of benchmarks.

    Attributes:
        name: What the user typed, without folder and ending.
        title: One line for people.
        models: What is measured where the user names no model.
        entries: The benchmarks, with those of included suites.
    """

    name: str
    title: str
    models: tuple[str, ...]
    entries: tuple[Entry, ...]


def suite_names() -> list[str]:
    """The suites that ship with the package."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def suite_text(name: str) -> str:
    """A suite as it stands in its file.

    Raises:
        UnknownName: There is no such suite.
        MissingFile: There is no such file.
        BadExample: It is not text.
    """
    path = _find(name)
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MissingFile(
            f"cannot read the suite {path}: {error.strerror}; give a file, or one of {', '.join(suite_names())}"
        ) from None
    except UnicodeDecodeError as error:
        raise BadExample(f"the suite {path} is not UTF-8 text ({error.reason}): save it as UTF-8") from None


def read_suite(name: str) -> Suite:
    """The suite of that name, or in that file.

    Args:
        name: A shipped suite, or the path of a .toml file.

    Raises:
        UnknownName: There is no such suite, task or key.
        MissingFile: There is no such file.
        BadExample: The file is damaged, or says nothing.
    """
    return _read(name, ())


def _find(name: str) -> Path:
    path = Path(name).expanduser()
    if path.suffix.lower() == SUFFIX:
        return path
    if name not in suite_names():
        known = [*suite_names(), f"FILE{SUFFIX}"]
        raise UnknownName(unknown_name("suite", name, known))
    return FOLDER / f"{name}{SUFFIX}"


def _read(name: str, within: tuple[Path, ...]) -> Suite:
    path = _find(name)
    if path.resolve() in within:
        raise BadExample(f"the suite {path} includes itself: take that out of include")
    content = _parse(path, suite_text(name))
    if stray := [key for key in content if key not in KEYS]:
        raise UnknownName(f"the suite {path} says what suites do not: {unknown_name('key', stray[0], KEYS)}")
    models = _texts(path, "models", content.get("models", []))
    included: list[Entry] = []
    for other in _texts(path, "include", content.get("include", [])):
        included += _read(other, (*within, path.resolve())).entries
    own = _entries(path, content.get("benchmark", []), content.get("defaults", {}))
    if not included and not own:
        raise BadExample(f"{path} lists no benchmark: write [[benchmark]] with task and dataset below it")
    return Suite(
        name=path.stem,
        title=str(content.get("title", "")),
        models=models,
        entries=(*included, *own),
    )


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadExample(f"the suite {path} is not TOML: {error}") from None


def _texts(path: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadExample(f'{path}: {key} is a list of names, such as {key} = ["one", "two"], not {reprlib.repr(value)}')
    return tuple(value)


def _entries(path: Path, tables: Any, defaults: Any) -> Iterable[Entry]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BadExample(f"{path}: benchmarks stand in tables of their own, each below a line [[benchmark]]")
    if not isinstance(defaults, dict):
        raise BadExample(f"{path}: the options of all benchmarks stand below a line [defaults]")
    found = []
    for number, table in enumerate(tables, start=1):
        where = f"{path}, benchmark {number}"
        for key in ("task", "dataset"):
            if not isinstance(table.get(key), str):
                raise BadExample(f'{where} needs {key} = "NAME"; it has {table.get(key)!r}')
        task, dataset = table["task"], table["dataset"]
        if task not in TASKS:
            raise UnknownName(f"{where} is of a task that suites have not: {unknown_name('task', task, TASKS)}")
        options = {key: value for key, value in table.items() if key not in ("task", "dataset")}
        found.append(
            Entry(where=f"{where} ({task} {dataset})", task=task, dataset=dataset, options=options, defaults=defaults)
        )
    return found


def check_defaults(entries: Iterable[Entry], known: Iterable[str]) -> None:
    """Refuse options of all benchmarks that no command has.

    Args:
        entries: Of a suite.
        known: The options of all commands, without `--`.

    Raises:
        UnknownName: There is none of that name.
    """
    names = sorted(known)
    for entry in entries:
        for key in entry.defaults:
            if key.replace("_", "-") not in names:
                path = entry.where.partition(", benchmark ")[0]
                raise UnknownName(f"{path} sets for all benchmarks what none has: {unknown_name('option', key, names)}")


def choose_entries(suite: Suite, pattern: str | None) -> list[Entry]:
    """The benchmarks whose "TASK DATASET" matches; where the pattern is a whole task or dataset, these alone.

    Args:
        suite: The suite.
        pattern: Words, or a pattern such as "zeroshot*"; None for all.

    Raises:
        CocaError: None does; the message names what there is.
    """
    if pattern is None:
        return list(suite.entries)
    named = [(f"{entry.task} {entry.dataset}", entry) for entry in suite.entries]
    whole = [entry for name, entry in named if pattern in (name, entry.task, entry.dataset)]
    chosen = whole or [entry for name, entry in named if pattern in name or fnmatchcase(name, pattern)]
    if not chosen:
        there = ", ".join(dict.fromkeys(name for name, _ in named))
        raise CocaError(f"no benchmark of {suite.name} matches --only {reprlib.repr(pattern)}. It has: {there}.")
    return chosen
