"""Heads on one vector per example: logistic regression and nearest neighbours, both scikit-learn's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from coca_cli.options import HeadChoice

STRENGTHS = tuple(float(10**power) for power in np.arange(-3, 6.5, 1.0))
"""scikit-learn's C, the inverse of the L2 penalty; embeddings of unit length want large ones."""
FINER = (10**-0.5, 10**0.5)
"""What the best is multiplied by for a second look."""
NEIGHBOURS = (1, 3, 5, 10, 20, 50, 100, 200)
ITERATIONS = 1000
"""Of L-BFGS, as for CLIP's linear probes (arXiv 2103.00020, appendix A.3)."""


class VectorHead(NamedTuple):
    """A fitted head.

    Attributes:
        chosen: The strength C, or the number of neighbours.
        tried: Every value, with its accuracy on the validation examples.
        scores: (n, C) of the examples to score: log-probabilities, -inf for classes that no training example has.
    """

    chosen: float
    tried: dict[float, float]
    scores: Tensor


class Vectors(NamedTuple):
    """Features with their classes.

    Attributes:
        features: (n, D).
        labels: (n,).
    """

    features: Tensor
    labels: Tensor


def fit_vector_head(
    head: HeadChoice, train: Vectors, val: Vectors, test: Tensor, n_classes: int, seed: int
) -> VectorHead:
    """Fit with several strengths or numbers of neighbours, and score with the one that is best on `val`.

    Args:
        head: linear or knn.
        train: What is fitted.
        val: What the strength is chosen on; among equals the stronger penalty, or more neighbours.
        test: (n, D) features to score.
        n_classes: C.
        seed: Of the solver.
    """
    tried: dict[float, float] = {}
    fitted: dict[float, Any] = {}

    def attempt(values: Sequence[float]) -> None:
        for value in values:
            if value not in tried:
                fitted[value] = _fit(head, value, train, seed)
                right = fitted[value].predict(val.features.numpy()) == val.labels.numpy()
                tried[value] = float(right.mean())

    if head is HeadChoice.linear:
        attempt(STRENGTHS)
        attempt([_best(tried, head) * factor for factor in FINER])
    else:
        attempt([k for k in NEIGHBOURS if k <= len(train.labels)])
    chosen = _best(tried, head)
    return VectorHead(chosen, tried, _scores(fitted[chosen], test, n_classes))


def _best(tried: dict[float, float], head: HeadChoice) -> float:
    order = sorted(tried, reverse=head is HeadChoice.knn)
    return max(order, key=lambda value: tried[value])


def _fit(head: HeadChoice, value: float, train: Vectors, seed: int) -> Any:
    if head is HeadChoice.linear:
        model: Any = LogisticRegression(C=value, max_iter=ITERATIONS, random_state=seed)
    else:
        model = KNeighborsClassifier(int(value), weights="distance", metric="cosine")
    return model.fit(train.features.numpy(), train.labels.numpy())


def _scores(model: Any, test: Tensor, n_classes: int) -> Tensor:
    found: NDArray[Any] = model.predict_proba(test.numpy())
    scores = torch.full((len(test), n_classes), -torch.inf)
    scores[:, torch.from_numpy(model.classes_)] = torch.from_numpy(found).float().clamp_min(1e-30).log()
    return scores
