"""The image side: a ViT and the attentional poolers on top of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from coca_cli.model.config import CoCaConfig, PoolerConfig, VisionConfig
from coca_cli.model.layers import Block, init_block
from coca_cli.model.pooler import AttentionalPooler
from coca_cli.model.stem import build_stem


class ImageFeatures(NamedTuple):
    """What the image side knows of a batch.

    Attributes:
        embedding: (B, D) contrastive embedding, not normalised.
        tokens: (B, Q, W) what the decoder attends to.
        patches: (B, N, W) the encoder's output sequence, as the poolers see it (with the ViT's own CLS, if any).
    """

    embedding: Tensor
    tokens: Tensor
    patches: Tensor


class VisionTransformer(nn.Module):
    """A ViT without a head.

    Args:
        config: Its sizes.
        image_size: Side of the pictures.
    """

    def __init__(self, config: VisionConfig, image_size: int) -> None:
        super().__init__()
        self.grid = image_size // config.patch_size
        self.depth = config.layers
        width = config.width
        self.patches = build_stem(config.stem, config.patch_size, width, bias=config.patch_bias)
        self.cls = nn.Parameter(torch.empty(width)) if config.cls_token else None
        self.positions = nn.Parameter(torch.empty(self.grid**2 + int(config.cls_token), width))
        self.pre_norm = nn.LayerNorm(width) if config.pre_norm else nn.Identity()
        self.blocks = nn.ModuleList(Block(width, config.heads, config.mlp_width) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width) if config.final_norm else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise anew."""
        scale = self.positions.shape[-1] ** -0.5
        self.patches.reset_parameters()
        if self.cls is not None:
            nn.init.normal_(self.cls, std=scale)
        nn.init.normal_(self.positions, std=0.02)
        for block in self.blocks:
            assert isinstance(block, Block)
            init_block(block, self.depth)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, N, W)."""
        x = self.patches(images)  # (B, N, W)
        if self.cls is not None:
            x = torch.cat([self.cls.expand(len(x), 1, -1), x], dim=1)  # (B, 1 + N, W)
        x = self.pre_norm(x + self.positions)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out


class ImageTower(nn.Module):
    """ViT, generative and contrastive pooler, wired as the configuration says."""

    def __init__(self, config: CoCaConfig) -> None:
        super().__init__()
        pooler = config.pooler
        self.shared = pooler.wiring == "shared"
        self.parallel = pooler.wiring == "parallel" or pooler.queries == 0
        vit_width = config.vision.width
        self.vit = VisionTransformer(config.vision, config.image.size)
        self.generative = build_pooler(pooler, pooler.queries, vit_width) if pooler.queries else None
        context_width = vit_width if self.parallel else pooler.width
        self.contrastive = None if self.shared else build_pooler(pooler, 1, context_width)
        self.projection = nn.Linear(pooler.width, config.embed_dim, bias=False) if config.projection else nn.Identity()
        if isinstance(self.projection, nn.Linear):
            nn.init.normal_(self.projection.weight, std=pooler.width**-0.5)

    def forward(self, images: Tensor) -> ImageFeatures:
        """(B, 3, H, W) -> embedding (B, D), tokens (B, Q, W), patches (B, N, W)."""
        return self.pool(self.vit(images))

    def pool(self, patches: Tensor) -> ImageFeatures:
        """The poolers on the encoder's output (B, N, W); of a clip, that of all its frames, one after the other."""
        tokens = self.generative(patches) if self.generative is not None else patches
        if self.contrastive is None:  # one pooler: its first query is the embedding, the others go to the decoder
            pooled, tokens = tokens[:, 0], tokens[:, 1:]
        else:
            pooled = self.contrastive(patches if self.parallel else tokens)[:, 0]
        return ImageFeatures(self.projection(pooled), tokens, patches)

    def attention(self, patches: Tensor) -> Tensor:
        """How much the image embedding looks at each patch, (B, N) in fp32, summing to 1.

        Where one pooler stands on the other, the products of their weights (the "rollout" of Abnar and Zuidema 2020,
        arXiv 2005.00928).

        Args:
            patches: (B, N, W) the encoder's output.
        """
        if self.contrastive is None:
            assert self.generative is not None
            return self.generative.weights(patches)[:, 0]
        if self.parallel or self.generative is None:
            return self.contrastive.weights(patches)[:, 0]
        above = self.contrastive.weights(self.generative(patches))  # (B, 1, Q)
        return (above @ self.generative.weights(patches))[:, 0]

    def embed(self, images: Tensor) -> Tensor:
        """The embedding (B, D) alone: a shared pooler asks its first query only."""
        if self.contrastive is not None or self.generative is None:
            return self(images).embedding  # type: ignore[no-any-return]
        embedding: Tensor = self.projection(self.generative(self.vit(images), n_queries=1)[:, 0])
        return embedding


def build_pooler(config: PoolerConfig, queries: int, context_width: int) -> AttentionalPooler:
    """A pooler of the configuration's width and norms with so many queries on a sequence of that width."""
    return AttentionalPooler(
        queries,
        config.width,
        context_width,
        config.heads,
        norm_inputs=config.norm_inputs,
        post_norm=config.post_norm,
    )
