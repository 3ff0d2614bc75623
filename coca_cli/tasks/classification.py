"""Scores of a classifier from its logits; needs no model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.tasks.intervals import Estimate, mean_of_rates, wilson


class Ranking(NamedTuple):
    """The best classes of each example.

    Attributes:
        classes: (n, k) class indices, best first.
        scores: (n, k) their logits.
    """

    classes: Tensor
    scores: Tensor


def rank_classes(logits: Tensor, k: int = 5) -> Ranking:
    """The k best classes of each row, as torch.topk orders them (and so as CLIP_benchmark counts them).

    Args:
        logits: (n, classes).
        k: How many; fewer where there are fewer classes.
    """
    top = logits.topk(min(k, logits.shape[1]), dim=1, largest=True, sorted=True)
    return Ranking(top.indices, top.values)


def classification_scores(ranking: Ranking, labels: Tensor, n_classes: int) -> dict[str, Estimate]:
    """top-1, top-5 (where there are at least 5 classes) and mean per-class recall, in [0, 1] with 95 % intervals.

    Mean per-class recall is the mean over the classes that have examples, as scikit-learn's balanced accuracy.

    Args:
        ranking: (n, k) best classes.
        labels: (n,) true classes.
        n_classes: Number of classes.
    """
    hits = ranking.classes == labels[:, None]  # (n, k)
    n = len(labels)
    scores = {"top-1": wilson(int(hits[:, 0].sum()), n)}
    if n_classes >= 5:
        scores["top-5"] = wilson(int(hits[:, :5].any(dim=1).sum()), n)
    counts = _count(labels, n_classes)
    correct = _count(labels[hits[:, 0]], n_classes)
    scores["mean per-class recall"] = mean_of_rates(correct, counts)
    return scores


def _count(labels: Tensor, n_classes: int) -> NDArray[np.int64]:
    return torch.bincount(labels, minlength=n_classes).numpy().astype(np.int64)
