"""Products of matrices while training, by whichever library is quicker on the CPU."""

from __future__ import annotations

import platform
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from coca_cli.model.packed_linear import PROCESSORS, onednn_linear

LARGE = 1 << 26
"""Multiplications from which another library is worth its call: about half a millisecond."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear` without a gradient: x (..., in), weight (out, in) and bias (out,) -> (..., out).

    Large products in fp32 on the CPU are oneDNN's where that can be had: PyTorch chooses MKL, which takes twice the
    time on processors of another maker than its own.
    """
    large = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and x.numel() * len(weight) >= LARGE
    real = type(x) is Tensor and not torch.compiler.is_compiling()  # neither imagined nor in shards
    return onednn_linear(x, weight, bias) if large and real and _has_onednn() else F.linear(x, weight, bias)


@cache
def _has_onednn() -> bool:
    if platform.machine() not in PROCESSORS:
        return False
    random = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.rand(*size, generator=random) for size in ((5, 48), (32, 48), (32,)))
    turned = torch.rand(48, 32, generator=random).T
    with torch.no_grad():
        try:
            found = (onednn_linear(x, weight, bias), onednn_linear(x, turned, None))
        except (AttributeError, RuntimeError, TypeError, NotImplementedError):
            return False
        wanted = (F.linear(x, weight, bias), F.linear(x, turned))
    return all(torch.allclose(one, other, rtol=0, atol=1e-4) for one, other in zip(found, wanted, strict=True))
