"""Texts and pictures -> unit embeddings, at the speed that the model allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from coca_cli.media.batches import Batch
from coca_cli.media.images import ImageSettings, normalise
from coca_cli.model.baselines import Embedder, unit_length
from coca_cli.model.text import trim_tokens
from coca_cli.model.tokenizer import TextEncoder

TOKENS_PER_BATCH = 8192
"""Text positions in one forward pass: enough to fill the cores, little enough to stay in cache."""

Track = Callable[[Iterable[Tensor]], Iterable[Tensor]]


@torch.inference_mode()
def embed_texts(
    model: Embedder,
    tokenizer: TextEncoder,
    texts: Sequence[str],
    *,
    device: torch.device,
    track: Callable[[list[Tensor]], Iterable[Tensor]] | None = None,
) -> Tensor:
    """Unit embeddings of texts.

    Every distinct text is embedded once; texts of one length go together, so that no padding is computed.

    Args:
        model: CoCa or a baseline.
        tokenizer: Its tokenizer.
        texts: n texts.
        device: Where the model is.
        track: Passes the batches of row numbers on, to show progress.

    Returns:
        (n, D) fp32 on the CPU.
    """
    distinct = list(dict.fromkeys(texts))
    tokens = tokenizer.encode(distinct)
    groups = _batches_by_length(tokens, model.pad_id)
    out: Tensor | None = None
    for rows in track(groups) if track else groups:
        batch = tokens[rows]
        if model.pad_id is not None:
            batch = trim_tokens(batch, model.pad_id)
        embedded = unit_length(model.encode_text(batch.to(device)).embedding).cpu()
        if out is None:
            out = torch.empty(len(distinct), embedded.shape[1])
        out[rows] = embedded
    assert out is not None
    place = {text: row for row, text in enumerate(distinct)}
    return out[torch.tensor([place[text] for text in texts])]


def _batches_by_length(tokens: Tensor, pad_id: int | None) -> list[Tensor]:
    """Row numbers of each batch: texts sorted by length, one length a batch, about TOKENS_PER_BATCH positions."""
    if pad_id is None:
        lengths = torch.full((len(tokens),), tokens.shape[1])
    else:
        positions = torch.arange(1, tokens.shape[1] + 1)
        lengths = ((tokens != pad_id) * positions).amax(dim=1)
    order = torch.argsort(lengths, stable=True)
    found: list[Tensor] = []
    for length in lengths.unique().tolist():
        rows = order[lengths[order] == length]
        found.extend(rows.split(max(1, TOKENS_PER_BATCH // max(1, length))))
    return found


@torch.inference_mode()
def embed_batch(
    model: Embedder, batch: Batch, settings: ImageSettings, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Unit embeddings of a batch of pictures.

    Args:
        model: CoCa or a baseline.
        batch: Pixels.
        settings: The checkpoint's image settings.
        device: Where the model is.
        dtype: The number format of its weights.

    Returns:
        (B, D) fp32 on the CPU.
    """
    images = normalise(batch.pixels.to(device, non_blocking=True), settings).to(dtype)
    return unit_length(model.encode_image(images).embedding).cpu()
