"""open_clip CoCa models with random weights, and the same weights in ours."""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from open_clip.coca_model import CoCa as OpenClipCoCa

from coca_cli.model.coca import CoCa
from coca_cli.model.open_clip_config import open_clip_config
from coca_cli.model.open_clip_weights import from_open_clip
from coca_cli.model.weights import build_coca


def model_config(name: str, *, pool: bool | str = True, correct_mask: bool = False, **narrow: int) -> dict[str, Any]:
    """One of open_clip's own configurations, with another wiring or mask, or narrowed."""
    config: dict[str, Any] = open_clip.get_model_config(name)
    config["vision_cfg"]["attentional_pool"] = pool
    config["text_cfg"]["correct_cls_mask"] = correct_mask
    for key, value in narrow.items():
        if key == "embed_dim":
            config[key] = value
        else:
            tower, field = key.split("__")
            config[f"{tower}_cfg"][field] = value
    return config


def narrow_l14(**changes: Any) -> dict[str, Any]:
    """coca_ViT-L-14's shape (width unlike embed_dim, patch 14, 12 decoder heads) at a fraction of its size."""
    return model_config(
        "coca_ViT-L-14",
        embed_dim=96,
        vision__width=128,
        vision__layers=3,
        vision__image_size=56,
        text__width=96,
        text__layers=2,
        multimodal__width=96,
        multimodal__layers=2,
        **changes,
    )


def same_width(**changes: Any) -> dict[str, Any]:
    """A small model whose vision width is its embed_dim: open_clip's split poolers need that."""
    return model_config(
        "coca_ViT-B-32",
        embed_dim=128,
        vision__width=128,
        vision__layers=2,
        vision__image_size=96,
        text__width=128,
        text__layers=2,
        multimodal__width=128,
        multimodal__layers=2,
        **changes,
    )


def random_pair(config: dict[str, Any], seed: int = 0) -> tuple[OpenClipCoCa, CoCa]:
    """open_clip's model with random weights everywhere (norms, biases and the unset vocabulary head too), and ours."""
    torch.manual_seed(seed)
    keys = ("embed_dim", "multimodal_cfg", "text_cfg", "vision_cfg")
    # open_clip 3.3 has the corrected mask in its text tower, but no way to ask for it in a configuration
    parts = {key: dict(config[key]) if isinstance(config[key], dict) else config[key] for key in keys}
    correct_mask = parts["text_cfg"].pop("correct_cls_mask")
    theirs = OpenClipCoCa(**parts).eval()
    theirs.text.correct_cls_mask = correct_mask
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if name == "logit_scale":
                continue
            fan_in = parameter.shape[0 if "projection" in name else -1]  # open_clip's projections are stored transposed
            spread = fan_in**-0.5 if parameter.ndim > 1 else 0.1
            parameter.copy_(torch.randn_like(parameter) * spread + (1.0 if "ln_" in name and "weight" in name else 0.0))
    ours_config = open_clip_config(config)
    ours = build_coca(ours_config, from_open_clip(theirs.state_dict(), ours_config), None, "the test's weights")
    return theirs, ours
