"""Small models in open_clip's formats: a CoCa and a CLIP that it knows by name for the length of a test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip import factory
from torch import Tensor

VISION = {"image_size": 24, "layers": 2, "width": 48, "head_width": 24, "patch_size": 8}
TEXT = {"context_length": 76, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
COCA: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {
        **VISION,
        "attentional_pool": True,
        "attn_pooler_heads": 4,
        "attn_pooler_queries": 6,
        "output_tokens": True,
    },
    "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": dict(TEXT),
    "custom_text": True,
}
CLIP: dict[str, Any] = {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": {**TEXT, "context_length": 77}}


def small_model(config: dict[str, Any], seed: int = 0) -> torch.nn.Module:
    """open_clip's model with every weight random, also those that it leaves unset."""
    torch.manual_seed(seed)
    name = "small-random"
    with known_to_open_clip({name: config}):
        model = open_clip.create_model(name).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key != "logit_scale":
                spread = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
                parameter.copy_(torch.randn_like(parameter) * spread + float("ln_" in key and "weight" in key))
    return model


@contextmanager
def known_to_open_clip(configs: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Architectures that open_clip lists by name inside the block."""
    factory._MODEL_CONFIGS.update(deepcopy(configs))
    try:
        yield
    finally:
        for name in configs:
            del factory._MODEL_CONFIGS[name]


def saved_weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """Its state dict, ready for any file format."""
    return {name: value.clone().contiguous() for name, value in model.state_dict().items()}


def write_hub_folder(folder: Path, config: dict[str, Any], **preprocess: Any) -> Path:
    """A folder with open_clip's configuration as its hub has it, without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    return folder
