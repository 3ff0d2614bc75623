"""Texts and pictures -> unit embeddings, at the speed that the model allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from coca_cli.errors import CocaError
from coca_cli.model.baselines import unit_length
from coca_cli.model.placement import Placed
from coca_cli.model.text import trim_tokens
from coca_cli.tasks.encoding import encode_pixels

TOKENS_PER_BATCH = 8192
"""Text positions in one forward pass: enough to fill the cores and for many texts to begin alike."""


def embed_texts(
    placed: Placed, texts: Sequence[str], track: Callable[[list[Tensor]], Iterable[Tensor]] = iter
) -> Tensor:
    """Unit embeddings of texts.

    Every distinct text is embedded once; texts of one length go together, so that no padding is computed, in
    alphabetical order, so that texts that begin alike meet.

    Args:
        placed: The model.
        texts: n texts.
        track: Passes the batches of row numbers on, to show progress.

    Returns:
        (n, D) fp32 on the CPU.
    """
    distinct = sorted(set(texts))
    embedded = embed_tokens(placed, placed.tokenizer.encode(distinct), track)
    place = {text: row for row, text in enumerate(distinct)}
    return embedded[torch.tensor([place[text] for text in texts])]


@torch.inference_mode()
def embed_tokens(placed: Placed, tokens: Tensor, track: Callable[[list[Tensor]], Iterable[Tensor]] = iter) -> Tensor:
    """Unit embeddings of texts that are tokens already; `embed_texts` tells how.

    Args:
        placed: The model.
        tokens: (n, context) ids.
        track: Passes the batches of row numbers on, to show progress.

    Returns:
        (n, D) fp32 on the CPU.
    """
    model = placed.model
    parts: list[Tensor] = []
    order: list[Tensor] = []
    for rows in track(_batches_by_length(tokens, model.pad_id)):
        batch = tokens[rows]
        if model.pad_id is not None:
            batch = trim_tokens(batch, model.pad_id)
        parts.append(checked_embeddings(unit_length(model.embed_text(batch.to(placed.device))).cpu()))
        order.append(rows)
    return torch.cat(parts)[torch.argsort(torch.cat(order))]


def _batches_by_length(tokens: Tensor, pad_id: int | None) -> list[Tensor]:
    """Row numbers of each batch: texts of one length, about TOKENS_PER_BATCH positions."""
    if pad_id is None:
        lengths = torch.full((len(tokens),), tokens.shape[1])
    else:
        positions = torch.arange(1, tokens.shape[1] + 1)
        lengths = ((tokens != pad_id) * positions).amax(dim=1)
    found: list[Tensor] = []
    for length in sorted(set(lengths.tolist())):
        rows = (lengths == length).nonzero().flatten()
        found.extend(torch.split(rows, max(1, TOKENS_PER_BATCH // max(1, length))))
    return found


def embed_pixels(placed: Placed, pixels: Tensor) -> Tensor:
    """Unit embeddings of pictures.

    Args:
        placed: The model.
        pixels: (B, 3, size, size) uint8.

    Returns:
        (B, D) fp32 on the CPU.
    """
    return checked_embeddings(unit_length(_plain_embeddings(placed, pixels)))


def _plain_embeddings(placed: Placed, pixels: Tensor) -> Tensor:
    return encode_pixels(placed, lambda images: placed.model.embed_image(images).float(), pixels)


def embed_frames(placed: Placed, pixels: Tensor, *, normalise_first: bool = False) -> Tensor:
    """One unit embedding per clip, the mean of its frames' embeddings.

    Source: the paper's section 4.2.3 averages the embeddings of 16 frames; whether they were normalised before is not
    said. Here the plain embeddings are averaged and the mean is normalised, unless `normalise_first`.

    Args:
        placed: The model.
        pixels: (B, F, 3, size, size) uint8.
        normalise_first: Give each frame's embedding unit length before the mean, so that none weighs more.

    Returns:
        (B, D) fp32 on the CPU.
    """
    embed = embed_pixels if normalise_first else _plain_embeddings
    embedded = embed(placed, pixels.flatten(0, 1))  # (B x F, D)
    frames = embedded.view(*pixels.shape[:2], -1)  # (B, F, D)
    return checked_embeddings(unit_length(frames.mean(dim=1)))


def checked_embeddings(embeddings: Tensor) -> Tensor:
    """The same, if they are numbers: nothing is equal to or above NaN, so that a broken model would win every search.

    Raises:
        CocaError: They are not.
    """
    if not embeddings.isfinite().all():
        raise CocaError(
            "the model's embeddings are not finite numbers: its weights are damaged, or its activations leave the "
            "range of the number format; try --precision fp32, or another checkpoint"
        )
    return embeddings
