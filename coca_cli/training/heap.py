"""What becomes of memory that a training step has freed."""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
LARGE_MODEL = 100_000_000


def choose_heap(parameters: int) -> bool:
    """Have malloc treat freed blocks as the size of the model asks.

    Activations and weights' gradients come and go in every step. Of large models, freed blocks of 4 MiB and more go
    back to the system at once: glibc keeps those of up to 32 MiB for itself, in pieces that the next ones often do not
    fit (0.2 GiB with 250M parameters). Of small models all is kept: what the system takes back, it gives anew page by
    page, which takes about as long as the products that fill it.

    Args:
        parameters: The model's size.

    Returns:
        Whether this system's malloc has such settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    if parameters >= LARGE_MODEL:
        return bool(mallopt(MMAP_THRESHOLD, 4 << 20) == 1)
    return bool(mallopt(MMAP_THRESHOLD, 32 << 20) == 1 and mallopt(TRIM_THRESHOLD, 2**31 - 1) == 1)
