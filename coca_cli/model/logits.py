"""What is done to next-token logits before a token is chosen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 64
"""Tokens whose maximum is taken first."""


def penalise_repetition(logits: Tensor, prompt: Tensor, written: Tensor, penalty: float) -> Tensor:
    """Make tokens that a text has already less probable.

    Args:
        logits: (B, K, V).
        prompt: (P,) ids that all texts begin with.
        written: (B, K, T) ids after it.
        penalty: Positive logits are divided by it, others multiplied; 1 changes nothing.

    Source: Keskar et al., "CTRL", arXiv 1909.05858, section 4.1, with the usual correction for negative logits.
    """
    if penalty == 1:
        return logits
    had = torch.cat([prompt.expand(*written.shape[:2], -1), written], dim=2)
    values = logits.gather(2, had)
    return logits.scatter(2, had, torch.where(values > 0, values / penalty, values * penalty))


def forbid(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    """(..., V) with -inf for the tokens, in place."""
    if tokens:
        logits[..., list(tokens)] = -torch.inf
    return logits


def best(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest logits, best first, and their tokens, (..., min(count, V)) each.

    A block with one of the largest has one of the largest maxima; on the CPU those are found several times faster.
    """
    vocabulary = logits.shape[-1]
    blocks = vocabulary // BLOCK
    if logits.device.type != "cpu" or vocabulary % BLOCK or blocks <= count:
        values, tokens = logits.topk(min(count, vocabulary), dim=-1)
        return values, tokens
    parts = logits.view(*logits.shape[:-1], blocks, BLOCK)
    chosen = parts.amax(dim=-1).topk(count, dim=-1).indices  # (..., count) blocks
    values, places = parts.take_along_dim(chosen[..., None], dim=-2).flatten(-2).topk(count, dim=-1)
    return values, chosen.gather(-1, places // BLOCK) * BLOCK + places % BLOCK


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """(..., V) with -inf for all but the k largest; 0 keeps all."""
    if not k or k >= logits.shape[-1]:
        return logits
    least = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """(..., V) with -inf for all but the fewest most probable tokens whose probability is together at least p.

    Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", arXiv 1904.09751.
    """
    if p >= 1:
        return logits
    ordered, places = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    enough_before = probabilities.cumsum(dim=-1) - probabilities >= p  # without the token itself, so one always stays
    return logits.masked_fill(torch.zeros_like(enough_before).scatter(-1, places, enough_before), -torch.inf)
