"""Imports of evaluations, which are the first thing that a user waits for."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Keep the collector away from imports, and what they made away from the collector.

    Modules are a million objects that stay: looking through them again and again is a fifth of the imports' time.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:  # once in a process: what is frozen is never freed
            gc.freeze()
        if collects:
            gc.enable()
