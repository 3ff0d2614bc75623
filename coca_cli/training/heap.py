"""What becomes of memory that a training step has freed."""

from __future__ import annotations

import ctypes
import sys

MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
LARGE = 4 << 20


def return_large_blocks() -> bool:
    """Give freed blocks of 4 MiB and more back to the system at once.

    Activations and weights' gradients come and go in every step. After the first of them glibc keeps blocks of up to
    32 MiB for itself, in pieces that the next ones often do not fit: with 250M parameters some 0.2 GiB.

    Returns:
        Whether this system's malloc has such a setting.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(MMAP_THRESHOLD, LARGE) == 1
