"""Linear layers whose weights lie in memory as the CPU's kernels read them: put in order once, not in each product.

The operations are those that PyTorch's own compiler packs weights with; they have no public name. Where they are
missing, or do not give what `nn.Linear` gives, models stay as they are.
"""

from __future__ import annotations

import platform
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 1024
"""Rows of a product that the order is chosen for; products of fewer and of more rows read the same order."""
PROCESSORS = ("x86_64", "AMD64")
"""Where the operations were measured."""
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


class PackedLinear(nn.Module):
    """A linear layer for inference on the CPU; what `nn.Linear` gives, but for rounding.

    The products are oneDNN's. In fp32 they take half the time of those that PyTorch chooses where the processor's maker
    is not the math library's.

    Args:
        linear: Whose weights it takes.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.packed: Tensor = _operations()._reorder_linear_weight(linear.weight.detach(), ROWS)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor, activation: str = "none") -> Tensor:
        """(..., in) -> (..., out).

        Args:
            x: In the number format of the weights.
            activation: "gelu" gives the exact GELU of the outcome, from before it is rounded; "none" nothing.
        """
        if activation == "gelu" and x.dtype == torch.float32 and not _fuses_gelu():
            plain: Tensor = torch.ops.aten.gelu_(onednn_linear(x, self.packed, self.bias))
            return plain
        return onednn_linear(x, self.packed, self.bias, activation)


@cache
def _fuses_gelu() -> bool:
    """Whether oneDNN's GELU in fp32 costs less than PyTorch's: without AVX-512 it takes two to five times as long."""
    return "AVX512" in torch.backends.cpu.get_cpu_capability()


def pack_linears(model: nn.Module) -> None:
    """Pack all linear layers of a model in place, where that can be done; it can be neither trained nor saved then.

    Args:
        model: On the CPU, in evaluation mode.
    """
    model.requires_grad_(False)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and can_pack(child.weight.dtype):
                setattr(module, name, PackedLinear(child))


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether packed products are there for a number format, and right."""
    if dtype not in TOLERANCES or platform.machine() not in PROCESSORS:
        return False
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        linear = nn.Linear(48, 32)
        for parameter in linear.parameters():
            parameter.uniform_(-0.1, 0.1, generator=random)
        x = torch.rand(5, 48, generator=random).to(dtype)
        linear.to(dtype)
        try:
            packed = PackedLinear(linear)
            pairs = ((packed(x), linear(x)), (packed(x, "gelu"), F.gelu(linear(x))))
        except (AttributeError, RuntimeError, TypeError, NotImplementedError):
            return False
    return all(torch.allclose(found, wanted, rtol=0, atol=TOLERANCES[dtype]) for found, wanted in pairs)


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    """oneDNN's product of x (..., in) with a weight (out, in), packed or plain; it has no gradient."""
    out: Tensor = _operations()._linear_pointwise(x, weight, bias, activation, [], "none")
    return out


def _operations() -> Any:
    return torch.ops.mkldnn
