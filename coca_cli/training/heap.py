"""What becomes of memory that a training step has freed."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import torch
from torch import Tensor

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
    mallopt = _of_malloc("mallopt")
    if mallopt is None:
        return False
    if parameters >= LARGE_MODEL:
        return bool(mallopt(MMAP_THRESHOLD, 4 << 20) == 1)
    return bool(mallopt(MMAP_THRESHOLD, 32 << 20) == 1 and mallopt(TRIM_THRESHOLD, 2**31 - 1) == 1)


def trim_on_the_way_back(activations: Tensor) -> None:
    """When the gradient of these activations is known, give back to the system what malloc holds and nobody uses.

    That is what layers behind them had kept: gradients of other sizes do not fill its place.

    Args:
        activations: What a part of the model gives to the next.
    """
    if torch.compiler.is_compiling() or not activations.requires_grad or activations.device.type != "cpu":
        return
    trim = _of_malloc("malloc_trim")
    if trim is not None:

        def give_back(gradient: Tensor) -> None:
            trim(0)

        activations.register_hook(give_back)  # type: ignore[no-untyped-call]


def _of_malloc(name: str) -> Any:
    """A function of glibc's malloc; None where there is no such library."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), name, None)
