"""Greedy decoding and sampling: every text goes its own way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from coca_cli.model.decoding_terms import Caption, Decoding, GrowingTexts, Words
from coca_cli.model.logits import forbid, keep_top_k, keep_top_p, penalise_repetition
from coca_cli.options import DecodingMethod


def sample(texts: GrowingTexts, words: Words, decoding: Decoding, keys: Sequence[int]) -> list[list[Caption]]:
    """Write `n_best` captions of each picture, token by token.

    Args:
        texts: Of B pictures, `n_best` each.
        words: Beginning and end.
        decoding: Greedy or sampling, lengths, penalties, seed.
        keys: (B,) numbers that belong to the pictures; with the seed they decide the samples.

    Returns:
        Of each picture its captions, the most probable first.
    """
    logits = texts.begin(words.prompt)[:, None].expand(-1, decoding.n_best, -1)  # (B, K, V)
    device, batch = logits.device, len(logits)
    draws = None if decoding.method is DecodingMethod.greedy else _draws(decoding, keys).to(device)  # (B, K, T)
    written = words.prompt.new_empty(batch, decoding.n_best, 0)
    scores = torch.zeros(batch, decoding.n_best, device=device)
    ended = torch.zeros(batch, decoding.n_best, dtype=torch.bool, device=device)
    numbers = torch.arange(batch, device=device)
    answers: list[list[Caption]] = [[] for _ in range(batch)]
    for step in range(decoding.max_length):
        logits = penalise_repetition(logits, words.prompt, written, decoding.repetition_penalty)
        normaliser = logits.logsumexp(-1)
        never = words.banned if step >= decoding.min_length else (*words.banned, words.eos_id)
        logits = forbid(logits.clone(), never)
        tokens = logits.argmax(-1) if draws is None else _draw(logits, decoding, draws[:, :, step])
        gained = logits.gather(2, tokens[..., None])[..., 0] - normaliser
        tokens = tokens.masked_fill(ended, words.eos_id)
        scores = scores + gained.masked_fill(ended, 0)
        ended = ended | (tokens == words.eos_id)
        written = torch.cat([written, tokens[..., None]], dim=2)
        whole = ended.all(dim=1) if step + 1 < decoding.max_length else torch.ones_like(ended[:, 0])
        if whole.any():
            for number, rows, sums in zip(
                numbers[whole].tolist(), written[whole].tolist(), scores[whole].tolist(), strict=True
            ):
                answers[number] = _ranked(rows, sums, words.eos_id)
            rows = (~whole).nonzero()[:, 0]
            if not len(rows):
                break
            texts.keep(rows)
            numbers, written, scores, ended, tokens = (part[rows] for part in (numbers, written, scores, ended, tokens))
            draws = None if draws is None else draws[rows]
        logits = texts.extend(tokens)
    return answers


def _draws(decoding: Decoding, keys: Sequence[int]) -> Tensor:
    """(B, K, T) fp64 numbers from [0, 1) that depend on the seed and the picture's key alone."""
    shape = decoding.n_best, decoding.max_length
    rows = [np.random.default_rng([decoding.seed, key]).random(shape) for key in keys]
    return torch.from_numpy(np.stack(rows))


def _draw(logits: Tensor, decoding: Decoding, draws: Tensor) -> Tensor:
    """(B, K, V) and numbers (B, K) -> tokens (B, K)."""
    logits = keep_top_p(keep_top_k(logits / decoding.temperature, decoding.top_k), decoding.top_p)
    reached = logits.softmax(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    wanted = draws[..., None] * reached[..., -1:]  # the sum is not exactly 1
    found = torch.searchsorted(reached, wanted, right=True)[..., 0]
    return found.clamp(max=logits.shape[-1] - 1)


def _ranked(rows: Sequence[Sequence[int]], scores: Sequence[float], eos_id: int) -> list[Caption]:
    captions = [
        Caption(tuple(row[: row.index(eos_id)] if eos_id in row else row), score)
        for row, score in zip(rows, scores, strict=True)
    ]
    return sorted(captions, key=lambda caption: -caption.score)
