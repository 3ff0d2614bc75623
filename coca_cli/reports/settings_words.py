"""What settings differ in, in words, where a table would show their hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from coca_cli.errors import CocaError
from coca_cli.results import Result
from coca_cli.store import RunFile

LONGEST = 24
"""Letters of a value; of what is longer, such as a list of prompts, a short hash is shown."""
MOST = 3
"""Settings that are named; where so many do not tell rows apart the hash has to."""

Facts = Mapping[str, str]


def spell_settings(rows: Sequence[Result], read_runs: Callable[[], Sequence[RunFile]]) -> list[Result]:
    """The rows with words in the place of their settings' hash, such as "head linear, steps 100".

    Only rows that nothing but their settings tells apart get some; without a run file, or where a few settings do not
    tell them apart, the hash stays.

    Args:
        rows: Of one table.
        read_runs: Gives the runs of their store; not called where there is nothing to say.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        groups.setdefault(_place(row), []).append(row.settings)
    if all(len(set(hashes)) == 1 for hashes in groups.values()):
        return list(rows)
    try:
        runs = read_runs()
    except CocaError:  # a run file is damaged: no reason not to show the rows
        return list(rows)
    known = {str(run.document.get("settings_hash")): run.document.get("settings") for run in runs}
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
        else:
            text = json.dumps(value, default=str) if isinstance(value, list) or value == "" else str(value)
            if len(text) > LONGEST:
                text = f"#{hashlib.sha256(text.encode(errors='backslashreplace')).hexdigest()[:4]}"
            yield name.replace("_", " "), text
