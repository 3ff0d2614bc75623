"""Any other open_clip model (CLIP, SigLIP ...) behind the same two methods, as a baseline."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch.nn.functional as F
from torch import Tensor, nn


class HasEmbedding(Protocol):
    """Features with a contrastive embedding (B, D), not normalised."""

    @property
    def embedding(self) -> Tensor:
        """(B, D)."""
        ...


class Embedder(Protocol):
    """What zero-shot classification and retrieval need of a model: CoCa and baselines both are one."""

    @property
    def pad_id(self) -> int | None:
        """The padding id where common padding may be cut without changing embeddings; else None."""
        ...

    def encode_image(self, images: Tensor) -> HasEmbedding:
        """(B, 3, H, W) -> embedding (B, D)."""
        ...

    def encode_text(self, tokens: Tensor) -> HasEmbedding:
        """(B, T) -> embedding (B, D)."""
        ...


class BaselineFeatures(NamedTuple):
    """A contrastive embedding (B, D), not normalised."""

    embedding: Tensor


class Baseline(nn.Module):
    """An open_clip model.

    Args:
        model: What open_clip's factory built.
    """

    pad_id = None

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def encode_image(self, images: Tensor) -> BaselineFeatures:
        """(B, 3, H, W) -> embedding (B, D)."""
        return BaselineFeatures(self.model.encode_image(images))

    def encode_text(self, tokens: Tensor) -> BaselineFeatures:
        """(B, T) -> embedding (B, D)."""
        return BaselineFeatures(self.model.encode_text(tokens))


def unit_length(embedding: Tensor) -> Tensor:
    """(B, D) -> (B, D) in fp32 with length 1."""
    return F.normalize(embedding.float(), dim=-1)
