"""Any other open_clip model (CLIP, SigLIP ...) behind the same two methods, as a baseline."""

from __future__ import annotations

from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, nn


class Embedder(Protocol):
    """What zero-shot classification and retrieval need of a model: CoCa and baselines both are one."""

    @property
    def pad_id(self) -> int | None:
        """The padding id where padding that all texts share may be cut without changing embeddings; else None."""
        ...

    def embed_image(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> embedding (B, D), not normalised."""
        ...

    def embed_text(self, tokens: Tensor) -> Tensor:
        """(B, T) -> embedding (B, D), not normalised."""
        ...


class Baseline(nn.Module):
    """An open_clip model.

    Args:
        model: What open_clip's factory built.
    """

    pad_id = None

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def embed_image(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> embedding (B, D), not normalised."""
        embedding: Tensor = self.model.encode_image(images)
        return embedding

    def embed_text(self, tokens: Tensor) -> Tensor:
        """(B, T) -> embedding (B, D), not normalised."""
        embedding: Tensor = self.model.encode_text(tokens)
        return embedding


def unit_length(embedding: Tensor) -> Tensor:
    """(B, D) -> (B, D) in fp32 with length 1."""
    return F.normalize(embedding.float(), dim=-1)
