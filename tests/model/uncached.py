"""What the decoding cache must equal: whole texts through the whole model at each step."""

from __future__ import annotations

import torch
from torch import Tensor

from coca_cli.model.coca import CoCa
from coca_cli.model.vision import ImageFeatures


class Uncached:
    """The state of B pictures with K texts each, as token ids alone."""

    def __init__(self, model: CoCa, image_tokens: Tensor, texts: int, length: int) -> None:
        self.model, self.image_tokens, self.texts, self.length = model, image_tokens, texts, length

    def begin(self, prompt: Tensor) -> Tensor:
        self.written = prompt.expand(len(self.image_tokens), self.texts, -1)
        return self._logits()[:, 0]

    def extend(self, tokens: Tensor, parents: Tensor | None = None) -> Tensor:
        written = self.written
        if parents is not None:
            written = written.gather(1, parents[..., None].expand_as(written))
        self.written = torch.cat([written, tokens[..., None]], dim=2)
        assert self.written.shape[2] <= self.length
        return self._logits()

    def keep(self, rows: Tensor) -> None:
        self.image_tokens, self.written = self.image_tokens[rows], self.written[rows]

    def _logits(self) -> Tensor:
        tokens = self.image_tokens.repeat_interleave(self.texts, dim=0)
        image = ImageFeatures(tokens, tokens, tokens)
        text = self.model.encode_text(self.written.flatten(0, 1))
        return self.model.decode(text, image)[:, -1].float().unflatten(0, (-1, self.texts))
