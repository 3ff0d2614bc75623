"""Image-text retrieval: at which place each picture finds its captions, and each caption its picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from coca_cli.errors import CocaError
from coca_cli.tasks.intervals import Estimate, wilson

RECALL_AT = (1, 5, 10)
BLOCK = 1024
"""Pictures, and texts, whose scores are computed at once: memory is bounded by its square."""
PAIRS = 4096
"""Pairs whose scores are summed exactly at once."""


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
    own = torch.empty(len(texts))
    for part in _parts(len(texts)):  # filled in place: small results between large temporaries would scatter the heap
        own[part] = _pair_scores(images, texts, owner[part], torch.arange(part.start, part.stop))
    best = torch.full((len(images),), -torch.inf).scatter_reduce_(0, owner, own, "amax")
    doubt = 1.01 * images.shape[1] * 2.0**-24 * _longest(images) * _longest(texts)  # how far sums in fp32 may be off
    before_caption = torch.zeros(len(images), dtype=torch.int64)
    before_image = torch.zeros(len(texts), dtype=torch.int64)
    for rows, columns in _blocks(len(images), len(texts), block):
        scores = images[rows] @ texts[columns].T
        first, last = (int(end) for end in owner[columns].aminmax())
        if first < rows.stop and last >= rows.start:
            scores.masked_fill_(owner[columns] == torch.arange(rows.start, rows.stop)[:, None], -torch.inf)
        before_caption[rows] += _count_before(scores, best[rows, None], doubt, 1, images, texts, rows, columns)
        before_image[columns] += _count_before(scores, own[columns], doubt, 0, images, texts, rows, columns)
    return Ranks(before_caption + 1, before_image + 1)


def _count_before(
    scores: Tensor, own: Tensor, doubt: float, axis: int, images: Tensor, texts: Tensor, rows: slice, columns: slice
) -> Tensor:
    """How many scores of a block are equal or higher than the own ones, along an axis; those in doubt summed anew.

    Args:
        scores: (r, c) summed in fp32.
        own: (r, 1) or (c,) exact.
        doubt: How far sums in fp32 may be off.
        axis: 0 counts in columns, 1 in rows.
        images: (n, D).
        texts: (m, D).
        rows: The block's pictures.
        columns: The block's texts.
    """
    higher = scores > own + doubt
    counts = higher.sum(dim=axis)
    near = (scores >= own - doubt) ^ higher
    found = near.nonzero()
    for part in _parts(len(found)):
        row, column = found[part].T
        exact = _pair_scores(images, texts, row + rows.start, column + columns.start)
        place, compared = (row, own.flatten()[row]) if axis else (column, own[column])
        counts.index_add_(0, place, (exact >= compared).long())
    return counts


def folded_ranks(images: Tensor, texts: Tensor, owner: Tensor, folds: int, block: int = BLOCK) -> Ranks:
    """The places within folds: the pictures in so many consecutive parts of equal size, each searched by itself.

    Args:
        images: (n, D) fp32, unit length; n a multiple of the folds.
        texts: (m, D) fp32, unit length, in the order of their pictures.
        owner: (m,) int64, the picture of each text.
        folds: How many parts; 1 searches all.
        block: As in `retrieval_ranks`.

    Raises:
        CocaError: The pictures cannot be parted so.
    """
    if len(images) % folds:
        raise CocaError(
            f"{len(images):,} pictures cannot be parted into {folds} folds of equal size: some are missing or left out "
            "by --limit; choose another --protocol"
        )
    size = len(images) // folds
    found = []
    for fold in range(folds):
        inside = (owner >= fold * size) & (owner < (fold + 1) * size)
        found.append(
            retrieval_ranks(images[fold * size : (fold + 1) * size], texts[inside], owner[inside] - fold * size, block)
        )
    return Ranks(
        torch.cat([ranks.image_to_text for ranks in found]), torch.cat([ranks.text_to_image for ranks in found])
    )


def retrieval_scores(ranks: Ranks, noun: str = "image") -> dict[str, Estimate]:
    """Recall at 1, 5 and 10 both ways, in [0, 1] with 95 % intervals.

    Recall@k is, as in the papers on CLIP, the part of the pictures with at least one of their captions among the first
    k, and the part of the captions with their picture among the first k.

    Args:
        ranks: From `retrieval_ranks` or `folded_ranks`.
        noun: What the pictures are called: image or video.
    """
    return {
        f"{name} recall@{k}": wilson(int((found <= k).sum()), len(found))
        for name, found in ranks_by_name(ranks, noun).items()
        for k in RECALL_AT
    }


def rank_statistics(ranks: Ranks, noun: str = "image") -> dict[str, float]:
    """Median and mean rank both ways; of an even number of ranks the median is the mean of the middle two."""
    statistics = {}
    for name, found in ranks_by_name(ranks, noun).items():
        statistics[f"{name} median rank"] = float(found.double().median() if len(found) % 2 else _middle(found))
        statistics[f"{name} mean rank"] = float(found.double().mean())
    return statistics


def _middle(found: Tensor) -> float:
    half = found.sort().values[len(found) // 2 - 1 : len(found) // 2 + 1]
    return float(half.double().mean())


def ranks_by_name(ranks: Ranks, noun: str) -> dict[str, Tensor]:
    """The places of both ways, as metrics name these: of pictures looking for texts, of texts looking for pictures."""
    return {f"{noun}-to-text": ranks.image_to_text, f"text-to-{noun}": ranks.text_to_image}


def _blocks(n: int, m: int, block: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, n, block):
        for left in range(0, m, block):
            yield slice(top, min(top + block, n)), slice(left, min(left + block, m))


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, min(start + PAIRS, count)) for start in range(0, count, PAIRS))


def _longest(rows: Tensor) -> float:
    return max(float(rows[part].norm(dim=1).max()) for part in _parts(len(rows)))


def _pair_scores(images: Tensor, texts: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(k,) fp32 scores of k pairs. A sum in fp32 depends on the block that it is in, so that one of two equal captions
    would come first by chance; summed in fp64 and then rounded it does not.
    """
    exact: Tensor = torch.linalg.vecdot(images[rows].double(), texts[columns].double())
    return exact.float()
