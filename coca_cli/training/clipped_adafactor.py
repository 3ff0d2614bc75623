"""Clipping and Adafactor in one: about half the passes over memory that both take apart, which is what a step costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

MOMENTUM, HIGHEST, RISE = 0.9, 0.999, 0.8
"""Of the first moment; of the second at most, and how it gets there: 1 - step ** -RISE."""
SMALL = 16
"""Matrices with a side below it keep the second moment of every number."""
TINY = 1e-30


class ClippedAdafactor(torch.optim.Optimizer):
    """timm's AdafactorBigVision as `build_optimizer` sets it, on gradients clipped to a norm; equal but for rounding.

    The squares whose means Adafactor keeps give the norm too, and the clipping is done where a gradient is scaled in
    any case. A step uses the gradients up: they are no gradients any more afterwards.

    Source: big_vision's form of Adafactor (Zhai et al. 2022, "Scaling Vision Transformers", arXiv 2106.04560).

    Args:
        groups: Parameters with their `lr` and `weight_decay`; numbers, vectors and matrices, none of them in shards.
        largest: The norm allowed of all gradients together; 0 for any.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], largest: float) -> None:
        super().__init__(groups, {})
        self._largest, self._steps = largest, 0

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient.

        Args:
            closure: None; there is no second look at the loss.
        """
        self._steps += 1
        trained = [
            (group, parameter, parameter.grad, _square(parameter.grad))
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        norm = torch.stack([squares.total for *_, squares in trained]).sum().sqrt()
        scale = (self._largest / (norm + 1e-6)).clamp(max=1.0) if self._largest else torch.ones_like(norm)
        scale_of_squares = scale.square()
        follow = 1 - min(HIGHEST, 1 - self._steps**-RISE)
        for group, parameter, gradient, squares in trained:
            state = self.state[parameter]
            if not state:
                state["seconds"] = [torch.zeros_like(means) for means in squares.means]
                state["first"] = torch.zeros_like(parameter)
            for second, means in zip(state["seconds"], squares.means, strict=True):
                second.lerp_(means.mul_(scale_of_squares).add_(TINY), follow)
            rows, *columns = state["seconds"]
            for second in columns:
                gradient.mul_(second.rsqrt())
                rows = rows / rows.mean()
            state["first"].lerp_(gradient.mul_(rows.rsqrt().mul_(scale)), 1 - MOMENTUM)
            if group["weight_decay"]:
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(state["first"], alpha=-group["lr"])


class _Squares(NamedTuple):
    means: tuple[Tensor, ...]  # of each row and each column of a matrix; of what is small, every number's square
    total: Tensor


def _square(gradient: Tensor) -> _Squares:
    squares = gradient.square()
    if gradient.ndim < 2 or min(gradient.shape) < SMALL:
        return _Squares((squares,), squares.sum())
    rows = squares.mean(dim=1, keepdim=True)
    return _Squares((rows, squares.mean(dim=0, keepdim=True)), rows.sum() * gradient.shape[1])
