"""GELU and the linear layer after it, with the activation computed anew in the backward pass instead of kept."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        return F.linear(F.gelu(hidden), weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, Tensor]:
        hidden, weight = ctx.saved_tensors
        rows = gradients[0].flatten(0, -2)
        activated = F.gelu(hidden).flatten(0, -2)
        back = torch.ops.aten.gelu_backward(gradients[0] @ weight, hidden)
        return back, rows.T @ activated, rows.sum(dim=0)


def gelu_linear(hidden: Tensor, linear: nn.Linear) -> Tensor:
    """`linear(gelu(hidden))`; half of what an MLP keeps for its backward pass is saved, at the price of one GELU.

    Args:
        hidden: (..., hidden width) before the activation.
        linear: From the hidden width, with a bias.
    """
    weight: Tensor = linear.weight
    bias: Tensor = linear.bias
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight, bias = hidden.to(dtype), weight.to(dtype), bias.to(dtype)
    out: Tensor = _GeluLinear.apply(hidden, weight, bias)
    return out
