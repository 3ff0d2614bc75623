"""What settings differ in, in words, where a table would show their hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from coca_cli.results import Result
from coca_cli.store import RunFile

LONGEST = 24
"""Letters of a value; what is longer, such as a list of prompts, is not shown."""
MOST = 3
"""Settings that are named; where so many do not tell rows apart the hash has to."""

Facts = Mapping[str, str]


def spell_settings(rows: Sequence[Result], runs: Sequence[RunFile]) -> list[Result]:
    """The rows with words in the place of their settings' hash, such as "head linear, steps 100".

    Only rows that nothing but their settings tells apart get some; without a run file, or where no few short values
    tell them apart, the hash stays.

    Args:
        rows: Of one table.
        runs: Of their store.
    """
    known = {str(run.document.get("settings_hash")): run.document.get("settings") for run in runs}
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        groups.setdefault(_place(row), []).append(row.settings)
    words = {place: _words(list(dict.fromkeys(hashes)), known) for place, hashes in groups.items()}
    return [replace(row, settings=words[_place(row)].get(row.settings, row.settings)) for row in rows]


def _place(row: Result) -> tuple[str, ...]:
    return (row.task, row.dataset, row.split, row.model, row.checkpoint)


def _words(hashes: Sequence[str], known: Mapping[str, Any]) -> dict[str, str]:
    """Words by hash; none where there is nothing to tell apart, or no telling."""
    if len(hashes) < 2 or not all(isinstance(known.get(each), dict) for each in hashes):
        return {}
    facts = {each: dict(_short_facts(known[each])) for each in hashes}
    names = list(dict.fromkeys(name for found in facts.values() for name in found))
    names.sort(key=lambda name: not all(name in found for found in facts.values()))  # those that all have come first
    chosen: list[str] = []
    for name in names:
        before = _parted(facts, chosen)
        if _parted(facts, [*chosen, name]) > before:
            chosen.append(name)
        if len(chosen) > MOST:
            return {}
        if _parted(facts, chosen) == len(hashes):
            return {each: _say(facts[each], chosen) for each in hashes}
    return {}


def _parted(facts: Mapping[str, Facts], names: Sequence[str]) -> int:
    """How many groups these settings make."""
    return len({tuple(found.get(name) for name in names) for found in facts.values()})


def _say(facts: Facts, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {facts[name]}" if name in facts else f"no {name}" for name in names)


def _short_facts(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _short_facts(value)
        elif not isinstance(value, list) and len(str(value)) <= LONGEST:
            yield name.replace("_", " "), str(value)
