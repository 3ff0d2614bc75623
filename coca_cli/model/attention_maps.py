"""Where a pooler looks: pictures and clips -> how much of its attention lies on each patch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from coca_cli.media.images import normalise
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import Placed
from coca_cli.model.task_head import TaskHead, attention_weights


@torch.inference_mode()
def attention_maps(placed: Placed, pixels: Tensor, head: TaskHead | None = None, *, generative: bool = False) -> Tensor:
    """How much of a pooler's attention lies on each patch, as maps that sum to 1 for each picture or clip.

    A token that the encoder puts before its patches belongs to no place and is left out.

    Args:
        placed: A CoCa.
        pixels: (B, 3, size, size) uint8 of pictures, or (B, F, 3, size, size) of clips.
        head: A classifier's head; None for the pooler of the image embedding, to which each frame is a picture.
        generative: The head looks at what the generative pooler makes of the patches; products of both are given then.

    Returns:
        (B, side, side) of pictures, (B, F, side, side) of clips, fp32 on the CPU.
    """
    model = placed.model
    assert isinstance(model, CoCa)
    lead = pixels.shape[:-3]
    images = normalise(pixels.flatten(0, -4).to(placed.device), placed.image).to(placed.dtype)
    patches = model.image.vit(images)  # (B * F, N, W)
    if head is None:
        weights = model.image.attention(patches).view(*lead, -1)
    elif generative and model.image.generative is not None:
        tokens = model.image.pool(patches).tokens  # (B * F, Q, W)
        above = attention_weights(head, tokens.view(*lead, *tokens.shape[1:])).flatten(0, -2)  # (B * F, Q)
        below = model.image.generative.weights(patches)[:, -tokens.shape[1] :]  # (B * F, Q, N)
        weights = (above[:, None] @ below).view(*lead, -1)
    else:
        weights = attention_weights(head, patches.view(*lead, *patches.shape[1:]))
    if model.config.vision.cls_token:
        weights = weights[..., 1:]
    weights = weights / weights.flatten(1).sum(dim=1).view(-1, *[1] * (weights.ndim - 1))
    side = math.isqrt(weights.shape[-1])
    return weights.view(*lead, side, side).float().cpu()
