"""How much of what the machine can compute a training step uses."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import torch

from coca_cli.model.coca import CoCa
from coca_cli.model.config import CoCaConfig
from coca_cli.model.flops import count_operations

MATRIX_SIDE = 2048
SECONDS = 0.2
BACKWARD = 3
"""A step costs its forward pass three times: the gradient of each product is two products."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """Operations of the forward pass; a multiplication and an addition are two.

    Attributes:
        picture: Of one picture, and of what its caption looks at.
        word: Of one position of a text, without attention among words.
    """

    picture: int
    word: int

    def of(self, pictures: int, words: int) -> int:
        """Operations of a training step on so many pictures and positions of texts."""
        return BACKWARD * (pictures * self.picture + words * self.word)


def step_cost(config: CoCaConfig, *, captions: bool = True) -> StepCost:
    """Count on the meta device, with texts of two lengths.

    Args:
        config: The model's.
        captions: The multimodal decoder is computed, too.
    """
    with torch.device("meta"):
        model = CoCa(config).eval().requires_grad_(False)
        images = torch.empty(1, 3, config.image.size, config.image.size)
        short, long = (torch.empty(1, length, dtype=torch.long) for length in (2, config.text.context))
    run = model if captions else partial(_encode, model)
    one, other = (count_operations(partial(run, images, tokens)) for tokens in (short, long))
    word = (other - one) // (config.text.context - 2)
    return StepCost(one - (2 + config.text.cls_tokens) * word, word)


def _encode(model: CoCa, images: torch.Tensor, tokens: torch.Tensor) -> None:
    """What the contrastive loss alone needs."""
    model.encode_image(images)
    model.encode_text(tokens)


def measured_peak(device: torch.device, *, mixed: bool) -> float:
    """Operations per second of a large matrix product on this machine now.

    Args:
        device: Where.
        mixed: In bf16, else in fp32.
    """
    a = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=device, dtype=torch.bfloat16 if mixed else torch.float32)
    _synchronise(a @ a)
    best, begin = 0.0, time.perf_counter()
    while time.perf_counter() - begin < SECONDS:
        start = time.perf_counter()
        _synchronise(a @ a)
        best = max(best, 2 * MATRIX_SIDE**3 / (time.perf_counter() - start))
    return best


def _synchronise(x: torch.Tensor) -> None:
    x[0, 0].item()
