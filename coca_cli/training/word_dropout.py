"""Word dropout: words that the text side does not get to read, so that it has to look at the picture.

What it must write stays as it is. Source: Bowman et al. 2016, "Generating Sentences from a Continuous Space", arXiv
1511.06349, section 3.1, where words that a decoder reads are replaced by the unknown word.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.errors import CocaError
from coca_cli.model.tokenizer import SentencePieceTokenizer, TextEncoder


def check_word_dropout(rate: float, tokenizer: TextEncoder) -> None:
    """Refuse word dropout where the vocabulary has no unknown word.

    Raises:
        CocaError: It has none, and `rate` is not 0.
    """
    if rate and not isinstance(tokenizer, SentencePieceTokenizer):
        raise CocaError(
            f"--word-dropout {rate:g} puts the unknown word in the place of others, and CLIP's vocabulary has none; "
            "leave it out, or use a sentencepiece model"
        )


def draw_hidden(rate: float, positions: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Which positions of a text are hidden, (positions,)."""
    return random.random(positions) < rate


def hide_words(tokens: Tensor, hidden: Tensor) -> Tensor:
    """The texts with the unknown word in the hidden places; begin, end and padding stay.

    Args:
        tokens: (B, T) ids of a sentencepiece model.
        hidden: (B, positions) True where a word is hidden; at least T positions.
    """
    unknown = SentencePieceTokenizer.unk_id  # the special ids are the lowest
    return torch.where((tokens > unknown) & hidden[:, : tokens.shape[1]], unknown, tokens)
