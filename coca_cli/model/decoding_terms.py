"""What decoding is asked for and what it gives, and what a search asks of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from coca_cli.errors import CocaError
from coca_cli.options import DecodingMethod

OPEN_CLIP_BEAMS, OPEN_CLIP_LENGTH, OPEN_CLIP_LEAST = 2, 30, 5
"""open_clip 3.3.0's `generate`: beams, positions in all, and those that must be there before the end. Its six beams in
three groups know nothing of each other, so that each group finds what two beams find."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How captions are written.

    Attributes:
        method: Greedy, beam search, sampling, or open_clip 3.3.0's default search: two beams whose scores are sums of
            raw logits, by length; of the other fields only `n_best` counts there.
        beams: Texts that a beam search follows.
        n_best: Captions per picture: the best of a search, or so many samples.
        length_penalty: A search ranks by the sum of log-probabilities / tokens ** length_penalty; 0 is the sum.
        min_length: Tokens before the end may come.
        max_length: Tokens at most, the end counted; what stands in the prefix is not counted.
        temperature: Samples come from softmax(logits / temperature).
        top_k: Samples come from so many most probable tokens; 0 for all.
        top_p: Samples come from the fewest most probable tokens that together have this probability.
        repetition_penalty: Logits of tokens that were written before are divided by this where positive, else
            multiplied (Keskar et al. 2019, arXiv 1909.05858); 1 for no change.
        seed: Of the samples.
    """

    method: DecodingMethod = DecodingMethod.beam
    beams: int = 3
    n_best: int = 1
    length_penalty: float = 0.0
    min_length: int = 1
    max_length: int = 30
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.min_length > self.max_length:
            raise CocaError(f"--min-length {self.min_length} is above --max-length {self.max_length}; make it smaller")
        most = {DecodingMethod.greedy: 1, DecodingMethod.beam: self.beams, DecodingMethod.open_clip: OPEN_CLIP_BEAMS}
        if self.n_best > most.get(self.method, self.n_best):
            raise CocaError(
                f"--n-best {self.n_best} is more than {self.method.value} decoding finds, which is "
                f"{most[self.method]}; use more --beams or --decoding sample"
            )

    @property
    def longest(self) -> int:
        """Tokens of a caption at most."""
        return OPEN_CLIP_LENGTH if self.method is DecodingMethod.open_clip else self.max_length

    @property
    def texts(self) -> int:
        """Texts per picture that grow side by side."""
        beams = {DecodingMethod.beam: self.beams, DecodingMethod.open_clip: OPEN_CLIP_BEAMS}
        return beams.get(self.method, self.n_best)


class Caption(NamedTuple):
    """One way to go on from the beginning.

    Attributes:
        tokens: Ids after the beginning, without the end token.
        score: What captions are ranked by: the sum of the log-probabilities of the tokens and the end, by length where
            there is a length penalty. Under open-clip-3.3 the sum of logits by length.
    """

    tokens: tuple[int, ...]
    score: float


class Words(NamedTuple):
    """The special tokens of a search.

    Attributes:
        prompt: (P,) ids that every text begins with, the begin token first.
        eos_id: Ends a text.
        banned: Never written.
    """

    prompt: Tensor
    eos_id: int
    banned: tuple[int, ...]


class GrowingTexts(Protocol):
    """What a search asks of a model; `DecodingCache` tells the arguments."""

    def begin(self, prompt: Tensor) -> Tensor:
        """(P,) -> logits (B, V)."""
        ...

    def extend(self, tokens: Tensor, parents: Tensor | None = None) -> Tensor:
        """(B, K) -> logits (B, K, V)."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with these pictures alone."""
        ...
