"""Layers that keep less for their backward pass, and compute the rest anew there.

Of linear layers after a LayerNorm or a GELU this is what the LayerNorm or the GELU gave, and copies of weights in
another number format: cheap beside the products, and about a third of what autograd keeps of a coca_ViT-B-32's forward
pass in fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from coca_cli.model.products import product


def recomputed(compute: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """`compute(*inputs)`, of which nothing but the inputs is kept; it draws no random numbers.

    Compiled models keep what their compiler chooses.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return compute(*inputs)
    out: Tensor = checkpoint(compute, *inputs, use_reentrant=False, preserve_rng_state=False)
    return out


def norm_linear(x: Tensor, norm: nn.Module, linear: nn.Linear) -> Tensor:
    """`linear(norm(x))`.

    Args:
        x: (..., W).
        norm: A LayerNorm over W, or an identity.
        linear: From W, with a bias.
    """
    if not (x.requires_grad and isinstance(norm, nn.LayerNorm)):
        return linear(norm(x))  # type: ignore[no-any-return]
    return _NormLinear.apply(  # type: ignore[no-any-return]
        x, norm.weight, norm.bias, norm.eps, linear.weight, linear.bias, _compute_dtype(x)
    )


def gelu_linear(hidden: Tensor, linear: nn.Linear) -> Tensor:
    """`linear(gelu(hidden))`.

    Args:
        hidden: (..., hidden width) before the activation.
        linear: From the hidden width, with a bias.
    """
    if not hidden.requires_grad:
        return linear(F.gelu(hidden))  # type: ignore[no-any-return]
    return _GeluLinear.apply(hidden, linear.weight, linear.bias, _compute_dtype(hidden))  # type: ignore[no-any-return]


def _compute_dtype(x: Tensor) -> torch.dtype:
    """The number format of products: autocast's where it is on."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class _NormLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        eps: float,
        weight: Tensor,
        bias: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        ctx.save_for_backward(x, scale, shift, weight)
        ctx.eps, ctx.dtype = eps, dtype
        normed = F.layer_norm(x, x.shape[-1:], scale, shift, eps).to(dtype)
        return product(normed, weight.to(dtype), bias.to(dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        x, scale, shift, weight = ctx.saved_tensors
        normed, mean, deviation = torch.native_layer_norm(x, x.shape[-1:], scale, shift, ctx.eps)
        by_weight, by_bias = _weight_gradients(gradients[0], normed.to(ctx.dtype), weight)
        back = product(gradients[0], weight.to(ctx.dtype).T).to(x.dtype)
        by_x, by_scale, by_shift = torch.ops.aten.native_layer_norm_backward(
            back, x, x.shape[-1:], mean, deviation, scale, shift, [True, True, True]
        )
        return by_x, by_scale, by_shift, None, by_weight, by_bias, None


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        ctx.dtype = dtype
        return product(F.gelu(hidden).to(dtype), weight.to(dtype), bias.to(dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        hidden, weight = ctx.saved_tensors
        by_weight, by_bias = _weight_gradients(gradients[0], F.gelu(hidden).to(ctx.dtype), weight)
        back = product(gradients[0], weight.to(ctx.dtype).T).to(hidden.dtype)
        return torch.ops.aten.gelu_backward(back, hidden), by_weight, by_bias, None


def _weight_gradients(gradient: Tensor, given: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of weight and bias of a linear layer, in the weight's number format."""
    rows = gradient.flatten(0, -2)
    return product(rows.T, given.flatten(0, -2).T).to(weight.dtype), rows.sum(dim=0).to(weight.dtype)
