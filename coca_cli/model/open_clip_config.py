"""open_clip's model configurations <-> this project's."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from coca_cli.errors import BadCheckpoint
from coca_cli.media.images import ImageSettings
from coca_cli.model.config import CoCaConfig, PoolerConfig, TextConfig, VisionConfig, Wiring
from coca_cli.model.open_clip_package import whole


def open_clip_config(model: dict[str, Any], image: ImageSettings | None = None) -> CoCaConfig:
    """The CoCaConfig of one of open_clip's CoCa model configurations.

    Args:
        model: open_clip's "model_cfg": embed_dim, vision_cfg, text_cfg, multimodal_cfg.
        image: The checkpoint's image settings; open_clip's default ones without it.

    Raises:
        BadCheckpoint: It is a variant that coca does not build.
    """
    vision, text, decoder = model["vision_cfg"], model["text_cfg"], model["multimodal_cfg"]
    pool = vision.get("attentional_pool", False)
    unsupported = [
        reason
        for reason, present in (
            ("no attentional pooler", not pool),
            ("a text tower from transformers", "hf_model_name" in text),
            ("a timm image tower", "timm_model_name" in vision),
            ("a text tower without CLS", not text.get("embed_cls", False)),
            ("a tokenizer other than CLIP's", bool(text.get("hf_tokenizer_name") or text.get("tokenizer_kwargs"))),
            ("an average as image embedding", vision.get("pool_type", "tok") != "tok"),
            ("text that is not causal", text.get("no_causal_mask", False)),
            ("layer scale", any(c.get("ls_init_value") for c in (vision, text, decoder))),
            (
                "other norms or activations",
                any(c.get(k) for c in (vision, text) for k in ("norm_kwargs", "act_kwargs")),
            ),
            ("QuickGELU", model.get("quick_gelu", False)),
            ("a text tower of another width than the embedding", text.get("width", 512) != model["embed_dim"]),
            (
                "a text tower and a decoder of different shapes",
                any(text.get(k, d) != decoder.get(k, d) for k, d in (("width", 512), ("heads", 8), ("mlp_ratio", 4.0))),
            ),
        )
        if present
    ]
    if unsupported:
        raise BadCheckpoint(f"this open_clip CoCa has {', '.join(unsupported)}, which coca does not build")
    wiring: Wiring = pool if isinstance(pool, str) else "shared"  # type: ignore[assignment]
    width, patch = vision["width"], vision["patch_size"]
    text_width = text.get("width", 512)
    return CoCaConfig(
        vision=VisionConfig(
            patch_size=patch,
            width=width,
            layers=vision["layers"],
            heads=width // vision.get("head_width", 64),
            mlp_width=int(width * vision.get("mlp_ratio", 4.0)),
            cls_token=True,
            pre_norm=not vision.get("no_ln_pre", False),
            final_norm=wiring != "shared",
            patch_bias=False,
        ),
        pooler=PoolerConfig(
            wiring=wiring,
            queries=vision.get("attn_pooler_queries", 256),
            width=model["embed_dim"],
            heads=vision.get("attn_pooler_heads", 8),
            norm_inputs=True,
            post_norm=wiring == "shared",
        ),
        text=TextConfig(
            vocab_size=text.get("vocab_size", 49408),
            context=text.get("context_length", 77),
            width=text_width,
            heads=text.get("heads", 8),
            mlp_width=int(text_width * text.get("mlp_ratio", 4.0)),
            unimodal_layers=text.get("layers", 12),
            multimodal_layers=decoder.get("layers", 12),
            cls_position=True,
            cls_mask="correct" if text.get("correct_cls_mask", False) else "legacy",
            pad_id=text.get("pad_id", 0),
            self_mlp=True,
            norm_context=True,
        ),
        embed_dim=model["embed_dim"],
        projection=True,
        image=image or ImageSettings(size=vision.get("image_size", 224)),
    )


def image_settings(model_cfg: dict[str, Any], preprocess: dict[str, Any]) -> ImageSettings:
    """Image settings from open_clip's model configuration and its preprocess configuration.

    Raises:
        BadCheckpoint: The model treats pictures in a way that coca does not.
    """
    default = ImageSettings()
    size = preprocess.get("size", model_cfg["vision_cfg"].get("image_size", default.size))
    if isinstance(size, list | tuple):
        if len(set(size)) != 1:
            raise BadCheckpoint(f"the model takes pictures of {size} pixels; coca handles square ones")
        size = size[0]
    interpolation = preprocess.get("interpolation", default.interpolation)
    resize = preprocess.get("resize_mode", default.resize)
    if interpolation not in ("bicubic", "bilinear") or resize not in ("shortest", "squash"):
        raise BadCheckpoint(
            f"the model resizes pictures by {interpolation}, {resize}; "
            "coca knows bicubic or bilinear, shortest or squash"
        )
    mean, std = tuple(preprocess.get("mean", default.mean)), tuple(preprocess.get("std", default.std))
    return ImageSettings(size=int(size), mean=mean, std=std, interpolation=interpolation, resize=resize)


def describe_for_open_clip(config: CoCaConfig, *, clip_tokenizer: bool) -> dict[str, Any]:
    """open_clip's configuration of a model, as its own hub files have it.

    Args:
        config: The model.
        clip_tokenizer: Whether its tokenizer is CLIP's, the only one that needs no further files there.

    Raises:
        BadCheckpoint: The model has parts that open_clip cannot build.
    """
    vision, text, pooler, width = config.vision, config.text, config.pooler, config.embed_dim
    split = pooler.wiring != "shared"
    mask_configurable = "correct_cls_mask" in {field.name for field in fields(whole().CLIPTextCfg)}
    reasons = [
        reason
        for reason, present in (
            ("a ViT without CLS token", not vision.cls_token),
            ("a bias in the patch projection", vision.patch_bias),
            ("no projection", not config.projection),
            ("several [CLS] tokens or one without position", text.cls_tokens != 1 or not text.cls_position),
            ("multimodal layers with one MLP", not text.self_mlp),
            ("a stem of convolutions", vision.stem != "patches"),
            ("no generative pooler", pooler.queries == 0),
            ("poolers without input norms", not pooler.norm_inputs),
            ("a tokenizer other than CLIP's", not clip_tokenizer),
            ("text MLPs other than four times as wide as the text", text.mlp_width != 4 * text.width),
            ("cross-attention without a norm of the image tokens", not text.norm_context),
            (
                "LayerNorms in other places around its poolers",
                (vision.final_norm, pooler.post_norm) != (split, not split),
            ),
            ("a pooler or decoder of another width than the embedding", {pooler.width, text.width} != {width}),
            ("split poolers on an encoder of another width", split and vision.width != width),
            (
                "the correct [CLS] mask, which the installed open_clip cannot be configured for",
                text.cls_mask == "correct" and not mask_configurable,
            ),
        )
        if present
    ]
    if reasons:
        raise BadCheckpoint(f"open_clip cannot build this model: it has {', '.join(reasons)}")
    tower = {"width": text.width, "heads": text.heads, "mlp_ratio": 4.0}
    shape = {"context_length": text.context, "vocab_size": text.vocab_size}
    return {
        "model_cfg": {
            "embed_dim": config.embed_dim,
            "vision_cfg": {
                "image_size": config.image.size,
                "patch_size": vision.patch_size,
                "layers": vision.layers,
                "width": vision.width,
                "head_width": vision.width // vision.heads,
                "mlp_ratio": _ratio(vision.mlp_width, vision.width),
                "no_ln_pre": not vision.pre_norm,
                "attentional_pool": True if pooler.wiring == "shared" else pooler.wiring,
                "attn_pooler_queries": pooler.queries,
                "attn_pooler_heads": pooler.heads,
                "output_tokens": True,
            },
            "text_cfg": {
                **shape,
                **tower,
                "layers": text.unimodal_layers,
                "embed_cls": True,
                **({"correct_cls_mask": text.cls_mask == "correct"} if mask_configurable else {}),
                "pad_id": text.pad_id,
                "output_tokens": True,
            },
            "multimodal_cfg": {**shape, **tower, "layers": text.multimodal_layers},
            "custom_text": True,
        },
        "preprocess_cfg": {
            "size": config.image.size,
            "mean": list(config.image.mean),
            "std": list(config.image.std),
            "interpolation": config.image.interpolation,
            "resize_mode": config.image.resize,
        },
    }


def _ratio(hidden: int, width: int) -> float:
    """The MLP's width as open_clip takes it: `int(width * ratio)` gives it back."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)
