"""Captions from image tokens: greedy, beam search, sampling, and open_clip 3.3's search for published numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from coca_cli.errors import CocaError
from coca_cli.model.beam_search import EXACT, OPEN_CLIP, beam_search
from coca_cli.model.coca import CoCa
from coca_cli.model.decoding_cache import DecodingCache
from coca_cli.model.decoding_terms import (
    OPEN_CLIP_BEAMS,
    OPEN_CLIP_LEAST,
    OPEN_CLIP_LENGTH,
    Caption,
    Decoding,
    GrowingTexts,
    Words,
)
from coca_cli.model.sampling import sample
from coca_cli.model.tokenizer import Tokenizer
from coca_cli.options import DecodingMethod

BuildTexts = Callable[[CoCa, Tensor, int, int], GrowingTexts]
"""A model, image tokens (B, Q, W), texts per picture and their positions at most."""


def prompt_words(tokenizer: Tokenizer, prefix: str, device: torch.device, *, ban: bool = True) -> Words:
    """The beginning of every caption and the tokens that are none.

    Args:
        tokenizer: The model's.
        prefix: Words that every caption begins with.
        device: Where the ids are wanted.
        ban: Never write the begin and the padding token.

    Raises:
        CocaError: The prefix takes all positions.
    """
    ids = tokenizer.encode([prefix])[0]
    end = int((ids == tokenizer.eos_id).nonzero()[0])
    if end + 1 >= tokenizer.context:
        raise CocaError(
            f"--prefix has {end - 1:,} tokens or more, and leaves no place for a caption in "
            f"{tokenizer.context} positions; shorten it"
        )
    banned = (tokenizer.bos_id, tokenizer.pad_id) if ban else ()
    return Words(ids[:end].to(device), tokenizer.eos_id, banned)


@torch.inference_mode()
def write_captions(
    model: CoCa,
    image_tokens: Tensor,
    tokenizer: Tokenizer,
    decoding: Decoding,
    *,
    prefix: str = "",
    keys: Sequence[int] | None = None,
    build: BuildTexts = DecodingCache,
) -> list[list[Caption]]:
    """Captions of pictures, best first.

    A caption does not depend on the other pictures of the batch, but for the rounding of sums.

    Args:
        model: In evaluation mode.
        image_tokens: (B, Q, W) from `encode_image`.
        tokenizer: The model's.
        decoding: How.
        prefix: Words that every caption begins with.
        keys: (B,) numbers that belong to the pictures: samples depend on them and the seed alone. Without them the
            places in the batch.
        build: What the search asks; any that gives the same logits gives the same captions.

    Returns:
        Of each picture `n_best` captions.

    Raises:
        CocaError: The prefix takes all positions.
    """
    if not len(image_tokens):
        return []
    legacy = decoding.method is DecodingMethod.open_clip
    words = prompt_words(tokenizer, prefix, image_tokens.device, ban=not legacy)
    begun = len(words.prompt)
    if legacy:
        least, most = max(0, OPEN_CLIP_LEAST - begun), max(1, OPEN_CLIP_LENGTH - begun)
        decoding = replace(Decoding(min_length=least, max_length=most), beams=OPEN_CLIP_BEAMS, n_best=decoding.n_best)
    decoding = replace(decoding, max_length=min(decoding.max_length, tokenizer.context - begun))
    texts = build(model, image_tokens, decoding.texts, begun + decoding.max_length)
    if decoding.method is DecodingMethod.beam:
        return beam_search(texts, words, decoding, OPEN_CLIP if legacy else EXACT)
    return sample(texts, words, decoding, range(len(image_tokens)) if keys is None else keys)
