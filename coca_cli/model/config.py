"""The numbers that define a CoCa, and the presets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from coca_cli.errors import BadCheckpoint, CocaError
from coca_cli.media.images import ImageSettings

Wiring = Literal["cascade", "parallel", "shared"]
ClsMask = Literal["correct", "legacy"]
Stem = Literal["patches", "convolutions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionConfig:
    """The ViT.

    Attributes:
        patch_size: Side of a patch in pixels.
        width: Token width.
        layers: Transformer blocks.
        heads: Attention heads.
        mlp_width: Hidden width of each MLP.
        cls_token: Put a learned token before the patches (open_clip's ViT has one; the paper names none).
        pre_norm: LayerNorm before the first block (open_clip).
        final_norm: LayerNorm after the last block.
        patch_bias: Bias in the patch projection.
        stem: "patches" maps each patch to a token (the paper), "convolutions" is a stack of convolutions with stride 2
            that ends on the same grid, for a patch size that is a power of two.
    """

    patch_size: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    cls_token: bool = False
    pre_norm: bool = False
    final_norm: bool = True
    patch_bias: bool = True
    stem: Stem = "patches"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolerConfig:
    """The attentional poolers (paper section 3.2).

    Attributes:
        wiring: "cascade" runs the contrastive pooler on the generative pooler's output (the paper's default),
            "parallel" runs both on the encoder's output, "shared" is one pooler whose query 0 is the image embedding
            and whose other queries go to the decoder (open_clip's published weights).
        queries: Queries of the generative pooler; in "shared" including the contrastive one. 0: no generative
            pooler, the decoder attends to all patches.
        width: Output width.
        heads: Attention heads.
        norm_inputs: LayerNorm on queries and keys (open_clip).
        post_norm: LayerNorm on the output.
    """

    wiring: Wiring = "cascade"
    queries: int = 256
    width: int
    heads: int
    norm_inputs: bool = False
    post_norm: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """The text decoder: unimodal layers, then multimodal ones.

    Attributes:
        vocab_size: Words of the tokenizer.
        context: Text positions without [CLS].
        width: Token width.
        heads: Attention heads.
        mlp_width: Hidden width of each MLP.
        unimodal_layers: Causal layers without cross-attention.
        multimodal_layers: Causal layers with cross-attention to the image.
        cls_tokens: Learned [CLS] tokens appended to the text; the embedding is the mean of their outputs.
        cls_position: [CLS] has a position embedding of its own, the row after the last text position (open_clip).
        cls_mask: "correct" lets [CLS] see the text and itself; "legacy" is the shifted padding mask with which
            open_clip's published weights were trained.
        pad_id: The token that fills up texts; masked, and left out of the caption loss.
        self_mlp: An MLP after self-attention in multimodal layers too, before cross-attention (open_clip); without
            it a multimodal layer is self-attention, cross-attention, MLP.
        norm_context: LayerNorm on the image tokens in every cross-attention (open_clip).
    """

    vocab_size: int
    context: int
    width: int
    heads: int
    mlp_width: int
    unimodal_layers: int
    multimodal_layers: int
    cls_tokens: int = 1
    cls_position: bool = False
    cls_mask: ClsMask = "correct"
    pad_id: int = 0
    self_mlp: bool = False
    norm_context: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CoCaConfig:
    """A whole model.

    Attributes:
        embed_dim: Width of the contrastive embeddings, D.
        projection: Linear maps from pooler and [CLS] to the embedding (open_clip); the paper's code has none, and
            then pooler width, text width and embed_dim are one number.
        temperature: Initial temperature of the contrastive loss (paper section 4.1).
    """

    vision: VisionConfig
    pooler: PoolerConfig
    text: TextConfig
    embed_dim: int
    projection: bool = False
    temperature: float = 0.07
    image: ImageSettings = field(default_factory=ImageSettings)

    def __post_init__(self) -> None:
        problems = _wrong_kinds(self)
        if problems:  # the comparisons below would stumble over them
            raise BadCheckpoint(f"impossible model configuration: {'; '.join(problems)}")
        for name, width, heads in (
            ("vision", self.vision.width, self.vision.heads),
            ("pooler", self.pooler.width, self.pooler.heads),
            ("text", self.text.width, self.text.heads),
        ):
            if width % heads:
                problems.append(f"{name} width {width} is not a multiple of its {heads} heads")
        if self.image.size < self.vision.patch_size:
            problems.append(f"image size {self.image.size} is below the patch size {self.vision.patch_size}")
        if self.vision.stem == "convolutions" and not _halves(self.vision.patch_size, self.vision.width):
            problems.append(
                f"convolutions need a patch size that is a power of two and a width that can be halved as often, not "
                f"{self.vision.patch_size} and {self.vision.width}"
            )
        if self.pooler.wiring == "shared" and self.pooler.queries < 2:
            problems.append("a shared pooler needs at least 2 queries, one for the embedding and one for the decoder")
        if not self.projection and {self.pooler.width, self.text.width} != {self.embed_dim}:
            problems.append("without a projection pooler width, text width and embed_dim must be equal")
        if self.text.pad_id >= self.text.vocab_size:
            problems.append(f"padding id {self.text.pad_id} is not among {self.text.vocab_size} words")
        if problems:
            raise BadCheckpoint(f"impossible model configuration: {'; '.join(problems)}")

    def with_image_size(self, size: int) -> CoCaConfig:
        """The same model for pictures of another size; position embeddings are interpolated on loading."""
        return replace(self, image=replace(self.image, size=size))

    def with_changes(self, changes: Sequence[str]) -> CoCaConfig:
        """The same model with single numbers changed, such as "vision.patch_size=16" or "pooler.wiring=parallel".

        Raises:
            CocaError: A change that is no KEY=VALUE, or names nothing.
            BadCheckpoint: The changed model is impossible.
        """
        data = self.to_dict()
        for change in changes:
            key, equals, value = change.partition("=")
            *parents, name = key.split(".")
            place: Any = data
            for parent in parents:
                place = place.get(parent) if isinstance(place, dict) else None
            if not equals or not isinstance(place, dict) or name not in place or isinstance(place[name], dict):
                keys = ", ".join(f"{k}.{n}" if isinstance(v, dict) else k for k, v in data.items() for n in _names(v))
                raise CocaError(f"--set {change}: expected KEY=VALUE with one of the keys {keys}")
            try:
                place[name] = json.loads(value)
            except ValueError:
                place[name] = value
        return CoCaConfig.from_dict(data)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CoCaConfig:
        """The inverse of `to_dict`.

        Raises:
            BadCheckpoint: A field is missing, unknown or impossible.
        """
        try:
            image: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data["image"].items()}
            rest = {k: v for k, v in data.items() if k not in ("vision", "pooler", "text", "image")}
            return cls(
                vision=VisionConfig(**data["vision"]),
                pooler=PoolerConfig(**data["pooler"]),
                text=TextConfig(**data["text"]),
                image=ImageSettings(**image),
                **rest,
            )
        except (KeyError, TypeError, AttributeError) as error:
            reason = f"no field {error}" if isinstance(error, KeyError) else error
            raise BadCheckpoint(
                f"the model configuration does not fit this version of coca ({reason}); use the version that wrote it"
            ) from None


_LEAST = {"queries": 0, "pad_id": 0, "context": 2}
"""Smallest values of whole numbers; 1 for all others."""

_MOST, _MOST_LAYERS = 10_000_000, 1_000
"""Greatest values of whole numbers: beyond, a false description would build layers until the memory is full."""


def _wrong_kinds(config: CoCaConfig) -> list[str]:
    """Fields whose value is not of their kind, in words."""
    problems = []
    parts = {"": config, "vision.": config.vision, "pooler.": config.pooler, "text.": config.text}
    for prefix, part in {**parts, "image.": config.image}.items():
        for name, kind in get_type_hints(type(part)).items():
            value, least = getattr(part, name), _LEAST.get(name, 1)
            most = _MOST_LAYERS if name.endswith("layers") else _MOST
            if kind is int and (type(value) is not int or value < least):
                problems.append(f"{prefix}{name} must be a whole number from {least} up, not {value!r:.60}")
            elif kind is int and value > most:
                problems.append(f"{prefix}{name} must be {most:,} at most")
            elif kind is bool and not isinstance(value, bool):
                problems.append(f"{prefix}{name} must be true or false, not {value!r:.60}")
            elif get_origin(kind) is Literal and value not in get_args(kind):
                problems.append(f"{prefix}{name} must be {' or '.join(get_args(kind))}, not {value!r:.60}")
    if not isinstance(config.temperature, int | float) or not 0 < config.temperature < _MOST:
        problems.append(f"temperature must be above 0, not {config.temperature!r:.60}")
    return problems


def _halves(patch_size: int, width: int) -> bool:
    """Whether a stem of convolutions has whole numbers of channels."""
    return patch_size > 1 and patch_size.bit_count() == 1 and width % (patch_size // 2) == 0


def _names(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else [""]


def paper_config(
    *, width: int, heads: int, vision_layers: int, vision_mlp: int, text_layers: int, text_mlp: int
) -> CoCaConfig:
    """A model of the paper's Table 1: 288 px, patch 18, 256 and 1 queries in cascade, 64,000 words.

    What the paper leaves open is decided so: text length 64 and poolers with as many heads as the encoder, followed by
    a LayerNorm and no projection (all as in Google's later VILA code); learned text positions.

    Args:
        width: Width of encoder, decoder and embedding.
        heads: Heads of encoder, decoder and poolers.
        vision_layers: Encoder blocks.
        vision_mlp: Encoder MLP width.
        text_layers: Unimodal layers, and as many multimodal ones.
        text_mlp: Decoder MLP width.
    """
    return CoCaConfig(
        vision=VisionConfig(patch_size=18, width=width, layers=vision_layers, heads=heads, mlp_width=vision_mlp),
        pooler=PoolerConfig(wiring="cascade", queries=256, width=width, heads=heads),
        text=TextConfig(
            vocab_size=64_000,
            context=64,
            width=width,
            heads=heads,
            mlp_width=text_mlp,
            unimodal_layers=text_layers,
            multimodal_layers=text_layers,
        ),
        embed_dim=width,
        image=ImageSettings(size=288),
    )


def tiny_config(vocab_size: int, image_size: int = 64, context: int = 32) -> CoCaConfig:
    """`coca_tiny`: about 2 million parameters, for tests, the demo and small corpora.

    Args:
        vocab_size: Words of the tokenizer.
        image_size: Side of the pictures, a multiple of 8.
        context: Text positions.
    """
    return CoCaConfig(
        vision=VisionConfig(patch_size=8, width=128, layers=4, heads=4, mlp_width=512),
        pooler=PoolerConfig(queries=16, width=128, heads=4),
        text=TextConfig(
            vocab_size=vocab_size,
            context=context,
            width=128,
            heads=4,
            mlp_width=512,
            unimodal_layers=2,
            multimodal_layers=2,
        ),
        embed_dim=128,
        image=ImageSettings(size=image_size, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    )


PAPER_PRESETS: dict[str, CoCaConfig] = {
    "coca_base": paper_config(width=768, heads=12, vision_layers=12, vision_mlp=3072, text_layers=12, text_mlp=3072),
    "coca_large": paper_config(width=1024, heads=16, vision_layers=24, vision_mlp=4096, text_layers=12, text_mlp=4096),
    "coca_2b": paper_config(width=1408, heads=16, vision_layers=40, vision_mlp=6144, text_layers=18, text_mlp=5632),
    "coca_tiny": tiny_config(vocab_size=4_000),
}
"""Presets of this project by name; open_clip's CoCa configurations are known by their own names besides."""
