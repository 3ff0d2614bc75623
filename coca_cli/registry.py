"""Names to entries, found by walking one package: adding an entry is adding one file."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from functools import cached_property
from typing import Generic, Protocol, TypeVar

from coca_cli.errors import UnknownName


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=_Named)


class Registry(Generic[T]):
    """Every module-level value of the wanted types in the modules of one package, by its `name`.

    Args:
        package: Dotted name of the package to walk.
        kinds: The types whose instances are entries.
        noun: What an entry is called in messages, such as "dataset".
    """

    def __init__(self, package: str, kinds: tuple[type[T], ...], noun: str) -> None:
        self._package, self._kinds, self._noun = package, kinds, noun

    @cached_property
    def _entries(self) -> dict[str, T]:
        found: dict[str, T] = {}
        for info in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
            module = importlib.import_module(f"{self._package}.{info.name}")
            for value in vars(module).values():
                if isinstance(value, self._kinds) and found.setdefault(value.name, value) is not value:
                    raise RuntimeError(f"two entries of {self._package} are named {value.name!r}")
        return dict(sorted(found.items()))

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(self._entries)

    def entries(self) -> tuple[T, ...]:
        """All entries, sorted by name."""
        return tuple(self._entries.values())

    def get(self, name: str) -> T:
        """The entry of that name.

        Raises:
            UnknownName: There is none; the message offers the nearest names.
        """
        if name not in self._entries:
            raise UnknownName(unknown_name(self._noun, name, self._entries))
        return self._entries[name]


def unknown_name(noun: str, name: str, known: Iterable[str]) -> str:
    """One kind of message for every unknown name: what was asked, what is near, what exists."""
    names = sorted(known)
    by_lower = {known_name.lower(): known_name for known_name in names}
    near = [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)]
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"unknown {noun} {name!r:.80}. {hint}Known: {', '.join(names)}."
