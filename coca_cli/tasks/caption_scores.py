"""Captions against references: BLEU, METEOR, ROUGE-L, CIDEr and SPICE, each with a 95 % interval.

The scorers are pycocoevalcap's. CIDEr is what is known as CIDEr-D, with the document frequencies of the references that
are scored: scores of a part of a set cannot be compared with scores of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coca_cli.extras import needs
from coca_cli.tasks.intervals import Estimate
from coca_cli.tasks.java_scorers import SCORING, meteor_statistics, spice_is_there, spice_scores, tokenise

Array = NDArray[np.float64]

RESAMPLES = 1000
RESAMPLED_AT_ONCE = 50

METEOR_ALPHA, METEOR_BETA, METEOR_GAMMA, METEOR_DELTA = 0.85, 0.2, 0.6, 0.75
METEOR_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])
"""METEOR 1.5's parameters for English, of its "rank" task, and the weights of its four matchers."""


class CaptionScores(NamedTuple):
    """Scores of n captions.

    Attributes:
        scores: Metric -> score with its interval; BLEU, METEOR, ROUGE-L and SPICE in [0, 1], CIDEr in [0, 10].
        each: Metric -> (n,) what each caption got, in the order of the candidates. The score of the whole is their mean
            for CIDEr, ROUGE-L and SPICE.
    """

    scores: dict[str, Estimate]
    each: dict[str, Array]


class Measured(NamedTuple):
    """What the scorers say of each of n captions, before it is added up.

    Attributes:
        written: id -> tokenised caption.
        wanted: id -> tokenised references.
        counts: (n, 10) of BLEU, see `bleu_counts`.
        alignments: (n, 23) of METEOR, see `meteor_statistics`.
        means: ROUGE-L and, where it is there, SPICE: (n,) each; what is NaN counts as 0.
    """

    written: dict[str, str]
    wanted: dict[str, list[str]]
    counts: Array
    alignments: Array
    means: dict[str, Array]

    def part(self, names: Sequence[str]) -> Measured:
        """The same of some of the captions."""
        place = {name: row for row, name in enumerate(self.written)}
        rows = [place[name] for name in names]
        return Measured(
            {name: self.written[name] for name in names},
            {name: self.wanted[name] for name in names},
            self.counts[rows],
            self.alignments[rows],
            {metric: values[rows] for metric, values in self.means.items()},
        )


def measure_captions(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]], java: str) -> Measured:
    """Everything that must be computed once per caption.

    Args:
        candidates: id -> caption, at least one.
        references: id -> captions by people, at least one of each candidate.
        java: From `find_java`.

    Raises:
        CocaError: A Java program failed.
    """
    written, wanted = _tokenised(candidates, references, java)
    alignments = meteor_statistics(java, list(written.values()), list(wanted.values()))
    means = {"ROUGE-L": rouge_scores(written, wanted)}
    if spice_is_there():
        means["SPICE"] = spice_scores(java, written, wanted)
    return Measured(written, wanted, bleu_counts(written, wanted), without_whole_chunks(alignments), means)


def scores_of(measured: Measured, *, seed: int = 0) -> CaptionScores:
    """The scores of a set, or of a part of one as a set of its own.

    Args:
        measured: From `measure_captions`.
        seed: Of the bootstrap.

    Returns:
        The interval of each score is that of 1,000 samples of the pictures with replacement, the document frequencies
        of CIDEr being those of all pictures that are given.
    """
    n = len(measured.written)
    sums: dict[str, tuple[Array, Callable[[Array], Array]]] = {
        f"BLEU-{order}": (measured.counts, _bleu_of(order)) for order in range(1, 5)
    }
    sums["METEOR"] = measured.alignments, meteor_of
    means = measured.means | {"CIDEr": cider_scores(measured.written, measured.wanted)}
    known = {metric: np.nan_to_num(values) for metric, values in means.items()}
    values = {metric: float(of(found.sum(axis=0))) for metric, (found, of) in sums.items()}
    values |= {metric: float(found.mean()) for metric, found in known.items()}
    drawn: dict[str, list[Array]] = {metric: [] for metric in values}
    for counts in _resampled(n, seed):
        for metric, (found, of) in sums.items():
            drawn[metric].append(of(counts @ found))
        for metric, each in known.items():
            drawn[metric].append(counts @ each / n)
    scores = {metric: _estimate(value, np.concatenate(drawn[metric])) for metric, value in values.items()}
    return CaptionScores(scores, {metric: of(found) for metric, (found, of) in sums.items()} | means)


def score_captions(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]], java: str, *, seed: int = 0
) -> CaptionScores:
    """All scores that can be had; arguments and errors as for `measure_captions` and `scores_of`."""
    return scores_of(measure_captions(candidates, references, java), seed=seed)


def cider_of(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]], java: str) -> float:
    """CIDEr alone, in [0, 10]; arguments as for `score_captions`."""
    written, wanted = _tokenised(candidates, references, java)
    return float(cider_scores(written, wanted).mean())


def _tokenised(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]], java: str
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Candidates and their references, as the scorers take them."""
    texts = [*candidates.values(), *(text for name in candidates for text in references[name])]
    tokens = iter(tokenise(java, texts))
    written = {name: next(tokens) for name in candidates}
    return written, {name: [next(tokens) for _ in references[name]] for name in candidates}


def bleu_counts(written: Mapping[str, str], wanted: Mapping[str, Sequence[str]]) -> Array:
    """What BLEU adds up.

    Returns:
        (n, 10): words, words of the reference nearest in length, n-grams for n = 1 to 4, of those the correct ones.
    """
    with needs("captions", SCORING):
        from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    rows = []
    for name, text in written.items():
        counts: Any = BleuScorer(text, list(wanted[name]), n=4)
        (found,) = counts.ctest
        nearest = counts._single_reflen(found["reflen"], "closest", found["testlen"])
        rows.append([found["testlen"], nearest, *found["guess"], *found["correct"]])
    return np.array(rows, dtype=np.float64)


def _bleu_of(order: int) -> Callable[[Array], Array]:
    """BLEU up to n-grams of that order, of (..., 10) counts, smoothed against zeros as pycocoevalcap does."""
    small, tiny = 1e-9, 1e-15

    def score(counts: Array) -> Array:
        precision = (counts[..., 6 : 6 + order] + tiny) / (counts[..., 2 : 2 + order] + small)
        ratio = (counts[..., 0] + tiny) / (counts[..., 1] + small)
        brevity = np.where(ratio < 1, np.exp(1 - 1 / np.minimum(ratio, 1)), 1.0)
        found: Array = precision.prod(axis=-1) ** (1 / order) * brevity
        return found

    return score


def without_whole_chunks(statistics: Array) -> Array:
    """METEOR's alignments with no chunk where candidate and reference match from end to end, as METEOR counts them."""
    whole = (statistics[:, 20] == 1) & (statistics[:, 21:23] == statistics[:, 0:2]).all(axis=1)
    changed = statistics.copy()
    changed[whole, 20] = 0
    return changed


def meteor_of(statistics: Array) -> Array:
    """METEOR of (..., 23) sums of alignments.

    Source: Denkowski and Lavie, "Meteor Universal", WMT 2014, section 2.
    """
    lengths, function = statistics[..., 0:2], statistics[..., 2:4]
    matches = statistics[..., 4:20].reshape(*statistics.shape[:-1], 4, 2, 2)  # matcher, content or function, side
    weighed = METEOR_DELTA * matches[..., 0, :] + (1 - METEOR_DELTA) * matches[..., 1, :]
    found = (weighed * METEOR_WEIGHTS[:, None]).sum(axis=-2)
    possible = METEOR_DELTA * (lengths - function) + (1 - METEOR_DELTA) * function
    precision, recall = np.moveaxis(_divided(found, possible), -1, 0)
    mean = _divided(precision * recall, METEOR_ALPHA * precision + (1 - METEOR_ALPHA) * recall)
    fragments = _divided(statistics[..., 20], statistics[..., 21:23].mean(axis=-1))
    score: Array = mean * (1 - METEOR_GAMMA * fragments**METEOR_BETA)
    return score


def rouge_scores(written: Mapping[str, str], wanted: Mapping[str, Sequence[str]]) -> Array:
    """ROUGE-L of each caption, (n,) in [0, 1]."""
    with needs("captions", SCORING):
        from pycocoevalcap.rouge.rouge import Rouge

    rouge = Rouge()
    return np.array([rouge.calc_score([text], list(wanted[name])) for name, text in written.items()])


def cider_scores(written: Mapping[str, str], wanted: Mapping[str, Sequence[str]]) -> Array:
    """CIDEr of each caption, (n,) in [0, 10], with the document frequencies of all references."""
    with needs("captions", SCORING):
        from pycocoevalcap.cider.cider import Cider

    _, scores = Cider().compute_score(
        {name: list(texts) for name, texts in wanted.items()}, {name: [text] for name, text in written.items()}
    )
    return np.asarray(scores, dtype=np.float64)


def _divided(above: Array, below: Array) -> Array:
    """The quotient, 0 where there is nothing to divide by."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below != 0)


def _resampled(n: int, seed: int) -> Iterator[Array]:
    """How often each of n pictures stands in each sample, (samples, n) a part at a time."""
    random = np.random.default_rng(seed)
    even = np.full(n, 1 / n)
    for _ in range(RESAMPLES // RESAMPLED_AT_ONCE):
        yield random.multinomial(n, even, size=RESAMPLED_AT_ONCE).astype(np.float64)


def _estimate(value: float, drawn: Array) -> Estimate:
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Estimate(value, min(float(low), value), max(float(high), value))
