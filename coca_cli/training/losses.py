"""The two losses of CoCa (paper section 3.2, equations 2 to 4)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coca_cli.training.distributed import gather_ids, gather_rows
from coca_cli.world import SINGLE, World

CHUNK_LOGITS = 2**23
"""Logits that stand in fp32 at one time: 32 MiB."""
LEAST_ROWS = 64


def contrastive_loss(
    image: Tensor, text: Tensor, logit_scale: Tensor, world: World = SINGLE, ids: Tensor | None = None
) -> Tensor:
    """Cross-entropy of each picture over the texts and of each text over the pictures, averaged.

    The paper's equation 2 adds the two directions. They are averaged here, as in the authors' later code and in
    open_clip, so that a weight means the same as in known recipes; a contrastive weight of 2 is the literal equation.

    Negatives come from all processes, with their gradient. The mean over the processes of what each returns is the
    loss of the whole batch, and so is the mean of their gradients.

    Args:
        image: (B, D), unit length; the same B on every process.
        text: (B, D), unit length, row by row the texts of the pictures.
        logit_scale: Scalar, 1 / temperature.
        world: The processes.
        ids: (B,) equal where texts are: pictures with the same text are no negatives of each other then. None takes all
            others as negatives, as the paper does.
    """
    scale, image, text = logit_scale.float(), image.float(), text.float()
    texts, images = gather_rows(text, world), gather_rows(image, world)  # (world B, D)
    target = torch.arange(len(image), device=image.device) + world.rank * len(image)
    to_text, to_image = scale * image @ texts.T, scale * text @ images.T  # (B, world B)
    if ids is not None:
        same = ids[:, None] == gather_ids(ids, world)[None]  # (B, world B)
        same[torch.arange(len(image), device=image.device), target] = False
        to_text, to_image = to_text.masked_fill(same, -torch.inf), to_image.masked_fill(same, -torch.inf)
    return (F.cross_entropy(to_text, target) + F.cross_entropy(to_image, target)) / 2


def summed_caption_loss(hidden: Tensor, vocabulary: Tensor, targets: Tensor, pad_id: int) -> Tensor:
    """Negative log-likelihood of the next tokens, summed over those that are not padding.

    The logits (n, V) never stand at once: a chunk of rows at a time they become loss and gradient, with the work of an
    ordinary backward pass. Products run in bf16 under autocast; the softmax is fp32 always.

    Args:
        hidden: (n, W) what the vocabulary head takes.
        vocabulary: (V, W) its weight.
        targets: (n,) the token after each position.
        pad_id: Left out of the sum.

    Returns:
        Scalar, fp32.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    loss: Tensor = _ChunkedLoss.apply(hidden, vocabulary, targets, pad_id)
    return loss


class _ChunkedLoss(torch.autograd.Function):
    """Computes the gradient together with the loss, since both need the same logits."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, vocabulary: Tensor, targets: Tensor, pad_id: int) -> Tensor:
        wanted = ctx.needs_input_grad[:2]
        weight = vocabulary.to(hidden.dtype)
        rows = max(LEAST_ROWS, CHUNK_LOGITS // len(weight))
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden) if wanted[0] else None
        weight_gradient = torch.zeros_like(vocabulary) if wanted[1] else None
        for start in range(0, len(hidden), rows):
            part, target = hidden[start : start + rows], targets[start : start + rows]
            logits = (part @ weight.T).float()  # (rows, V)
            normaliser = logits.logsumexp(dim=-1)
            counted = target != pad_id
            total += ((normaliser - logits.gather(1, target[:, None])[:, 0]) * counted).sum()
            if not any(wanted):
                continue
            error = logits.sub_(normaliser[:, None]).exp_()  # softmax minus one-hot, in the place of the logits
            error.scatter_add_(1, target[:, None], -torch.ones_like(target, dtype=error.dtype)[:, None])
            error = error.mul_(counted[:, None]).to(hidden.dtype)
            if hidden_gradient is not None:
                torch.mm(error, weight, out=hidden_gradient[start : start + rows])
            if weight_gradient is not None:
                if weight_gradient.dtype == error.dtype:
                    weight_gradient.addmm_(error.T, part)
                else:
                    weight_gradient += error.T @ part
        ctx.gradients = (hidden_gradient, weight_gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden_gradient, weight_gradient = ctx.gradients
        del ctx.gradients  # they are scaled in place, so a second pass would be wrong
        for gradient in (hidden_gradient, weight_gradient):
            if gradient is not None:
                gradient.mul_(gradients[0])
        return hidden_gradient, weight_gradient, None, None
