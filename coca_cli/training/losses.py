"""The two losses of CoCa (paper section 3.2, equations 2 to 4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from coca_cli.model.coca import CoCaOutput


class Losses(NamedTuple):
    """Scalars.

    Attributes:
        total: What is minimised.
        contrastive: Mean of both directions.
        caption: Mean over the tokens.
    """

    total: Tensor
    contrastive: Tensor
    caption: Tensor


def contrastive_loss(image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
    """Cross-entropy of each picture over the texts and of each text over the pictures, averaged.

    The paper's equation 2 adds the two directions. They are averaged here, as in the authors' later code and in
    open_clip, so that a weight means the same as in known recipes; a contrastive weight of 2 is the literal equation.

    Args:
        image: (B, D), unit length.
        text: (B, D), unit length, row by row the texts of the pictures.
        logit_scale: Scalar, 1 / temperature.
    """
    logits = logit_scale.float() * image.float() @ text.float().T  # (B, B)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def caption_loss(logits: Tensor, tokens: Tensor, pad_id: int) -> Tensor:
    """Mean negative log-likelihood of the next token, over all tokens that are not padding.

    Args:
        logits: (B, T - 1, V): position t predicts token t + 1.
        tokens: (B, T), begin token first.
        pad_id: Left out of the mean.
    """
    return F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten(), ignore_index=pad_id)


def coca_losses(
    output: CoCaOutput, tokens: Tensor, pad_id: int, *, contrastive_weight: float, caption_weight: float
) -> Losses:
    """The weighted sum of both, from one forward pass.

    Args:
        output: The model's output on the batch.
        tokens: (B, T) the batch's texts.
        pad_id: Padding id.
        contrastive_weight: 1 in the paper.
        caption_weight: 2 in the paper.
    """
    contrastive = contrastive_loss(output.image_embedding, output.text_embedding, output.logit_scale)
    caption = caption_loss(output.logits, tokens, pad_id)
    return Losses(contrastive_weight * contrastive + caption_weight * caption, contrastive, caption)
