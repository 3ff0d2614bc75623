"""Texts that grow by a token at a time over pictures: what earlier tokens left behind is kept, never computed again.

Each picture has K texts that grow side by side (the beams of a search, or samples). Keys and values of the image tokens
are computed once per picture and shared by its texts. Keys and values of tokens stay in the place where they were
written, and each text knows the places of its own past: when beams are reordered only that table changes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coca_cli.model.coca import CoCa
from coca_cli.model.kept_attention import Bags, Kept
from coca_cli.model.layers import MLP, Block
from coca_cli.model.packed_linear import PackedLinear
from coca_cli.model.text import MultimodalLayer


class DecodingCache:
    """The state of B pictures with K growing texts each.

    Args:
        model: In evaluation mode.
        image_tokens: (B, Q, W) of the pictures.
        texts: K.
        length: Positions of a text at most, the beginning included.
    """

    @torch.no_grad()
    def __init__(self, model: CoCa, image_tokens: Tensor, texts: int, length: int) -> None:
        self.model, self.texts = model, texts
        self.legacy_mask = model.config.text.cls_mask == "legacy"
        batch, device, room, bags = len(image_tokens), image_tokens.device, length * texts, Bags()
        image_tokens = image_tokens.contiguous()
        layers = [cast(MultimodalLayer, layer) for layer in model.decoder.layers]
        self.unimodal = [_looking_back(cast(Block, block), image_tokens, room, bags) for block in model.text.blocks]
        self.multimodal = [
            (_looking_back(layer.own, image_tokens, room, bags), _looking_at(layer.cross, image_tokens, bags))
            for layer in layers
        ]
        self.position = 0  # of the next token in its text
        self.own = torch.zeros(batch, texts, 0, dtype=torch.bool, device=device)  # (B, K, S) places of each text's past
        self.visible = torch.zeros(batch, 0, dtype=torch.bool, device=device)  # (B, S) what unimodal layers may see
        self.last = torch.zeros(batch, texts, dtype=torch.long, device=device)  # the newest token of each text

    def begin(self, prompt: Tensor) -> Tensor:
        """Take in the beginning that all texts have.

        Args:
            prompt: (P,) token ids, the begin token first.

        Returns:
            (B, V) fp32 logits of the next token.
        """
        batch, size = len(self.own), len(prompt)
        seen = prompt != self.model.pad_id
        if self.legacy_mask:  # the released weights: a token is seen if the one before it is no padding
            seen = F.pad(seen[:-1], (1, 0), value=True)
        seen[0] = True
        causal = torch.ones(size, size, dtype=torch.bool, device=prompt.device).tril()
        places = causal.expand(batch, size, size)
        logits = self._advance(prompt.expand(batch, -1), places, places & seen)[:, -1]
        self.own = torch.ones(batch, self.texts, size, dtype=torch.bool, device=prompt.device)
        self.visible = seen.expand(batch, -1)
        self.last = prompt[-1].expand(batch, self.texts)
        return logits

    def extend(self, tokens: Tensor, parents: Tensor | None = None) -> Tensor:
        """Let every text grow by a token.

        Args:
            tokens: (B, K) token ids.
            parents: (B, K) which text of its picture each goes on from; None where each goes on from itself.

        Returns:
            (B, K, V) fp32 logits of the next tokens.
        """
        own, last = self.own, self.last
        if parents is not None:
            own, last = own.gather(1, parents[..., None].expand_as(own)), last.gather(1, parents)
        seen = (last if self.legacy_mask else tokens) != self.model.pad_id
        itself = torch.eye(self.texts, dtype=torch.bool, device=tokens.device).expand(len(tokens), -1, -1)
        self.own = torch.cat([own, itself], dim=2)
        self.visible = torch.cat([self.visible, seen], dim=1)
        self.last = tokens
        return self._advance(tokens, self.own, self.own & self.visible[:, None])

    def keep(self, rows: Tensor) -> None:
        """Go on with these pictures alone.

        Args:
            rows: (b,) their places in the batch.
        """
        for look in (*self.unimodal, *itertools.chain.from_iterable(self.multimodal)):
            look.kept.keep(rows)
        self.own, self.visible, self.last = self.own[rows], self.visible[rows], self.last[rows]

    @torch.no_grad()
    def _advance(self, tokens: Tensor, places: Tensor, visible: Tensor) -> Tensor:
        """Ids (B, R) into the next R places, with the places they look at, (B, R, S) -> logits (B, R, V)."""
        text, decoder, rows = self.model.text, self.model.decoder, tokens.shape[1]
        growing = self.position > 0  # R texts by one position each; at the beginning one text by R positions
        first = self.position
        positions = text.positions[first : first + 1] if growing else text.positions[:rows]
        x = (text.embedding(tokens) + positions).flatten(0, 1)  # (B * R, W), as products take it
        visible, places = (_additive(mask, x.dtype) for mask in (visible, places))  # once, not in every layer
        for back in self.unimodal:
            x = back.extend(x, visible)
        for back, picture in self.multimodal:
            x = picture.look(back.extend(x, places), rows)
        self.position += 1 if growing else rows
        x = x.view(len(tokens), rows, -1)
        if not growing:
            x = x[:, -1:]  # nothing is asked of the beginning's other positions
        logits: Tensor = decoder.to_vocab(decoder.norm(x)).float()
        return logits


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, R, S) -> (B, R, 1, S), what is added to the scores of all heads: 0 where the mask is True, else -inf."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)[:, :, None]


class _Look:
    """A block of the decoder and what it looks at.

    Its parts are at hand, their `forward` alone: to name a module and to call it takes a sixth of a small model's step.
    """

    def __init__(self, block: Block, kept: Kept) -> None:
        attention = block.attention
        self.kept, self.heads = kept, attention.heads
        self.norm = _norm(block.norm1)
        self.into = (attention.q if attention.cross else attention.qkv).forward
        self.out = attention.out.forward
        self.mlp = None if block.mlp is None else (_norm(block.norm2), *_linears(block.mlp))

    def extend(self, x: Tensor, mask: Tensor) -> Tensor:
        """The next R places, (B * R, W) -> (B * R, W); additive mask (B, R, 1, S) with S places then."""
        q, k, v = self.into(self.norm(x)).view(*mask.shape[:2], 3, self.heads, -1).unbind(2)
        self.kept.append(k, v)
        return self._go_on(x, self.kept.mix(q, mask))

    def look(self, x: Tensor, texts: int) -> Tensor:
        """The texts of each picture at the picture, (B * R, W) -> (B * R, W) with R texts each."""
        q = self.into(self.norm(x))
        return self._go_on(x, self.kept.mix(q.view(-1, texts, self.heads, q.shape[1] // self.heads)))

    def _go_on(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = self.out(mixed.reshape(x.shape)).add_(x)
        if self.mlp is None:
            return x
        norm, widen, narrow = self.mlp
        return narrow(widen(norm(x))).add_(x)


def _norm(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    assert isinstance(norm, nn.LayerNorm)
    shape, weight, bias, eps = norm.normalized_shape, norm.weight, norm.bias, norm.eps
    return lambda x: torch.layer_norm(x, shape, weight, bias, eps)


def _linears(mlp: MLP) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """The first linear layer with the GELU, and the second."""
    into, _, back = mlp
    if isinstance(into, PackedLinear):
        return partial(into.forward, activation="gelu"), back.forward
    return lambda x: F.gelu(into(x)), back.forward


def _looking_at(block: Block, image_tokens: Tensor, bags: Bags) -> _Look:
    """A block with keys and values of the image tokens."""
    keys, values = block.attention.keys_values(image_tokens, block.norm_context)
    keys = keys.contiguous()  # quicker to turn than rows that lie pages apart
    return _Look(block, Kept(keys.transpose(1, 2), values.transpose(1, 2), keys.shape[2], bags))


def _looking_back(block: Block, image_tokens: Tensor, room: int, bags: Bags) -> _Look:
    """A block with places for `room` tokens."""
    heads, width = block.attention.heads, block.attention.out.in_features
    nothing = image_tokens.new_empty(len(image_tokens), 0, heads, width // heads)
    return _Look(block, Kept(nothing, nothing, room, bags))
