"""The classifier that a task puts on an encoder: a single-query attentional pooler and a linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coca_cli.model.pooler import AttentionalPooler


class TaskHead(nn.Module):
    """A new attentional pooler with one query, and a linear classifier on what it brings back.

    Source: the paper's section 4.2.1 and Table 9: an attentional pooling layer and a softmax layer on the encoder's
    output tokens; for clips on the tokens of all frames together (section 4.2.2). How the pooler is built is not said:
    here as the model's own poolers are.

    Args:
        width: Of the tokens.
        heads: Attention heads of the pooler.
        classes: C.
        norm_inputs: LayerNorm on query and tokens, as the poolers of open_clip's models have it.
        frames: Learned positions in time, added to the (normalised) tokens of each frame; 0 for none. Without them the
            pooler looks at a set: it cannot tell a clip from the same clip backwards.
    """

    def __init__(self, width: int, heads: int, classes: int, *, norm_inputs: bool = False, frames: int = 0) -> None:
        super().__init__()
        self.pooler = AttentionalPooler(1, width, width, heads, norm_inputs=norm_inputs)
        self.times = nn.Parameter(torch.empty(frames, width)) if frames else None
        self.classifier = nn.Linear(width, classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise anew; a query of length 1 per number looks at all tokens about alike."""
        self.pooler.reset_parameters()
        if self.times is not None:
            nn.init.normal_(self.times, std=0.02)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, W) of pictures, or (B, F, N, W) of clips, -> logits (B, C) in fp32."""
        return side_by_side([self], tokens)[0]


def side_by_side(heads: Sequence[TaskHead], tokens: Tensor) -> Tensor:
    """The logits of several heads of one build from one look at the tokens.

    With a single query the keys need not be computed: the product of the query with a token's key is the product of
    the token with the query taken back through the keys' matrix. Nor the values: the sum of the tokens' values is the
    value of their sum. So a head costs two vectors per token and attention head in place of two matrices, and all heads
    are two products. What a LayerNorm's or the keys' bias adds is the same for all tokens: the softmax takes it out.

    Args:
        heads: S heads.
        tokens: (B, N, W) of pictures, or (B, F, N, W) of clips, in any number format.

    Returns:
        (S, B, C) in fp32; the numbers that the pooler itself would give, but for rounding.
    """
    matrices = [_matrices(head) for head in heads]
    looks = _look(heads, [both.keys for both in matrices], tokens)
    seen, weights = looks.seen, looks.weights
    shape = weights.shape[2:]
    pooled = (weights.flatten(2).transpose(1, 2) @ seen).view(len(seen), *shape, -1)  # (B, S, H, W)
    if looks.times is not None:
        by_frame = weights.view(len(seen), looks.frames, -1, *shape).sum(dim=2)  # (B, F, S, H)
        pooled = pooled + torch.einsum("bfsh,sfw->bshw", by_frame, looks.times)
    parts = zip(heads, matrices, pooled.unbind(dim=1), strict=True)
    return torch.stack([_classify(head, both.values, own) for head, both, own in parts])


def attention_weights(head: TaskHead, tokens: Tensor) -> Tensor:
    """How much the head's query looks at each token, the mean over its attention heads, summing to 1 for each example.

    Args:
        head: A head.
        tokens: (B, N, W) of pictures, or (B, F, N, W) of clips, in any number format.

    Returns:
        (B, N) or (B, F, N) in fp32.
    """
    return _look([head], [_matrices(head).keys], tokens).weights.mean(dim=(2, 3)).view(tokens.shape[:-1])


class _Looks(NamedTuple):
    seen: Tensor  # (B, L, W) the tokens of all frames, normalised where the poolers do so
    weights: Tensor  # (B, L, S, H) of each head's attention heads, summing to 1 over the tokens
    times: Tensor | None  # (S, F, W)
    frames: int


def _look(heads: Sequence[TaskHead], keys: Sequence[Tensor], tokens: Tensor) -> _Looks:
    clips = tokens if tokens.ndim == 4 else tokens[:, None]  # (B, F, N, W)
    frames, each = clips.shape[1:3]
    seen = clips.flatten(1, 2).float()  # (B, L, W)
    norm = heads[0].pooler.norm_context
    if isinstance(norm, nn.LayerNorm):
        seen = F.layer_norm(seen, seen.shape[-1:], eps=norm.eps)
    looking = torch.stack([_looking(head, own) for head, own in zip(heads, keys, strict=True)])  # (S, H, W)
    shape = looking.shape[:2]
    scores = (seen @ looking.flatten(0, 1).T).view(*seen.shape[:2], *shape)  # (B, L, S, H)
    times = None if heads[0].times is None else torch.stack([_times(head, frames) for head in heads])  # (S, F, W)
    if times is not None:
        at_time = torch.einsum("sfw,shw->fsh", times, looking)
        scores = scores + at_time.repeat_interleave(each, dim=0)
    return _Looks(seen, scores.softmax(dim=1), times, frames)


class _Matrices(NamedTuple):
    keys: Tensor  # (H, W / H, W) of the attention heads
    values: Tensor  # the same


def _matrices(head: TaskHead) -> _Matrices:
    """Taken once per step, and both at once: each slice would have a gradient as large as the whole, mostly zeros."""
    attention = head.pooler.attention
    weight = attention.kv.weight
    return _Matrices(*weight.view(2, attention.heads, -1, weight.shape[1]).unbind())


def _looking(head: TaskHead, keys: Tensor) -> Tensor:
    """What each attention head's score of a token is the product with, (H, W)."""
    pooler = head.pooler
    queries = pooler.attention.q(pooler.norm_queries(pooler.queries)).view(pooler.attention.heads, -1)
    scaled = queries * queries.shape[-1] ** -0.5
    looking = torch.einsum("hd,hdw->hw", scaled, keys)
    return looking * pooler.norm_context.weight if isinstance(pooler.norm_context, nn.LayerNorm) else looking


def _times(head: TaskHead, frames: int) -> Tensor:
    """The positions in time, (F, W); of another number of frames than was trained on, in between."""
    assert head.times is not None
    if len(head.times) == frames:
        return head.times
    between = F.interpolate(head.times.T[None], size=frames, mode="linear", align_corners=True)
    return between[0].T


def _classify(head: TaskHead, matrices: Tensor, pooled: Tensor) -> Tensor:
    """Sums of tokens, (B, H, W), by their attention weights; matrices of values, (H, W / H, W) -> logits (B, C)."""
    pooler = head.pooler
    if isinstance(pooler.norm_context, nn.LayerNorm):
        pooled = pooled * pooler.norm_context.weight + pooler.norm_context.bias
    values = torch.einsum("bhw,hdw->bhd", pooled, matrices).flatten(1) + pooler.attention.kv.bias.chunk(2)[1]
    logits: Tensor = head.classifier(pooler.norm(pooler.attention.out(values)))
    return logits
