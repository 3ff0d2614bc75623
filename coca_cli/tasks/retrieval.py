"""Image-text retrieval: the rank at which each picture finds one of its texts, and each text its picture."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from coca_cli.tasks.intervals import Estimate, wilson

BLOCK = 1024
"""Queries that are compared with everything at one time; the whole matrix never stands."""
CUTOFFS = (1, 5, 10)


class Ranks(NamedTuple):
    """The place of the first right answer among all, 1 for the best; a wrong answer with an equal score comes before it.

    Attributes:
        image_to_text: (n,) per picture, of the best of its own texts.
        text_to_image: (m,) per text, of its picture.
    """

    image_to_text: Tensor
    text_to_image: Tensor


def retrieval_ranks(images: Tensor, texts: Tensor, owner: Tensor, block: int = BLOCK) -> Ranks:
    """Exact ranks, block by block.

    A pair's own score is taken from the product that it is compared with: another order of summation could make a score
    beat itself.

    Args:
        images: (n, D) unit embeddings.
        texts: (m, D) unit embeddings.
        owner: (m,) the picture of each text; every picture has at least one.
        block: Queries at one time.
    """
    by_image, by_text = [], []
    for start in range(0, len(images), block):
        scores = images[start : start + block] @ texts.T  # (block, m)
        own = owner == torch.arange(start, start + len(scores))[:, None]
        best = scores.masked_fill(~own, -torch.inf).amax(dim=1, keepdim=True)
        by_image.append(1 + ((scores >= best) & ~own).sum(dim=1))
    for start in range(0, len(texts), block):
        scores = texts[start : start + block] @ images.T  # (block, n)
        own = scores.gather(1, owner[start : start + block, None])
        by_text.append((scores >= own).sum(dim=1))  # the own picture is one of them
    return Ranks(torch.cat(by_image), torch.cat(by_text))


def retrieval_scores(ranks: Ranks) -> dict[str, Estimate]:
    """Recall at 1, 5 and 10 both ways: the part of the queries whose first right answer is among so many.

    Args:
        ranks: From `retrieval_ranks`.
    """
    return {
        f"{name.replace('_', '-')} recall@{k}": wilson(int((found <= k).sum()), len(found))
        for name, found in ranks._asdict().items()
        for k in CUTOFFS
    }
