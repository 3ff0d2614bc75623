"""Small CoCa models of every build, with random weights so large that each part tells in the output."""

from __future__ import annotations

import torch
from torch import Tensor

from coca_cli.media.images import ImageSettings
from coca_cli.model.coca import CoCa
from coca_cli.model.config import CoCaConfig, PoolerConfig, TextConfig, VisionConfig

PROJECTED = ("projection=true", "vision.width=48", "pooler.width=40", "embed_dim=24")
OPEN_CLIP_PARTS = (
    *("projection=true", "vision.cls_token=true", "vision.pre_norm=true", "vision.patch_bias=false"),
    *("pooler.norm_inputs=true", "text.cls_position=true", "text.self_mlp=true", "text.norm_context=true"),
)
SHARED = ("pooler.wiring=shared", "vision.final_norm=false")

BUILDS: dict[str, tuple[str, ...]] = {
    "cascade": (),
    "parallel": ("pooler.wiring=parallel",),
    "shared": SHARED,
    "no queries": ("pooler.queries=0",),
    "no queries, own widths": ("pooler.queries=0", *PROJECTED),
    "stem of convolutions": ("vision.stem=convolutions",),
    "three [CLS]": ("text.cls_tokens=3",),
    "three [CLS] with positions": ("text.cls_tokens=3", "text.cls_position=true"),
    "cascade, own widths": PROJECTED,
    "parallel, own widths": ("pooler.wiring=parallel", *PROJECTED),
    "shared, own widths": (*SHARED, *PROJECTED),
    "open_clip": (*SHARED, *OPEN_CLIP_PARTS),
    "open_clip, legacy mask": (*SHARED, *OPEN_CLIP_PARTS, "text.cls_mask=legacy"),
}
"""Every way to build a CoCa, as changes of `small_config`."""


def small_config(*changes: str) -> CoCaConfig:
    """A CoCa of two layers each for pictures of 24 pixels (9 patches) and texts of 10 tokens out of 50."""
    config = CoCaConfig(
        vision=VisionConfig(patch_size=8, width=32, layers=2, heads=2, mlp_width=64),
        pooler=PoolerConfig(queries=5, width=32, heads=2),
        text=TextConfig(
            vocab_size=50, context=10, width=32, heads=2, mlp_width=64, unimodal_layers=2, multimodal_layers=2
        ),
        embed_dim=32,
        image=ImageSettings(size=24),
    )
    return config.with_changes(changes)


def small_coca(*changes: str, seed: int = 0) -> CoCa:
    """A model of `small_config` whose every weight is random, norms and biases too."""
    torch.manual_seed(seed)
    model = CoCa(small_config(*changes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name == "log_scale":
                continue
            spread = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 and "positions" not in name else 0.5
            parameter.copy_(torch.randn_like(parameter) * spread + float("norm" in name and "weight" in name))
    return model


def pictures(batch: int, size: int = 24, seed: int = 0) -> Tensor:
    """Random pictures (B, 3, size, size)."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


def texts(*lengths: int, context: int = 10, seed: int = 0) -> Tensor:
    """Random texts (B, context) of so many tokens, padded with 0."""
    tokens = torch.randint(1, 50, (len(lengths), context), generator=torch.Generator().manual_seed(seed))
    for row, length in zip(tokens, lengths, strict=True):
        row[length:] = 0
    return tokens
