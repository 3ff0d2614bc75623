"""Pixels -> what an image encoder makes of them, on all cores of a CPU or within the memory of a GPU."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor

from coca_cli.media.images import normalise
from coca_cli.model.placement import Placed


def encode_pixels(placed: Placed, encode: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """What an encoder makes of pictures.

    Args:
        placed: The model whose encoder it is.
        encode: Normalised pictures (B, 3, size, size) -> (B, ...).
        pixels: (B, 3, size, size) uint8.

    Returns:
        (B, ...) on the CPU.
    """

    @torch.inference_mode()
    def compute(part: Tensor) -> Tensor:
        return encode(normalise(part.to(placed.device, non_blocking=True), placed.image).to(placed.dtype)).cpu()

    fitting = partial(within_memory, compute)
    return in_halves(fitting, pixels) if placed.device.type == "cpu" else fitting(pixels)


def in_halves(compute: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """`compute(batch)`, of one half beside the other, each with half of the threads.

    Threads that share each product wait for each other after each: where another program, or the decoding of the next
    pictures, takes a core from one of them, both stand still. Halves wait for each other once.

    To be called by one thread at a time.

    Args:
        compute: Of rows, one by one.
        batch: (B, ...).
    """
    halves, threads = batch.chunk(2), torch.get_num_threads()
    if threads == 1 or len(halves) == 1:
        return torch.cat([compute(half) for half in halves])  # sums in the order of two threads
    try:
        with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(threads // 2,)) as pool:
            return torch.cat(list(pool.map(compute, halves)))
    finally:
        torch.set_num_threads(threads)  # PyTorch gives new threads what was set last, by whichever thread


def within_memory(compute: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """`compute(batch)`; where the GPU's memory is too small for all at once, of one half after the other."""
    try:
        return compute(batch)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    return torch.cat([within_memory(compute, half) for half in batch.chunk(2)])
