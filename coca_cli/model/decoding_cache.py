"""Texts that grow by a token at a time over pictures: what earlier tokens left behind is kept, never computed again.

Each picture has K texts that grow side by side (the beams of a search, or samples). Keys and values of the image tokens
are computed once per picture and shared by its texts. Keys and values of tokens stay in the place where they were
written, and each text knows the places of its own past: when beams are reordered only that table changes.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from coca_cli.model.coca import CoCa
from coca_cli.model.layers import Attention, Block
from coca_cli.model.recomputed import norm_linear
from coca_cli.model.text import MultimodalLayer


class DecodingCache:
    """The state of B pictures with K growing texts each.

    Args:
        model: In evaluation mode.
        image_tokens: (B, Q, W) of the pictures.
        texts: K.
        length: Positions of a text at most, the beginning included.
    """

    def __init__(self, model: CoCa, image_tokens: Tensor, texts: int, length: int) -> None:
        self.model, self.texts = model, texts
        self.legacy_mask = model.config.text.cls_mask == "legacy"
        self.layers = [cast(MultimodalLayer, layer) for layer in model.decoder.layers]
        self.pictures = [_looked_at(layer.cross, image_tokens) for layer in self.layers]
        unimodal = [cast(Block, block) for block in model.text.blocks]
        self.length = length
        self.slots = 0  # places that are written
        self.position = 0  # of the next token in its text
        batch, device = len(image_tokens), image_tokens.device
        self.past = [_Past(block, batch, device, image_tokens.dtype) for block in unimodal]
        self.own_past = [_Past(layer.own, batch, device, image_tokens.dtype) for layer in self.layers]
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
        places = causal.expand(batch, 1, size, size)
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
        places = self.own[:, None]
        return self._advance(tokens, places, places & self.visible[:, None, None])

    def keep(self, rows: Tensor) -> None:
        """Go on with these pictures alone.

        Args:
            rows: (b,) their places in the batch.
        """
        self.pictures = [(k[rows], v[rows]) for k, v in self.pictures]
        for past in (*self.past, *self.own_past):
            past.keep(rows)
        self.own, self.visible, self.last = self.own[rows], self.visible[rows], self.last[rows]

    def _advance(self, tokens: Tensor, places: Tensor, visible: Tensor) -> Tensor:
        """Ids (B, R) into the next R places, with the places they look at, (B, 1, R, S) -> logits (B, R, V)."""
        text, decoder, rows = self.model.text, self.model.decoder, tokens.shape[1]
        growing = self.slots > 0  # R texts by one position each; at the beginning one text by R positions
        first = self.position
        positions = text.positions[first : first + 1] if growing else text.positions[:rows]
        room = self.slots + rows + (0 if growing else (self.length - rows) * self.texts)
        x = text.embedding(tokens) + positions
        visible, places = (_additive(mask, x.dtype) for mask in (visible, places))  # once, not in every layer
        for block, past in zip(text.blocks, self.past, strict=True):
            x = past.extend(cast(Block, block), x, visible, self.slots, room)
        for layer, past, (k, v) in zip(self.layers, self.own_past, self.pictures, strict=True):
            x = past.extend(layer.own, x, places, self.slots, room)
            x = _look_at_picture(layer.cross, x, k, v)
        self.slots += rows
        self.position += 1 if growing else rows
        if not growing:
            x = x[:, -1:]  # nothing is asked of the beginning's other positions
        logits: Tensor = decoder.to_vocab(decoder.norm(x)).float()
        return logits


class _Past:
    """Keys and values of one self-attention, written in their places."""

    def __init__(self, block: Block, batch: int, device: torch.device, dtype: torch.dtype) -> None:
        self.heads, self.width = block.attention.heads, block.attention.out.in_features
        self.held = torch.empty(2, batch, self.heads, 0, self.width // self.heads, device=device, dtype=dtype)

    def keep(self, rows: Tensor) -> None:
        self.held = self.held[:, rows]

    def extend(self, block: Block, x: Tensor, mask: Tensor, start: int, room: int) -> Tensor:
        """The block on the next R places, (B, R, W) -> (B, R, W); additive mask (B, 1, R, S) with S = start + R."""
        attention, end = block.attention, start + x.shape[1]
        q, k, v = (attention.split_heads(p) for p in norm_linear(x, block.norm1, attention.qkv).chunk(3, dim=-1))
        if self.held.shape[3] < end:
            more = self.held.new_empty(*self.held.shape[:3], max(room, end), self.held.shape[4])
            more[:, :, :, :start] = self.held[:, :, :, :start]
            self.held = more
        self.held[0, :, :, start:end], self.held[1, :, :, start:end] = k, v
        keys, values = self.held[:, :, :, :end]
        x = x + attention.attend_few(q, keys, values, mask)
        return x + block.mlp(x, block.norm2) if block.mlp is not None else x


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What attention adds to its scores: 0 where the mask is True, else -inf."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


def _looked_at(block: Block, image_tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of the image tokens, (B, H, Q, W / H), in one piece: products would copy them at each step."""
    keys, values = block.attention.keys_values(image_tokens, block.norm_context)
    return keys.contiguous(), values.contiguous()


def _look_at_picture(block: Block, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Cross-attention of the texts of each picture, (B, R, W), to the picture's keys and values (B, H, Q, W / H)."""
    attention: Attention = block.attention
    q = attention.split_heads(norm_linear(x, block.norm1, attention.q))
    x = x + attention.attend_few(q, keys, values)
    return x + block.mlp(x, block.norm2) if block.mlp is not None else x
