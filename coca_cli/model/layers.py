"""Attention and Transformer blocks: pre-LN, exact GELU, biases."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coca_cli.model.packed_linear import PackedLinear
from coca_cli.model.packing import Packing
from coca_cli.model.recomputed import gelu_linear, norm_linear, recomputed

NO_NORM = nn.Identity()


class KeysValues(NamedTuple):
    """Keys and values of a sequence in one attention, (B, H, T, W / H) each."""

    keys: Tensor
    values: Tensor


PLAIN_PRODUCTS = 64 * 64
"""Pairs of positions up to which plain products train faster in bf16 than the CPU's kernel, and take little memory."""


MANY_SEQUENCES = 4
"""From here on plain products of few queries are faster than the CPU's kernel, most of all in bf16."""


def mix_values(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Scaled dot-product attention of split heads.

    PyTorch's kernel for the CPU goes back through short sequences in bf16 many times slower than in fp32; these take
    plain products while training.

    Args:
        q: (B, H, T, W / H).
        k: (B, H, S, W / H).
        v: (B, H, S, W / H).
        mask: Boolean, broadcast to (B, H, T, S); True where a query may look.
        causal: Queries look at their own position and back; not together with a mask.

    Returns:
        (B, H, T, W / H).
    """
    rows, columns = q.shape[2], k.shape[2]
    slow = q.device.type == "cpu" and q.dtype == torch.bfloat16 and torch.is_grad_enabled()
    if not slow or rows * columns > PLAIN_PRODUCTS or rows == 1:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    if causal:
        mask = torch.ones(rows, columns, dtype=torch.bool).tril()
    return _plain_products(q, k, v, mask)


def _plain_products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5  # (B, H, T, S); scaled here, no copy of q is kept
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    out: Tensor = scores.softmax(dim=-1) @ v  # computed in fp32, kept in the format of the scores
    return out


class Attention(nn.Module):
    """Multi-head attention; queries from one sequence, keys and values from the same or another.

    Args:
        width: Width of the queries and the output.
        heads: Attention heads.
        context_width: Width of another sequence that keys and values come from; without it, self-attention.
    """

    def __init__(self, width: int, heads: int, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.cross = context_width is not None
        self.recomputes = True
        """Keep less for the backward pass; without use inside of what is computed anew as a whole."""
        if context_width is None:
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.q = nn.Linear(width, width)
            self.kv = nn.Linear(context_width, 2 * width)
        self.out = nn.Linear(width, width)

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, H, T, W / H)."""
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Attention of split heads, joined and projected.

        Args:
            q: (B, H, T, W / H).
            k: (B, H, S, W / H).
            v: (B, H, S, W / H).
            mask: Boolean, broadcast to (B, H, T, S), True where a query may look; or what is added to the scores.
            causal: Queries look at their own position and back; not together with a mask.

        Returns:
            (B, T, W).
        """
        out: Tensor = self.out(mix_values(q, k, v, mask, causal).transpose(1, 2).flatten(2))
        return out

    def attend_few(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """As `attend`, for a dozen queries: of many sequences plain products take half the time of the CPU's kernel."""
        if q.device.type != "cpu" or len(q) < MANY_SEQUENCES:
            return self.attend(q, k, v, mask)
        out: Tensor = self.out(_plain_products(q, k, v, mask).transpose(1, 2).flatten(2))
        return out

    def keys_values(self, context: Tensor, norm: nn.Module = NO_NORM) -> tuple[Tensor, Tensor]:
        """Keys and values of another sequence, (B, S, W) -> two of (B, H, S, W / H), a norm before them included."""
        k, v = norm_linear(context, norm, self.kv).chunk(2, dim=-1)
        return self.split_heads(k), self.split_heads(v)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        packing: Packing | None = None,
        norms: tuple[nn.Module, nn.Module] = (NO_NORM, NO_NORM),
    ) -> Tensor:
        """(B, T, W) -> (B, T, W), or (n, W) -> (n, W) with a packing; `context` (B, S, context_width) to look at.

        The norms, of the queries' sequence and of the context, come first.
        """
        projected = norm_linear(x, norms[0], self.q if self.cross else self.qkv)
        assert self.cross == (context is not None)
        inputs = (projected, context, mask, causal, packing, norms[1])
        # Keys and values of a context, and texts with their padding, are larger than what they are made of.
        recompute = self.recomputes and (self.cross or packing is not None)
        out: Tensor = self.out(recomputed(self._mix, *inputs) if recompute else self._mix(*inputs))
        return out

    def _mix(
        self,
        projected: Tensor,
        context: Tensor | None,
        mask: Tensor | None,
        causal: bool,
        packing: Packing | None,
        norm: nn.Module,
    ) -> Tensor:
        if packing is not None:
            projected = packing.pad(projected)
        if context is not None:
            q, (k, v) = self.split_heads(projected), self.keys_values(context, norm)
        else:
            q, k, v = (self.split_heads(part) for part in projected.chunk(3, dim=-1))
        mixed = mix_values(q, k, v, mask, causal).transpose(1, 2).flatten(2)
        return mixed if packing is None else packing.pack(mixed)


class MLP(nn.Sequential):
    """Linear, GELU, Linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, norm: nn.Module) -> Tensor:  # type: ignore[override]
        """(..., W) -> (..., W), the LayerNorm before it included."""
        into, _, back = self
        if isinstance(into, PackedLinear):
            out: Tensor = back(into(norm(x), "gelu"))
            return out
        assert isinstance(into, nn.Linear)
        assert isinstance(back, nn.Linear)
        return gelu_linear(norm_linear(x, norm, into), back)


class Block(nn.Module):
    """One pre-LN block: attention and MLP, each with its LayerNorm and residual.

    Args:
        width: Token width.
        heads: Attention heads.
        mlp_width: Hidden width of the MLP; 0 for a block without one.
        context_width: Width of the sequence that is looked at; without it, self-attention.
        norm_context: LayerNorm on that sequence.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        context_width: int | None = None,
        norm_context: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(context_width) if norm_context and context_width else nn.Identity()
        self.attention = Attention(width, heads, context_width)
        self.norm2 = nn.LayerNorm(width) if mlp_width else nn.Identity()
        self.mlp = MLP(width, mlp_width) if mlp_width else None
        self.drop_path: nn.Module = nn.Identity()
        """What becomes of a residual branch; a `DropPath` while an encoder is finetuned."""

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        packing: Packing | None = None,
    ) -> Tensor:
        """(B, T, W) -> (B, T, W), or (n, W) -> (n, W) with a packing; mask and context stay those of the batch."""
        x = x + self.drop_path(self.attention(x, context, mask, causal, packing, (self.norm1, self.norm_context)))
        return x + self.drop_path(self.mlp(x, self.norm2)) if self.mlp is not None else x

    def extend(self, x: Tensor, mask: Tensor, past: KeysValues | None = None) -> tuple[Tensor, KeysValues]:
        """Self-attention of the last positions of a sequence, those before them being known by their keys and values.

        Args:
            x: (B, R, W) the last positions.
            mask: Boolean, broadcast to (B, H, R', P + R), for the last R' <= R positions: the others are looked at, but
                not computed.
            past: Keys and values of the P positions before, (B, H, P, W / H) each.

        Returns:
            (B, R', W), and keys and values of all P + R positions.
        """
        attention, rows = self.attention, mask.shape[2]
        projected = norm_linear(x, self.norm1, attention.qkv)
        q, k, v = (attention.split_heads(part) for part in projected.chunk(3, dim=-1))
        if past is not None:
            k, v = torch.cat([past.keys, k], dim=2), torch.cat([past.values, v], dim=2)
        out = x[:, -rows:] + attention.attend_few(q[:, :, -rows:], k, v, mask)
        return (out + self.mlp(out, self.norm2) if self.mlp is not None else out), KeysValues(k, v)


def init_block(block: Block, depth: int) -> None:
    """CLIP's initialisation: residual branches are scaled down with the depth of the stack.

    Args:
        block: The block to initialise in place.
        depth: Blocks in its stack.
    """
    width = block.norm1.normalized_shape[0]
    residual_std = width**-0.5 * (2 * depth) ** -0.5
    attention = block.attention
    for linear in (attention.q, attention.kv) if attention.cross else (attention.qkv,):
        nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
        nn.init.zeros_(linear.bias)
    nn.init.normal_(attention.out.weight, std=residual_std)
    nn.init.zeros_(attention.out.bias)
    if block.mlp is not None:
        into, _, back = block.mlp
        assert isinstance(into, nn.Linear)
        assert isinstance(back, nn.Linear)
        nn.init.normal_(into.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(back.weight, std=residual_std)
        nn.init.zeros_(into.bias)
        nn.init.zeros_(back.bias)


def interpolate_grid(positions: Tensor, side: int) -> Tensor:
    """Learned positions of a square grid of patches for another grid, bicubic with antialiasing.

    Args:
        positions: (n * n, W).
        side: Patches per side wanted.

    Returns:
        (side * side, W).
    """
    old = round(len(positions) ** 0.5)
    if old == side:
        return positions
    grid = positions.T.reshape(1, -1, old, old).float()
    grid = F.interpolate(grid, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    return grid.flatten(2)[0].T.to(positions.dtype)
