"""Image-text retrieval: at which place each picture finds its captions, and each caption its picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from coca_cli.tasks.intervals import Estimate, wilson

RECALL_AT = (1, 5, 10)
BLOCK = 1024
"""Pictures, and texts, whose scores are computed at once: memory is bounded by its square."""


class Ranks(NamedTuple):
    """Places from 1, the best, on.

    Attributes:
        image_to_text: (n,) for each picture the place of its best own caption among all captions.
        text_to_image: (m,) for each caption the place of its picture among all pictures.
    """

    image_to_text: Tensor
    text_to_image: Tensor


def retrieval_ranks(images: Tensor, texts: Tensor, owner: Tensor, block: int = BLOCK) -> Ranks:
    """The exact places, without the whole matrix of scores.

    A place is one more than the number of foreign scores that are equal or higher: a tie counts against the model, so
    one that embeds everything alike gets nothing. A picture's other captions never stand in its way.

    Args:
        images: (n, D) fp32, unit length.
        texts: (m, D) fp32, unit length.
        owner: (m,) int64, the picture of each text, from 0 to n - 1; every picture has at least one text.
        block: How many pictures and texts meet at once; it changes memory and speed alone.
    """
    best = torch.full((len(images),), -torch.inf)
    own = torch.full((len(texts),), -torch.inf)
    for rows, columns in _blocks(len(images), len(texts), block):
        mine = owner[columns] == torch.arange(rows.start, rows.stop)[:, None]  # (rows, columns)
        if mine.any():
            scores = _scores(images[rows], texts[columns]).where(mine, -torch.inf)
            best[rows] = torch.maximum(best[rows], scores.amax(dim=1))
            own[columns] = torch.maximum(own[columns], scores.amax(dim=0))
    before_caption = torch.zeros(len(images), dtype=torch.int64)
    before_image = torch.zeros(len(texts), dtype=torch.int64)
    for rows, columns in _blocks(len(images), len(texts), block):
        mine = owner[columns] == torch.arange(rows.start, rows.stop)[:, None]
        scores = _scores(images[rows], texts[columns]).masked_fill(mine, -torch.inf)
        before_caption[rows] += (scores >= best[rows, None]).sum(dim=1)
        before_image[columns] += (scores >= own[columns]).sum(dim=0)
    return Ranks(before_caption + 1, before_image + 1)


def retrieval_scores(ranks: Ranks) -> dict[str, Estimate]:
    """Recall at 1, 5 and 10 both ways, in [0, 1] with 95 % intervals.

    Recall@k is, as in the papers on CLIP, the part of the pictures with at least one of their captions among the first
    k, and the part of the captions with their picture among the first k.
    """
    return {
        f"{name} recall@{k}": wilson(int((found <= k).sum()), len(found))
        for name, found in _by_name(ranks).items()
        for k in RECALL_AT
    }


def rank_statistics(ranks: Ranks) -> dict[str, float]:
    """Median and mean rank both ways; of an even number of ranks the median is the mean of the middle two."""
    statistics = {}
    for name, found in _by_name(ranks).items():
        statistics[f"{name} median rank"] = float(found.double().quantile(0.5))
        statistics[f"{name} mean rank"] = float(found.double().mean())
    return statistics


def _by_name(ranks: Ranks) -> dict[str, Tensor]:
    return {"image-to-text": ranks.image_to_text, "text-to-image": ranks.text_to_image}


def _blocks(n: int, m: int, block: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, n, block):
        for left in range(0, m, block):
            yield slice(top, min(top + block, n)), slice(left, min(left + block, m))


def _scores(images: Tensor, texts: Tensor) -> Tensor:
    """(rows, columns) fp32. A sum in fp32 depends on the block that it is in, so that one of two equal captions would
    come first by chance; summed in fp64 and then rounded it does not.
    """
    return (images.double() @ texts.double().T).float()
