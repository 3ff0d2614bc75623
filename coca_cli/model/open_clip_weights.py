"""Names of weights: open_clip's CoCa state dict <-> this project's, in both directions, every key accounted for."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from coca_cli.errors import BadCheckpoint
from coca_cli.model.coca import CoCa
from coca_cli.model.config import CoCaConfig
from coca_cli.model.unfilled import without_values

Weights = dict[str, Tensor]

_POSITIONS = "visual.positional_embedding"
"""Of another length where the picture size differs; interpolated later."""

# Ours on the left, open_clip's on the right, `{}` is a block number. Names of a block's inside follow below.
_BLOCKS = (
    ("image.vit.blocks.{}", "visual.transformer.resblocks.{}"),
    ("text.blocks.{}", "text.transformer.resblocks.{}"),
    ("decoder.layers.{}.own", "text_decoder.resblocks.{}"),
    ("decoder.layers.{}.cross", "text_decoder.cross_attn.{}"),
)
_INSIDE_BLOCK = (
    ("norm1", "ln_1"),
    ("norm_context", "ln_1_kv"),
    ("norm2", "ln_2"),
    ("mlp.0", "mlp.c_fc"),
    ("mlp.2", "mlp.c_proj"),
)
_POOLERS = (("image.generative", "visual.attn_pool"), ("image.contrastive", "visual.attn_pool_contrastive"))
_INSIDE_POOLER = (("norm_queries", "ln_q"), ("norm_context", "ln_k"))
_SINGLE = (
    ("image.vit.patches.weight", "visual.conv1.weight"),
    ("image.vit.cls", "visual.class_embedding"),
    ("image.vit.positions", _POSITIONS),
    ("image.vit.pre_norm.weight", "visual.ln_pre.weight"),
    ("image.vit.pre_norm.bias", "visual.ln_pre.bias"),
    ("text.embedding.weight", "text.token_embedding.weight"),
    ("text.positions", "text.positional_embedding"),
    ("text.norm.weight", "text.ln_final.weight"),
    ("text.norm.bias", "text.ln_final.bias"),
    ("decoder.norm.weight", "text_decoder.ln_final.weight"),
    ("decoder.norm.bias", "text_decoder.ln_final.bias"),
    ("log_scale", "logit_scale"),
)
_TRANSPOSED = (
    ("image.projection.weight", "visual.proj"),
    ("text.projection.weight", "text.text_projection"),
    ("decoder.to_vocab.weight", "text_decoder.text_projection"),
)
_IGNORED = re.compile(r"(^|\.)(attn_mask|position_ids)$|^num_batches_tracked$")
"""Buffers that old versions of open_clip saved; they hold no weights."""


def from_open_clip(weights: Mapping[str, Tensor], config: CoCaConfig) -> Weights:
    """open_clip's CoCa weights under this project's names.

    Args:
        weights: open_clip's state dict, as saved, also with DistributedDataParallel's "module." before each name.
        config: The configuration from `open_clip_config`.

    Raises:
        BadCheckpoint: Keys are missing or not known, or shapes do not fit.
    """
    found = {k.removeprefix("module."): v for k, v in weights.items() if not _IGNORED.search(k)}
    expected = _expected(config)
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    if missing or unexpected:
        raise BadCheckpoint(f"these weights do not fit the model: {describe_keys(missing, unexpected)}")
    if found["logit_scale"].numel() == 1:  # some versions save it as a vector
        found["logit_scale"] = found["logit_scale"].reshape(())
    wrong = [
        f"{name} is {tuple(found[name].shape)}, not {tuple(value.shape)}"
        for name, value in expected.items()
        if found[name].shape != value.shape and name != _POSITIONS
    ]
    if wrong:
        raise BadCheckpoint(f"these weights are of another size than the model, {len(wrong)} of them: {wrong[0]}")
    ours = {name: found[theirs] for name, theirs in _plain_names(config)}
    ours |= {name: found[theirs].T.contiguous() for name, theirs in _TRANSPOSED}
    ours["text.cls"] = found["text.cls_emb"].reshape(1, -1)
    for name, theirs, cross, wide in _attentions(config):
        bias = found[f"{theirs}.in_proj_bias"]
        if not cross:
            ours[f"{name}.qkv.weight"], ours[f"{name}.qkv.bias"] = found[f"{theirs}.in_proj_weight"], bias
            continue
        parts = [found[f"{theirs}.{letter}_proj_weight"] for letter in "qkv"] if wide else []
        q, k, v = parts or found[f"{theirs}.in_proj_weight"].chunk(3)
        width = len(q)
        ours[f"{name}.q.weight"], ours[f"{name}.q.bias"] = q.contiguous(), bias[:width].contiguous()
        ours[f"{name}.kv.weight"], ours[f"{name}.kv.bias"] = torch.cat([k, v]), bias[width:].contiguous()
    return ours


def to_open_clip(weights: Mapping[str, Tensor], config: CoCaConfig) -> Weights:
    """The inverse of `from_open_clip`; the result loads in open_clip with strict=True."""
    theirs = {their_name: weights[name] for name, their_name in _plain_names(config)}
    theirs |= {their_name: weights[name].T.contiguous() for name, their_name in _TRANSPOSED}
    theirs["text.cls_emb"] = weights["text.cls"][0]
    for name, their_name, cross, wide in _attentions(config):
        if not cross:
            theirs[f"{their_name}.in_proj_weight"] = weights[f"{name}.qkv.weight"]
            theirs[f"{their_name}.in_proj_bias"] = weights[f"{name}.qkv.bias"]
            continue
        q, kv = weights[f"{name}.q.weight"], weights[f"{name}.kv.weight"]
        theirs[f"{their_name}.in_proj_bias"] = torch.cat([weights[f"{name}.q.bias"], weights[f"{name}.kv.bias"]])
        if wide:
            for letter, part in zip("qkv", (q, *kv.chunk(2)), strict=True):
                theirs[f"{their_name}.{letter}_proj_weight"] = part.contiguous()
        else:
            theirs[f"{their_name}.in_proj_weight"] = torch.cat([q, kv])
    return theirs


def describe_keys(missing: list[str], unexpected: Mapping[str, object] | list[str]) -> str:
    """Missing and unexpected names in one readable line, a few of each."""

    def some(names: list[str]) -> str:
        return ", ".join(sorted(names)[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")

    parts = [
        f"{len(names)} {word} ({some(names)})"
        for word, names in (("missing", list(missing)), ("unexpected", list(unexpected)))
        if names
    ]
    return "; ".join(parts)


def _expected(config: CoCaConfig) -> Weights:
    """open_clip's names with tensors of the right shapes and no content."""
    with without_values():
        return to_open_clip(CoCa(config).state_dict(), config)


def _norm(name: str, theirs: str) -> list[tuple[str, str]]:
    return [(f"{name}.{part}", f"{theirs}.{part}") for part in ("weight", "bias")]


def _plain_names(config: CoCaConfig) -> list[tuple[str, str]]:
    """(ours, open_clip's) of all weights that only change their name."""
    names = [pair for pair in _SINGLE if config.vision.pre_norm or "pre_norm" not in pair[0]]
    post_norm = "image.generative.norm" if config.pooler.wiring == "shared" else "image.vit.norm"
    names += _norm(post_norm, "visual.ln_post")
    for block, their_block in _blocks(config):
        for inside, their_inside in _INSIDE_BLOCK:
            if inside != "norm_context" or ".cross" in block:
                names += _norm(f"{block}.{inside}", f"{their_block}.{their_inside}")
        names += _norm(f"{block}.attention.out", f"{their_block}.attn.out_proj")
    for pooler, their_pooler in _poolers(config):
        names.append((f"{pooler}.queries", f"{their_pooler}.query"))
        names += _norm(f"{pooler}.attention.out", f"{their_pooler}.attn.out_proj")
        for inside, their_inside in _INSIDE_POOLER:
            names += _norm(f"{pooler}.{inside}", f"{their_pooler}.{their_inside}")
    return names


def _attentions(config: CoCaConfig) -> list[tuple[str, str, bool, bool]]:
    """(ours, open_clip's, cross-attention?, keys of another width than the queries?) of every attention."""
    found = [(f"{b}.attention", f"{t}.attn", ".cross" in b, False) for b, t in _blocks(config)]
    wide = config.vision.width != config.pooler.width
    found += [(f"{p}.attention", f"{t}.attn", True, wide) for p, t in _poolers(config)]
    return found


def _blocks(config: CoCaConfig) -> list[tuple[str, str]]:
    text = config.text
    depths = (config.vision.layers, text.unimodal_layers, text.multimodal_layers, text.multimodal_layers)
    return [
        (ours.format(i), theirs.format(i))
        for (ours, theirs), depth in zip(_BLOCKS, depths, strict=True)
        for i in range(depth)
    ]


def _poolers(config: CoCaConfig) -> tuple[tuple[str, str], ...]:
    return _POOLERS[:1] if config.pooler.wiring == "shared" else _POOLERS
