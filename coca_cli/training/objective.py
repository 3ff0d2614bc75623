"""The model with both losses: one forward pass per part of a batch, one backward pass or two."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from coca_cli.media.images import normalise
from coca_cli.model.coca import CoCa
from coca_cli.model.text import text_lengths, trim_tokens
from coca_cli.training.distributed import sum_over
from coca_cli.training.heap import LARGE_MODEL, trim_on_the_way_back
from coca_cli.training.losses import contrastive_loss, summed_caption_loss
from coca_cli.world import SINGLE, World


class PackedTexts(NamedTuple):
    """Texts, and the positions of them that are computed.

    Attributes:
        tokens: (B, T) ids, trimmed to the longest.
        rows: (n,) positions of words and [CLS] in the flattened batch of the unimodal layers.
        caption_rows: (m,) positions in the flattened (B, T - 1) batch that predict a next token.
        targets: (m,) that token.
    """

    tokens: Tensor
    rows: Tensor
    caption_rows: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> PackedTexts:
        """The same on another device."""
        return PackedTexts(*(part.to(device, non_blocking=True) for part in self))


class Part(NamedTuple):
    """Pictures and texts that go through the model together.

    Attributes:
        pixels: (B, 3, size, size) uint8.
        texts: Their texts.
        ids: (B,) equal where texts are; None where no two are looked at as equal.
    """

    pixels: Tensor
    texts: PackedTexts
    ids: Tensor | None = None


class Encoded(NamedTuple):
    """What the model makes of a part.

    Attributes:
        image: (B, D), unit length.
        text: (B, D), unit length.
        logit_scale: Scalar, 1 / temperature.
        caption: Scalar, the summed caption loss.
    """

    image: Tensor
    text: Tensor
    logit_scale: Tensor
    caption: Tensor


class Losses(NamedTuple):
    """Scalars of the whole batch, over all processes.

    Attributes:
        total: What is minimised.
        contrastive: Mean of both directions.
        caption: Mean over the tokens.
    """

    total: float
    contrastive: float
    caption: float


class Weights(NamedTuple):
    """Weights of the losses (paper section 4.1: 1 and 2)."""

    contrastive: float = 1.0
    caption: float = 2.0


def pack_texts(model: CoCa, tokens: Tensor) -> PackedTexts:
    """Find what is to be computed of texts.

    Args:
        model: Whose texts they are.
        tokens: (B, context) ids on the CPU.
    """
    tokens = trim_tokens(tokens, model.pad_id)
    before_last = torch.arange(tokens.shape[1] - 1) < text_lengths(tokens, model.pad_id)[:, None] - 1
    caption_rows = before_last.flatten().nonzero().flatten()
    return PackedTexts(tokens, model.text.packed_rows(tokens), caption_rows, tokens[:, 1:].flatten()[caption_rows])


class Objective(nn.Module):
    """The forward pass of training.

    Args:
        model: In fp32.
        mixed: Compute in bf16 with fp32 weights.
    """

    def __init__(self, model: CoCa, *, mixed: bool = False) -> None:
        super().__init__()
        self.model = model
        self.mixed = mixed
        self.large = sum(parameter.numel() for parameter in model.parameters()) >= LARGE_MODEL

    def forward(self, pixels: Tensor, texts: PackedTexts, captions: bool = True) -> Encoded:
        """Embeddings and, unless `captions` is False, the caption loss of a part."""
        model = self.model
        mixed = torch.autocast(pixels.device.type, torch.bfloat16) if self.mixed else nullcontext()
        with mixed:
            image = model.encode_image(normalise(pixels, model.config.image))
            text = model.text(texts.tokens, texts.rows)
            caption = pixels.new_zeros((), dtype=torch.float32)
            if captions:
                read = model.decoder.read(text.hidden[:, :-1], image.tokens, texts.caption_rows)
                caption = summed_caption_loss(read, model.decoder.to_vocab.weight, texts.targets, model.pad_id)
        if self.large:
            for activations in (text.hidden, image.tokens):
                trim_on_the_way_back(activations)
        return Encoded(
            F.normalize(image.embedding.float(), dim=-1),
            F.normalize(text.embedding.float(), dim=-1),
            model.logit_scale,
            caption,
        )


def backward(
    objective: nn.Module, parts: Sequence[Part], pad_id: int, weights: Weights, world: World = SINGLE
) -> Losses:
    """Add the gradient of the whole batch to the parameters.

    With several parts the contrastive loss is still that of the whole batch: a first pass without gradient embeds all
    of them, the loss gives the gradient of every embedding, a second pass carries it on into the weights. With a
    contrastive weight of 0 that loss is only looked at: with several parts as the mean of theirs, without a first pass.
    With a caption weight of 0 the multimodal decoder is not computed, and the caption loss is given as 0.

    Args:
        objective: As `parallelise` gave it.
        parts: This process's share of the batch; equally many rows on every process.
        pad_id: Of the texts.
        weights: Of the two losses.
        world: The processes; the mean of their gradients is the gradient of the whole batch.

    Source: the two passes are those of Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited
    Setup", arXiv 2101.06983.
    """
    device = parts[0].pixels.device
    tokens = torch.stack([(part.texts.targets != pad_id).sum() for part in parts]).sum().float()
    tokens = sum_over(tokens, world).clamp(min=1)
    per_token = weights.caption * world.size / tokens
    captions = weights.caption > 0
    if not weights.contrastive:
        contrastive, summed = _captions_alone(objective, parts, per_token, world)
    elif len(parts) == 1:
        encoded: Encoded = objective(parts[0].pixels, parts[0].texts, captions=captions)
        contrastive = contrastive_loss(encoded.image, encoded.text, encoded.logit_scale, world, parts[0].ids)
        (weights.contrastive * contrastive + per_token * encoded.caption).backward()  # type: ignore[no-untyped-call]
        summed = encoded.caption.detach()
    else:
        contrastive, cached = _embedding_gradients(objective, parts, weights, world)
        summed = torch.zeros((), device=device)
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            with unsynchronised(objective, quiet=not last):
                encoded = objective(part.pixels, part.texts, captions=captions)
                rows = slice(index * len(part.pixels), (index + 1) * len(part.pixels))
                loss = per_token * encoded.caption + (encoded.image * cached.image[rows]).sum()
                loss = loss + (encoded.text * cached.text[rows]).sum()
                if last:
                    loss = loss + encoded.logit_scale * cached.logit_scale
                loss.backward()  # type: ignore[no-untyped-call]
            summed += encoded.caption.detach()
    return _over_all(contrastive.detach(), summed, tokens, weights, world)


def _captions_alone(
    objective: nn.Module, parts: Sequence[Part], per_token: Tensor, world: World
) -> tuple[Tensor, Tensor]:
    """The gradient of the caption loss; the mean contrastive loss of the parts and the summed caption loss."""
    contrastive = summed = torch.zeros((), device=parts[0].pixels.device)
    for index, part in enumerate(parts):
        with unsynchronised(objective, quiet=index < len(parts) - 1):
            encoded: Encoded = objective(part.pixels, part.texts)
            (per_token * encoded.caption).backward()  # type: ignore[no-untyped-call]
        summed = summed + encoded.caption.detach()
        with torch.no_grad():
            looked_at = contrastive_loss(encoded.image, encoded.text, encoded.logit_scale, world, part.ids)
        contrastive = contrastive + looked_at / len(parts)
    return contrastive, summed


def _embedding_gradients(
    objective: nn.Module, parts: Sequence[Part], weights: Weights, world: World
) -> tuple[Tensor, Encoded]:
    """The contrastive loss of all parts together, and its gradient by embeddings and logit scale."""
    with torch.no_grad():
        passes: list[Encoded] = [objective(part.pixels, part.texts, captions=False) for part in parts]
    image, text = (torch.cat([getattr(p, side) for p in passes]).requires_grad_() for side in ("image", "text"))
    scale = passes[0].logit_scale.detach().clone().requires_grad_()
    known = [part.ids for part in parts if part.ids is not None]
    loss = contrastive_loss(image, text, scale, world, torch.cat(known) if known else None)
    gradients = torch.autograd.grad(weights.contrastive * loss, (image, text, scale))
    return loss, Encoded(gradients[0], gradients[1], gradients[2], loss)


def unsynchronised(objective: nn.Module, *, quiet: bool) -> AbstractContextManager[None]:
    """Gradients of all but the last part stay with each process until then.

    Args:
        objective: As `parallelise` gave it.
        quiet: It is not the last part.
    """
    if quiet and isinstance(objective, DistributedDataParallel):
        return objective.no_sync()
    return nullcontext()


def _over_all(contrastive: Tensor, summed: Tensor, tokens: Tensor, weights: Weights, world: World) -> Losses:
    both = sum_over(torch.stack([contrastive.float() / world.size, summed / tokens]), world).tolist()
    return Losses(weights.contrastive * both[0] + weights.caption * both[1], *both)
