"""The exponential moving average of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema:
    """A second set of weights that follows the trained ones slowly; kept in shards where they are.

    Args:
        model: Whose weights it begins with.
        decay: Part of the average that stays at each step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow the weights by one step.

        Early on the average is shorter, min(decay, (1 + step) / (10 + step)), so that it soon forgets the random start.

        Args:
            model: With the new weights.
            step: Steps done, from 1.
        """
        follow = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                self.weights[name].lerp_(parameter.detach(), follow)
