"""The attentional pooler: learned queries look at a sequence and bring back a fixed number of tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from coca_cli.model.layers import Attention


class AttentionalPooler(nn.Module):
    """One multi-head attention layer with learned queries (paper section 3.2; Lee et al. 2019).

    Args:
        queries: Number of learned queries, Q.
        width: Output width.
        context_width: Width of the sequence that is pooled.
        heads: Attention heads.
        norm_inputs: LayerNorm on queries and sequence (open_clip).
        post_norm: LayerNorm on the output.
    """

    def __init__(
        self,
        queries: int,
        width: int,
        context_width: int,
        heads: int,
        *,
        norm_inputs: bool = False,
        post_norm: bool = True,
    ) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(queries, width))
        self.attention = Attention(width, heads, context_width)
        self.norm_queries = nn.LayerNorm(width) if norm_inputs else nn.Identity()
        self.norm_context = nn.LayerNorm(context_width) if norm_inputs else nn.Identity()
        self.norm = nn.LayerNorm(width) if post_norm else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise queries and projections anew."""
        nn.init.normal_(self.queries, std=1.0)
        for linear in (self.attention.q, self.attention.kv, self.attention.out):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, context: Tensor, n_queries: int | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, context_width) -> (B, Q, W).

        Args:
            context: The sequences.
            n_queries: The first so many queries alone; None for all.
            mask: (B, N), True where a sequence may be looked at; None for everywhere.
        """
        attention = self.attention
        queries = self.norm_queries(self.queries[:n_queries])
        q = attention.split_heads(attention.q(queries)[None])  # (1, H, Q, W / H)
        k, v = attention.keys_values(context, self.norm_context)
        pooled = attention.attend(
            q.expand(len(context), -1, -1, -1), k, v, None if mask is None else mask[:, None, None]
        )  # (B, Q, W)
        out: Tensor = self.norm(pooled)
        return out

    def weights(self, context: Tensor) -> Tensor:
        """How much each query looks at each place, (B, Q, N) in fp32: the mean over the attention heads, summing to 1.

        Args:
            context: (B, N, context_width).
        """
        attention = self.attention
        q = attention.split_heads(attention.q(self.norm_queries(self.queries))[None])  # (1, H, Q, W / H)
        k, _ = attention.keys_values(context, self.norm_context)
        scores = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5  # (B, H, Q, N)
        weights: Tensor = scores.softmax(dim=-1).mean(dim=1)
        return weights
