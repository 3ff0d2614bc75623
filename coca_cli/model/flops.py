"""Parameters and floating-point operations of a model, by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from coca_cli.model.coca import CoCa
from coca_cli.model.config import CoCaConfig


@dataclass(frozen=True, slots=True)
class Cost:
    """What a model costs; a multiplication and an addition are two operations.

    Attributes:
        parameters: Part -> number of weights.
        per_picture: Operations to encode one picture, poolers included.
        per_caption: Operations of one text of full length through both decoder halves, the picture given.
        per_text: Operations of the contrastive embedding of one text of full length.
    """

    parameters: dict[str, int]
    per_picture: int
    per_caption: int
    per_text: int


def measure_cost(config: CoCaConfig) -> Cost:
    """Count on the meta device: nothing is computed and no memory is taken."""
    with torch.device("meta"):
        model = CoCa(config).eval().requires_grad_(False)
        images = torch.empty(1, 3, config.image.size, config.image.size)
        tokens = torch.empty(1, config.text.context, dtype=torch.long)
    image, text = model.encode_image(images), model.encode_text(tokens)
    per_picture = count_operations(partial(model.encode_image, images))
    per_text = count_operations(partial(model.encode_text, tokens))
    per_caption = per_text + count_operations(partial(model.decode, text, image))
    poolers = [p for p in (model.image.generative, model.image.contrastive) if p is not None]
    parameters = {
        "image encoder": _size(model.image.vit),
        "poolers": sum(map(_size, poolers)),
        "unimodal decoder": _size(model.text),
        "multimodal decoder": _size(model.decoder),
        "projections and temperature": _size(model.image.projection) + 1,
    }
    return Cost(parameters, per_picture, per_caption, per_text)


def count_operations(run: Callable[[], object]) -> int:
    """Floating-point operations of whatever torch computes in a call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
