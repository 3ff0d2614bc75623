"""Pictures and clips -> captions, with their embeddings if wanted, from one pass of the encoder."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from coca_cli.errors import BadCheckpoint
from coca_cli.media.images import normalise
from coca_cli.model.baselines import unit_length
from coca_cli.model.coca import CoCa
from coca_cli.model.decoding import prompt_words, write_captions
from coca_cli.model.decoding_terms import Caption, Decoding
from coca_cli.model.placement import Placed
from coca_cli.model.tokenizer import ClipTokenizer, SentencePieceTokenizer
from coca_cli.tasks.embedding import checked_embeddings
from coca_cli.tasks.encoding import within_memory
from coca_cli.tasks.features import Computing, Outcome
from coca_cli.tasks.media_features import Reading, media_computing

CAPTION_SCALARS = 2
"""Numbers of a row before a caption's tokens: its score and how many tokens it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How captions are written.

    Attributes:
        decoding: The search.
        prefix: Words that every caption begins with.
        embed: Whether embeddings are wanted too.
    """

    decoding: Decoding = field(default_factory=Decoding)
    prefix: str = ""
    embed: bool = False


class ScoredText(NamedTuple):
    """A caption in words.

    Attributes:
        text: The prefix included.
        score: See `Caption`.
    """

    text: str
    score: float


class Captioner(NamedTuple):
    """A model that writes captions, as `captioner_of` found it."""

    placed: Placed
    model: CoCa
    tokenizer: ClipTokenizer | SentencePieceTokenizer


def captioner_of(placed: Placed) -> Captioner:
    """The model as one that writes.

    Raises:
        BadCheckpoint: It has no text decoder.
    """
    model, tokenizer = placed.model, placed.tokenizer
    if not isinstance(model, CoCa) or not isinstance(tokenizer, ClipTokenizer | SentencePieceTokenizer):
        raise BadCheckpoint(f"{placed.name} has no text decoder and writes no captions: give a CoCa with --model")
    return Captioner(placed, model, tokenizer)


def caption_computing(
    captioner: Captioner,
    writing: Writing,
    reading: Reading,
    track: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
    *,
    clips: bool,
    border: int = 0,
) -> tuple[Computing, dict[str, object]]:
    """How pictures or clips become rows of numbers that `captions_in` and `embeddings_in` read.

    Args:
        captioner: The model.
        writing: The search.
        reading: How pictures and clips are read.
        track: Shows progress.
        clips: Whether they are clips.
        border: Pixels to cut from each side of a picture.

    Returns:
        The computation, and all that decides its result but the files.
    """
    computing, facts = media_computing(captioner.placed, reading, track, clips=clips, border=border)
    facts |= {"features": "captions", **asdict(writing)}
    facts.pop("frame_mean", None)  # patches are pooled over all frames
    return replace(computing, compute=partial(_write_rows, captioner, writing)), facts


def write_texts(captioner: Captioner, writing: Writing, pixels: Tensor) -> list[list[ScoredText]]:
    """The captions of pictures, (B, 3, H, W) uint8, best first."""
    return captions_in(_write_rows(captioner, writing, pixels), captioner, writing)


def captions_in(rows: Tensor, captioner: Captioner, writing: Writing) -> list[list[ScoredText]]:
    """The captions of each row, best first."""
    begun = prompt_words(captioner.tokenizer, writing.prefix, torch.device("cpu")).prompt.tolist()
    size = _row_size(writing.decoding)
    found = []
    for row in rows[:, : writing.decoding.n_best * size].reshape(len(rows), -1, size).tolist():
        captions = [(score, tokens[: int(count)]) for score, count, *tokens in row if count >= 0]
        texts = [(captioner.tokenizer.decode([*begun, *map(int, ids)]), score) for score, ids in captions]
        found.append([ScoredText(" ".join(text.split()), score) for text, score in texts])
    return found


def embeddings_in(rows: Tensor, writing: Writing) -> Tensor:
    """The unit embeddings (n, D) of the rows, where they were wanted."""
    return rows[:, writing.decoding.n_best * _row_size(writing.decoding) :]


def _row_size(decoding: Decoding) -> int:
    return CAPTION_SCALARS + decoding.longest


def _write_rows(captioner: Captioner, writing: Writing, pixels: Tensor) -> Tensor:
    """(B, 3, H, W) or (B, F, 3, H, W) uint8 -> (B, rows' size) fp32, which holds token ids exactly."""
    return within_memory(lambda part: _written_rows(captioner, writing, part), pixels)


@torch.inference_mode()
def _written_rows(captioner: Captioner, writing: Writing, pixels: Tensor) -> Tensor:
    placed, model = captioner.placed, captioner.model
    images = normalise(pixels.to(placed.device, non_blocking=True), placed.image).to(placed.dtype)
    features = model.encode_clip(images) if images.ndim == 5 else model.encode_image(images)
    keys = [zlib.crc32(picture.numpy().tobytes()) for picture in pixels]
    captions = write_captions(
        model, features.tokens, captioner.tokenizer, writing.decoding, prefix=writing.prefix, keys=keys
    )
    rows = torch.tensor([_flatten(found, writing.decoding) for found in captions])
    if not writing.embed:
        return rows
    embeddings = features.embedding if images.ndim == 4 else _mean_of_frames(model, features.patches, images.shape[1])
    return torch.cat([rows, checked_embeddings(unit_length(embeddings.float()).cpu())], dim=1)


def _mean_of_frames(model: CoCa, patches: Tensor, frames: int) -> Tensor:
    """The mean embedding (B, D) of the frames, as `coca embed` has it, from the encoder's output (B, F * N, W)."""
    of_frames = patches.reshape(len(patches) * frames, -1, patches.shape[-1])
    embeddings = model.image.pool(of_frames).embedding.float()
    return embeddings.view(len(patches), frames, -1).mean(dim=1)


def _flatten(captions: Sequence[Caption], decoding: Decoding) -> list[float]:
    """Score, number of tokens and tokens of each caption; -1 tokens where a small vocabulary has no more captions."""
    row: list[float] = []
    for caption in captions:
        row += [caption.score, len(caption.tokens), *caption.tokens, *[0] * (decoding.longest - len(caption.tokens))]
    missing = decoding.n_best - len(captions)
    return row + ([0.0, -1.0] + [0.0] * decoding.longest) * missing
