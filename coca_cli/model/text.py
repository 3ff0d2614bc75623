"""The text side: unimodal layers that never see the picture, then multimodal layers that look at it."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coca_cli.model.config import CoCaConfig
from coca_cli.model.layers import Block, KeysValues, init_block
from coca_cli.model.packing import Packing

MAX_LEVELS = 3
"""Texts, their beginnings, the beginnings of those; deeper levels were not measurably quicker."""

SHARING_PAYS = 0.9
"""Beginnings are shared where at most this part of the positions is left: gathering keys and values costs, too."""


class TextFeatures(NamedTuple):
    """What the unimodal layers know of a batch.

    Attributes:
        embedding: (B, D) contrastive embedding from [CLS], not normalised.
        hidden: (B, T, W) the tokens as the multimodal layers take them, without [CLS] and without a last LayerNorm.
    """

    embedding: Tensor
    hidden: Tensor


def trim_tokens(tokens: Tensor, pad_id: int) -> Tensor:
    """Cut padding that every text of the batch has. Embeddings and logits do not change.

    Args:
        tokens: (B, T) token ids, padded at the end.
        pad_id: The padding id.

    Returns:
        (B, longest text), at least one position.
    """
    used = (tokens != pad_id).any(dim=0).nonzero()
    return tokens[:, : int(used[-1]) + 1 if len(used) else 1]


def text_lengths(tokens: Tensor, pad_id: int) -> Tensor:
    """(B, T) token ids -> (B,) positions up to the last that is no padding."""
    positions = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return ((tokens != pad_id) * positions).amax(dim=1)


class Prefixes(NamedTuple):
    """The distinct beginnings of a batch of texts.

    Attributes:
        length: Positions of each, P; 0 where sharing does not pay.
        rows: (U,) a row that has each beginning.
        of_row: (B,) the beginning of each row.
    """

    length: int
    rows: Tensor
    of_row: Tensor


class _Level(NamedTuple):
    """Texts from the position on where their beginnings end.

    Attributes:
        x: (B, R, W) the positions that are computed here.
        mask: (B, 1, R, P + R), True where they may look.
        of_prefix: (B,) which text of the next level is the beginning of each; None where there is none.
    """

    x: Tensor
    mask: Tensor
    of_prefix: Tensor | None


def find_prefixes(tokens: Tensor) -> Prefixes:
    """The length of beginnings with which the fewest positions are computed, each distinct beginning once.

    Args:
        tokens: (B, T) token ids.
    """
    n, size = tokens.shape
    groups = torch.zeros(n, dtype=torch.long, device=tokens.device)
    best, best_groups, least = 0, groups, SHARING_PAYS * n * size
    for length in range(1, size):
        keys = groups * (int(tokens.max()) + 1) + tokens[:, length - 1]
        distinct, groups = torch.unique(keys, return_inverse=True)
        positions = len(distinct) * length + n * (size - length)
        if positions < least:
            best, best_groups, least = length, groups, positions
        if 2 * len(distinct) > n:
            break
    count = int(best_groups.max()) + 1 if n else 0
    first = torch.full((count,), n, device=tokens.device)
    first.scatter_reduce_(0, best_groups, torch.arange(n, device=tokens.device), "amin")
    return Prefixes(best, first, best_groups)


class UnimodalDecoder(nn.Module):
    """Causal Transformer over text with learned [CLS] tokens at its end (paper section 3.2)."""

    def __init__(self, config: CoCaConfig) -> None:
        super().__init__()
        text = config.text
        self.context, self.pad_id = text.context, text.pad_id
        self.legacy_mask = text.cls_mask == "legacy"
        self.cls_position = text.cls_position
        self.embedding = nn.Embedding(text.vocab_size, text.width)
        self.cls = nn.Parameter(torch.empty(text.cls_tokens, text.width))
        rows = text.context + (text.cls_tokens if text.cls_position else 0)
        self.positions = nn.Parameter(torch.empty(rows, text.width))
        self.blocks = nn.ModuleList(Block(text.width, text.heads, text.mlp_width) for _ in range(text.unimodal_layers))
        self.norm = nn.LayerNorm(text.width)
        self.projection = nn.Linear(text.width, config.embed_dim, bias=False) if config.projection else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise anew; words and [CLS] with the standard deviation of the authors' later code."""
        scale = self.embedding.embedding_dim**-0.5
        nn.init.normal_(self.embedding.weight, std=scale)
        nn.init.normal_(self.positions, std=0.01)
        nn.init.normal_(self.cls, std=scale)
        for block in self.blocks:
            assert isinstance(block, Block)
            init_block(block, len(self.blocks))
        if isinstance(self.projection, nn.Linear):
            nn.init.normal_(self.projection.weight, std=self.projection.in_features**-0.5)

    def forward(self, tokens: Tensor, rows: Tensor | None = None) -> TextFeatures:
        """(B, T) token ids with T up to the context -> embedding (B, D), hidden (B, T, W).

        T may be anything from the longest text upwards: [CLS] keeps its own position embedding and sees no padding
        that it would not see at full length.

        Args:
            tokens: The texts.
            rows: From `packed_rows`: the positions that are computed; padding comes out as zero. None computes all.
        """
        length = tokens.shape[1]
        x, mask = self._embed_tokens(tokens)
        packing = None if rows is None else Packing(rows, len(x), x.shape[1])
        if packing is not None:
            x = packing.pack(x)
        for block in self.blocks:
            x = block(x, mask=mask, packing=packing)
        if packing is not None:
            x = packing.pad(x)
        return TextFeatures(self._pool(x), x[:, :length])

    def packed_rows(self, tokens: Tensor) -> Tensor:
        """The positions that matter to embedding and captions, in the flattened (B * (T + C)) batch that blocks see.

        Args:
            tokens: (B, T) token ids.
        """
        # The shifted mask shows [CLS] one padding position, see `_embed_tokens`.
        width = tokens.shape[1] + int(self.legacy_mask and tokens.shape[1] < self.context)
        lengths = (text_lengths(tokens, self.pad_id) + int(self.legacy_mask)).clamp(max=width)
        used = torch.arange(width, device=tokens.device) < lengths[:, None]  # (B, T)
        return F.pad(used, (0, len(self.cls)), value=True).flatten().nonzero().flatten()

    def embed(self, tokens: Tensor) -> Tensor:
        """The embedding (B, D) alone, with what does not change it left out.

        Texts that begin alike, as prompts of one template do, share the work on their beginning: nothing later is seen
        from there. The last block computes [CLS] and nothing else.
        """
        x, mask = self._embed_tokens(tokens)
        levels: list[_Level] = []  # the texts themselves, their distinct beginnings, the beginnings of those, ...
        while True:
            prefixes = find_prefixes(tokens)
            start = prefixes.length if len(levels) + 1 < MAX_LEVELS else 0
            levels.append(_Level(x[:, start:], mask[:, :, start:], prefixes.of_row if start else None))
            if not start:
                break
            tokens = tokens[prefixes.rows, :start]
            x, mask = x[prefixes.rows, :start], mask[prefixes.rows, :, :start, :start]
        last_rows = [len(self.cls), *[1] * len(levels)]  # of the beginnings the last block's keys and values are wanted
        for block in self.blocks:
            assert isinstance(block, Block)
            past: KeysValues | None = None
            for depth in reversed(range(len(levels))):
                level = levels[depth]
                if past is not None:
                    past = KeysValues(past.keys[level.of_prefix], past.values[level.of_prefix])
                seen = level.mask[:, :, -last_rows[depth] :] if block is self.blocks[-1] else level.mask
                y, past = block.extend(level.x, seen, past)
                levels[depth] = level._replace(x=y)
        return self._pool(levels[0].x)

    def _embed_tokens(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) -> the input of the first block (B, T + C, W) with [CLS] at the end, and its mask."""
        if tokens.shape[1] > self.context:  # one token more would silently take the position of [CLS]
            raise ValueError(f"texts of {tokens.shape[1]} tokens do not fit {self.context} positions")
        if self.legacy_mask and tokens.shape[1] < self.context:
            # The shifted mask lets [CLS] see exactly one padding position wherever there is any.
            tokens = F.pad(tokens, (0, 1), value=self.pad_id)
        n_text, n_cls = tokens.shape[1], len(self.cls)
        x = self.embedding(tokens) + self.positions[:n_text]
        cls = self.cls + self.positions[self.context :] if self.cls_position else self.cls
        return torch.cat([x, cls.expand(len(x), -1, -1)], dim=1), self._mask(tokens, n_cls)

    def _pool(self, x: Tensor) -> Tensor:
        """The embedding (B, D) from the last C positions of (B, ..., W)."""
        embedding: Tensor = self.projection(self.norm(x[:, -len(self.cls) :]).mean(dim=1))
        return embedding

    def _mask(self, tokens: Tensor, n_cls: int) -> Tensor:
        """(B, 1, T + C, T + C), True where a query may look: causal, and no padding."""
        size = tokens.shape[1] + n_cls
        visible = tokens != self.pad_id  # (B, T)
        # The released weights were trained with the [CLS] validity at the front, which shifts the padding mask by one.
        padding = (n_cls, 0) if self.legacy_mask else (0, n_cls)
        visible = F.pad(visible, padding, value=True)
        visible[:, 0] = True  # a row that may look nowhere would be NaN
        causal = torch.ones(size, size, dtype=torch.bool, device=tokens.device).tril()
        return (causal & visible[:, None, :])[:, None]


class MultimodalLayer(nn.Module):
    """Causal self-attention, then cross-attention to the image tokens, then an MLP."""

    def __init__(self, config: CoCaConfig) -> None:
        super().__init__()
        text = config.text
        image_width = config.pooler.width if config.pooler.queries else config.vision.width
        self.own = Block(text.width, text.heads, text.mlp_width if text.self_mlp else 0)
        self.cross = Block(text.width, text.heads, text.mlp_width, image_width, text.norm_context)

    def forward(self, x: Tensor, image_tokens: Tensor, packing: Packing | None = None) -> Tensor:
        """(B, T, W) and (B, Q, W) -> (B, T, W), or (n, W) -> (n, W) with a packing."""
        out: Tensor = self.cross(self.own(x, causal=True, packing=packing), image_tokens, packing=packing)
        return out


class MultimodalDecoder(nn.Module):
    """The upper half of the text decoder, down to next-token logits."""

    def __init__(self, config: CoCaConfig) -> None:
        super().__init__()
        text = config.text
        self.layers = nn.ModuleList(MultimodalLayer(config) for _ in range(text.multimodal_layers))
        self.norm = nn.LayerNorm(text.width)
        self.to_vocab = nn.Linear(text.width, text.vocab_size, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise anew, the vocabulary head too."""
        for layer in self.layers:
            assert isinstance(layer, MultimodalLayer)
            init_block(layer.own, len(self.layers))
            init_block(layer.cross, len(self.layers))
        nn.init.normal_(self.to_vocab.weight, std=self.to_vocab.in_features**-0.5)

    def forward(self, hidden: Tensor, image_tokens: Tensor) -> Tensor:
        """Unimodal output (B, T, W) and image tokens (B, Q, W) -> logits (B, T, V)."""
        logits: Tensor = self.to_vocab(self.read(hidden, image_tokens))
        return logits

    def read(self, hidden: Tensor, image_tokens: Tensor, rows: Tensor | None = None) -> Tensor:
        """What the vocabulary head takes: texts that have looked at their pictures.

        Args:
            hidden: (B, T, W) unimodal output.
            image_tokens: (B, Q, W).
            rows: (n,) positions in the flattened (B * T) batch that are wanted, a beginning of each text; None for all.

        Returns:
            (B, T, W), or (n, W) where rows are given.
        """
        packing = None if rows is None else Packing(rows, *hidden.shape[:2])
        if packing is not None:
            hidden = packing.pack(hidden)
        for layer in self.layers:
            hidden = layer(hidden, image_tokens, packing)
        out: Tensor = self.norm(hidden)
        return out
