"""Beam search over texts that grow side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from coca_cli.model.decoding_terms import Caption, Decoding, GrowingTexts, Words
from coca_cli.model.logits import best, forbid, penalise_repetition


class Rules(NamedTuple):
    """What tells one search from another.

    Attributes:
        log_probabilities: Scores are sums of log-probabilities; otherwise of raw logits.
        rank: The score by which captions are compared, from a sum, the number of tokens written (the end counted) and
            the settings.
        hope: The best score that a text can still reach, from its sum and the tokens that it has.
        ended_hope: The texts that just ended count among those with hope.
        held: How many finished captions must be as good as all hope before a picture is done.
    """

    log_probabilities: bool
    rank: Callable[[float, int, Decoding, int], float]
    hope: Callable[[float, int, Decoding, int], float]
    ended_hope: bool
    held: Callable[[Decoding], int]


def _by_length(total: float, tokens: int, decoding: Decoding, begun: int) -> float:
    return total / float(tokens**decoding.length_penalty)


def _hope(total: float, tokens: int, decoding: Decoding, begun: int) -> float:
    """A sum of log-probabilities never rises. Divided by a power of the length it is best at the greatest length, or at
    the next where the power is negative.
    """
    longest = decoding.max_length if decoding.length_penalty > 0 else min(tokens + 1, decoding.max_length)
    return _by_length(total, longest, decoding, begun)


EXACT = Rules(True, _by_length, _hope, False, lambda decoding: decoding.n_best)
"""Scores are log-probabilities, and a picture is done when no text that still grows can be among the answers."""

OPEN_CLIP = Rules(
    False,
    lambda total, tokens, decoding, begun: total / (begun + tokens),
    lambda total, tokens, decoding, begun: total / (begun + tokens),
    True,
    lambda decoding: decoding.beams,
)
"""open_clip 3.3.0 with transformers 4.49: logits by the length with its beginning, which counts as the hope, too."""


@dataclass
class _Picture:
    """A picture whose captions are looked for.

    Attributes:
        number: Its place in the answer.
        finished: The best finished captions, best first.
    """

    number: int
    finished: list[Caption]

    def add(self, tokens: list[int], score: float, most: int) -> None:
        """Take a caption in; of equal ones the earlier stays in front."""
        place = next((i for i, other in enumerate(self.finished) if other.score < score), len(self.finished))
        self.finished.insert(place, Caption(tuple(tokens), score))
        del self.finished[most:]


def beam_search(texts: GrowingTexts, words: Words, decoding: Decoding, rules: Rules) -> list[list[Caption]]:
    """The best captions of each picture that the beams find.

    At each step every beam offers its best next tokens. Among the best `beams` of all offers, those that end a text
    are finished captions; the best others become the beams. Pictures that are done leave the batch.

    Args:
        texts: Of B pictures, `decoding.beams` each.
        words: Beginning and end.
        decoding: Beams, lengths, penalties.
        rules: What is added up, and when a picture is done.

    Returns:
        Of each picture `n_best` captions, fewer where the vocabulary has no more.
    """
    logits = texts.begin(words.prompt)[:, None]  # (B, 1, V): all beams begin alike
    batch, begun, held = len(logits), len(words.prompt), max(rules.held(decoding), decoding.n_best)
    pictures = [_Picture(number, []) for number in range(batch)]
    answers: list[list[Caption]] = [[] for _ in range(batch)]
    written = words.prompt.new_empty(batch, 1, 0)
    sums = torch.zeros(batch, 1, device=logits.device)
    for tokens_so_far in range(decoding.max_length):
        offers = _best_offers(logits, sums, written, words, decoding, rules, end=tokens_so_far >= decoding.min_length)
        beams = _choose_beams(offers, words.eos_id, decoding.beams)
        _finish(pictures, offers, written, words.eos_id, decoding, rules, begun, held)
        written = torch.cat([_take(written, beams.parents), beams.tokens[..., None]], dim=2)
        sums, count = beams.sums, tokens_so_far + 1
        if count == decoding.max_length:
            break
        most = (offers.sums if rules.ended_hope else sums).amax(dim=1).tolist()
        hopes = [rules.hope(total, count, decoding, begun) for total in most]
        going = [
            row
            for row, (picture, hope) in enumerate(zip(pictures, hopes, strict=True))
            if len(picture.finished) < held or picture.finished[held - 1].score < hope
        ]
        parents, tokens = beams.parents, beams.tokens
        if len(going) < len(pictures):
            gone = set(range(len(pictures))).difference(going)
            for row in gone:
                answers[pictures[row].number] = pictures[row].finished[: decoding.n_best]
            if not going:
                return answers
            rows = torch.tensor(going, device=sums.device)
            texts.keep(rows)
            pictures = [pictures[row] for row in going]
            parents, tokens, sums, written = parents[rows], tokens[rows], sums[rows], written[rows]
        # One text stood for all beams so far: each goes on from its own place, which looks the same.
        logits = texts.extend(tokens, parents if tokens_so_far else None)
    _finish_all(pictures, sums, written, decoding, rules, begun, held)
    for picture in pictures:
        answers[picture.number] = picture.finished[: decoding.n_best]
    return answers


class _Offers(NamedTuple):
    """The best ways to go on, best first, (B, n) each.

    Attributes:
        sums: Scores with the next token, -inf where there is no such way.
        parents: The beam that goes on.
        tokens: The next token.
    """

    sums: Tensor
    parents: Tensor
    tokens: Tensor


def _best_offers(
    logits: Tensor, sums: Tensor, written: Tensor, words: Words, decoding: Decoding, rules: Rules, *, end: bool
) -> _Offers:
    """The best 2 * beams next tokens over all beams, so that beams are left if all others end."""
    logits = penalise_repetition(logits, words.prompt, written, decoding.repetition_penalty)
    if rules.log_probabilities:
        logits = logits.log_softmax(dim=-1)
    logits = forbid(logits, words.banned if end else (*words.banned, words.eos_id))
    wanted = 2 * decoding.beams
    values, tokens = best(logits, wanted)  # (B, K, n)
    totals = (values + sums[..., None]).flatten(1)
    sums, places = totals.topk(min(wanted, totals.shape[1]), dim=1)
    parents = places // values.shape[-1]
    return _Offers(sums, parents, tokens.flatten(1).gather(1, places))


def _choose_beams(offers: _Offers, eos_id: int, beams: int) -> _Offers:
    """The best offers that do not end a text; where there are too few, places without hope."""
    sums = offers.sums.masked_fill(offers.tokens == eos_id, -torch.inf)
    order = (sums == -torch.inf).int().argsort(dim=1, stable=True)[:, :beams]
    chosen = _Offers(sums.gather(1, order), offers.parents.gather(1, order), offers.tokens.gather(1, order))
    missing = beams - order.shape[1]
    if missing <= 0:
        return chosen
    hopeless = chosen.sums.new_full((len(order), missing), -torch.inf)
    nothing = order.new_zeros(len(order), missing)
    return _Offers(*(torch.cat([had, new], 1) for had, new in zip(chosen, (hopeless, nothing, nothing), strict=True)))


def _finish(
    pictures: list[_Picture],
    offers: _Offers,
    written: Tensor,
    eos_id: int,
    decoding: Decoding,
    rules: Rules,
    begun: int,
    held: int,
) -> None:
    """Take in the texts that end among the best offers."""
    ends = (offers.tokens[:, : decoding.beams] == eos_id) & offers.sums[:, : decoding.beams].isfinite()
    for row, rank in ends.nonzero().tolist():
        tokens = written[row, int(offers.parents[row, rank])].tolist()
        score = rules.rank(float(offers.sums[row, rank]), len(tokens) + 1, decoding, begun)
        pictures[row].add(tokens, score, held)


def _finish_all(
    pictures: list[_Picture],
    sums: Tensor,
    written: Tensor,
    decoding: Decoding,
    rules: Rules,
    begun: int,
    held: int,
) -> None:
    """Take in the texts that were cut at their longest."""
    for picture, totals, rows in zip(pictures, sums.tolist(), written.tolist(), strict=True):
        for total, tokens in zip(totals, rows, strict=True):
            if math.isfinite(total):
                picture.add(tokens, rules.rank(total, len(tokens), decoding, begun), held)


def _take(written: Tensor, parents: Tensor) -> Tensor:
    """(B, K, T) in the order of the parents."""
    return written.gather(1, parents[..., None].expand(-1, -1, written.shape[2]))
