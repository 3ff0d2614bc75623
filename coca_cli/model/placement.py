"""Where a model runs and in which number format."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from coca_cli.errors import CocaError

M = TypeVar("M", bound=nn.Module)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        CocaError: It is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        there = ", ".join(device for device, is_there in available.items() if is_there)
        raise CocaError(f"--device {name}: torch finds no such device here; available: {there}")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """fp32, bf16 or fp16; "auto" is bf16 where the hardware multiplies it faster than fp32.

    Raises:
        CocaError: fp16 on a CPU, which computes it slowly and overflows.
    """
    if name == "auto":
        return "bf16" if _runs_bf16_well(device) else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise CocaError("--precision fp16 is for GPUs; on the CPU use bf16 or fp32")
    return name


def place(model: M, device: torch.device, precision: str) -> M:
    """Move the model and cast its weights once (autocast would cast them anew in every call).

    Args:
        model: A model in fp32.
        device: Where it goes.
        precision: fp32, bf16 or fp16.
    """
    return model.to(device=device, dtype=DTYPES[precision]).eval()


def _runs_bf16_well(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and torch.cpu._is_avx512_bf16_supported()
    return False
