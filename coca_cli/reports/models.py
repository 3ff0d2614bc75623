"""Tables about models, for `coca models`."""

from __future__ import annotations

import torch
from rich.table import Table

from coca_cli.media.images import ImageSettings
from coca_cli.model.architectures import architectures
from coca_cli.model.coca import CoCa
from coca_cli.model.config import PAPER_PRESETS, CoCaConfig
from coca_cli.model.flops import measure_cost
from coca_cli.model.loaded import Loaded
from coca_cli.model.open_clip_package import part
from coca_cli.model.tokenizer import ClipTokenizer, SentencePieceTokenizer
from coca_cli.reports.printed import printed

ORIGINS = {"coca_base": "paper, Table 1", "coca_large": "paper, Table 1", "coca_2b": "paper, Table 1 (CoCa)"}


def render_architectures() -> str:
    """Every architecture: size, picture size, and the tags of published weights."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column, align in (("architecture", "left"), ("parameters", "right"), ("pixels", "right"), ("weights", "left")):
        table.add_column(column, justify=align, no_wrap=column != "weights", overflow="fold")  # type: ignore[arg-type]
    published_tags = part("pretrained").list_pretrained_tags_by_model
    for name, config in architectures().items():
        with torch.device("meta"):  # operations are not asked for here, and counting them takes seconds
            total = sum(p.numel() for p in CoCa(config).parameters())
        tags = published_tags(name)
        weights = "\n".join(tags) or ORIGINS.get(
            name, "for tests, the demo, small corpora" if name in PAPER_PRESETS else ""
        )
        table.add_row(name, f"{total / 1e6:,.1f}M", str(config.image.size), weights)
    return printed(table)


def render_config(name: str, config: CoCaConfig, loaded: Loaded | None) -> str:
    """What a CoCa is made of and what it costs."""
    cost = measure_cost(config)
    vision, text = config.vision, config.text
    total = sum(cost.parameters.values())
    rows = [
        ("model", name if loaded is None else f"{name} (weights {loaded.checkpoint})"),
        (
            "image encoder",
            f"ViT, {vision.layers} layers, width {vision.width}, {vision.heads} heads, MLP {vision.mlp_width}",
        ),
        (
            "patches",
            f"{vision.patch_size} px, {(config.image.size // vision.patch_size) ** 2} of them"
            + (" and a CLS token" if vision.cls_token else ""),
        ),
        ("poolers", _describe_poolers(config)),
        (
            "unimodal decoder",
            f"{text.unimodal_layers} layers, width {text.width}, {text.heads} heads, MLP {text.mlp_width}",
        ),
        ("multimodal decoder", f"{text.multimodal_layers} layers with cross-attention to {_decoder_sees(config)}"),
        ("embedding", f"{config.embed_dim} numbers" + (", projected" if config.projection else "")),
        (
            "text",
            f"{text.context} positions + {text.cls_tokens} [CLS] ({text.cls_mask} mask), padding id {text.pad_id}",
        ),
        ("tokenizer", _describe_tokenizer(loaded, text.vocab_size)),
        *_image_rows(config.image),
        ("parameters", f"{total:,}"),
        *((f"  {part}", f"{count:,}") for part, count in cost.parameters.items()),
        ("  without poolers", f"{(total - cost.parameters['poolers']) / 1e6:,.1f}M"),
        ("GFLOPs per picture", f"{cost.per_picture / 1e9:,.2f}"),
        ("GFLOPs per caption", f"{cost.per_caption / 1e9:,.2f} ({text.context} positions, picture given)"),
        ("GFLOPs per text", f"{cost.per_text / 1e9:,.2f} (embedding alone)"),
    ]
    return _facts(rows)


def render_baseline(loaded: Loaded) -> str:
    """What is known of another open_clip model."""
    total = sum(p.numel() for p in loaded.model.parameters())
    return _facts(
        [
            ("model", f"{loaded.name} (weights {loaded.checkpoint})"),
            ("kind", "open_clip model without captions: a baseline for zero-shot classification and retrieval"),
            *_image_rows(loaded.image),
            ("parameters", f"{total:,}"),
        ]
    )


def _describe_poolers(config: CoCaConfig) -> str:
    pooler = config.pooler
    if pooler.queries == 0:
        return f"contrastive alone, 1 query on the patches, {pooler.heads} heads"
    if pooler.wiring == "shared":
        return f"shared: {pooler.queries} queries, the first is the embedding, {pooler.heads} heads"
    where = "the generative pooler's output" if pooler.wiring == "cascade" else "the patches"
    return f"{pooler.wiring}: generative {pooler.queries} queries, contrastive 1 query on {where}, {pooler.heads} heads"


def _decoder_sees(config: CoCaConfig) -> str:
    pooler = config.pooler
    if pooler.queries == 0:
        return "all patches"
    return f"{pooler.queries - (pooler.wiring == 'shared')} pooled tokens"


def _describe_tokenizer(loaded: Loaded | None, vocab_size: int) -> str:
    kinds = {ClipTokenizer: "CLIP byte-pair encoding", SentencePieceTokenizer: "sentencepiece"}
    kind = (
        kinds.get(type(loaded.tokenizer), "") if loaded else "CLIP byte-pair encoding" if vocab_size == 49_408 else ""
    )
    return f"{kind or 'sentencepiece, learned from captions'}, {vocab_size:,} words"


def _image_rows(image: ImageSettings) -> list[tuple[str, str]]:
    how = "shorter side resized, centre cropped" if image.resize == "shortest" else "resized to a square"
    numbers = [" ".join(f"{value:.4g}" for value in values) for values in (image.mean, image.std)]
    return [
        ("pictures", f"{image.size} px, {image.interpolation}, {how}"),
        ("mean / std", f"{numbers[0]} / {numbers[1]}"),
    ]


def _facts(rows: list[tuple[str, str]]) -> str:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return printed(table)
