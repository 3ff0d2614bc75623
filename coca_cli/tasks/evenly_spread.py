"""Which examples are shown of many: evenly spread over the set, not the best ones."""

from __future__ import annotations

import numpy as np


def spread(n: int, count: int) -> list[int]:
    """So many of n rows, from the first to the last, evenly spread; each once."""
    found: list[int] = np.linspace(0, n - 1, min(count, n)).round().astype(int).tolist()
    return found
