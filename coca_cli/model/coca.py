"""CoCa: an image tower, a text decoder cut into a unimodal and a multimodal half, one temperature.

Source: Yu et al., "CoCa: Contrastive Captioners are Image-Text Foundation Models", arXiv 2205.01917, section 3.

Tensor letters: B batch, F frames, N patches, Q pooler queries, T text positions, W width, D embedding, H heads,
V vocabulary, C [CLS] tokens.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from coca_cli.model.config import CoCaConfig
from coca_cli.model.layers import Attention
from coca_cli.model.text import MultimodalDecoder, TextFeatures, UnimodalDecoder
from coca_cli.model.vision import ImageFeatures, ImageTower

__all__ = ["CoCa", "CoCaOutput", "ImageFeatures", "TextFeatures"]

MAX_LOGIT_SCALE = 100.0
"""Upper bound of 1 / temperature, as in CLIP's training."""


class CoCaOutput(NamedTuple):
    """What both losses need, from one pass.

    Attributes:
        image_embedding: (B, D), unit length.
        text_embedding: (B, D), unit length.
        logits: (B, T - 1, V): position t predicts token t + 1.
        logit_scale: Scalar, 1 / temperature.
    """

    image_embedding: Tensor
    text_embedding: Tensor
    logits: Tensor
    logit_scale: Tensor


class CoCa(nn.Module):
    """The model of the paper, or of open_clip's CoCa checkpoints, as its configuration says."""

    def __init__(self, config: CoCaConfig) -> None:
        super().__init__()
        self.config = config
        self.image = ImageTower(config)
        self.text = UnimodalDecoder(config)
        self.decoder = MultimodalDecoder(config)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))

    @property
    def pad_id(self) -> int:
        """The padding id of texts; padding at the end of a batch may be cut (see `trim_tokens`)."""
        return self.config.text.pad_id

    @property
    def logit_scale(self) -> Tensor:
        """1 / temperature, at most 100."""
        return self.log_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    @property
    def layers(self) -> list[nn.Module]:
        """The Transformer layers of all parts, from the picture to the words."""
        return [*self.image.vit.blocks, *self.text.blocks, *self.decoder.layers]

    def checkpoint_activations(self) -> None:
        """From now on compute what is inside a layer anew in the backward pass, instead of keeping it."""
        for module in self.modules():
            if isinstance(module, Attention):
                module.recomputes = False  # else it would be computed three times
        for layer in self.layers:
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Pictures (B, 3, H, W), normalised -> embedding (B, D), tokens (B, Q, W), patches (B, N, W)."""
        features: ImageFeatures = self.image(images)
        return features

    def encode_clip(self, frames: Tensor) -> ImageFeatures:
        """Clips (B, F, 3, H, W) -> embedding (B, D), tokens (B, Q, W), patches (B, F * N, W).

        Every frame goes through the encoder, and the poolers look at the patches of all frames at once.

        Source: the paper's section 3.3 pools so for action recognition; Yan et al., "VideoCoCa", arXiv 2212.04979,
        for captions, with the poolers as they are.
        """
        patches = self.image.vit(frames.flatten(0, 1))  # (B * F, N, W)
        features: ImageFeatures = self.image.pool(patches.reshape(len(frames), -1, patches.shape[-1]))
        return features

    def encode_text(self, tokens: Tensor) -> TextFeatures:
        """Token ids (B, T) -> embedding (B, D), hidden (B, T, W)."""
        features: TextFeatures = self.text(tokens)
        return features

    def embed_image(self, images: Tensor) -> Tensor:
        """The embedding (B, D) of `encode_image` alone, without what only the decoder needs."""
        embedding: Tensor = self.image.embed(images)
        return embedding

    def embed_text(self, tokens: Tensor) -> Tensor:
        """The embedding (B, D) of `encode_text` alone, without what only the decoder needs."""
        embedding: Tensor = self.text.embed(tokens)
        return embedding

    def decode(self, text: TextFeatures, image: ImageFeatures) -> Tensor:
        """Next-token logits (B, T, V) of texts over the pictures."""
        logits: Tensor = self.decoder(text.hidden, image.tokens)
        return logits

    def forward(self, images: Tensor, tokens: Tensor) -> CoCaOutput:
        """Pictures (B, 3, H, W) and their texts (B, T) -> the inputs of both losses."""
        image, text = self.encode_image(images), self.encode_text(tokens)
        return CoCaOutput(
            F.normalize(image.embedding, dim=-1),
            F.normalize(text.embedding, dim=-1),
            self.decoder(text.hidden[:, :-1], image.tokens),  # nothing follows the last token
            self.logit_scale,
        )
