"""The linear probe against CLIP_benchmark's and scikit-learn's on the same features."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.utils.data import DataLoader

from coca_cli.options import HeadChoice
from coca_cli.tasks.vector_heads import Vectors, fit_vector_head

POINTS = 0.5
EPOCHS, RATE, BATCH = 40, 0.1, 64
DECAYS = [0.0, 1e-4, 1e-3, 1e-2, 1e-1]


class Sets(NamedTuple):
    """Unit vectors with classes."""

    train: Vectors
    val: Vectors
    test: Vectors


@pytest.fixture(scope="module")
def handwriting() -> Sets:
    """A layer of random weights on scikit-learn's digits; 900, 200 and the other 697."""
    digits = load_digits()
    random = torch.Generator().manual_seed(0)
    pixels = torch.from_numpy(digits.data).float() / 16
    features = F.normalize(torch.relu(pixels @ torch.randn(64, 128, generator=random) - 0.5), dim=-1)
    order = torch.randperm(len(features), generator=random)
    labels = torch.from_numpy(digits.target)
    cuts = (order[:900], order[900:1100], order[1100:])
    return Sets(*(Vectors(features[rows], labels[rows]) for rows in cuts))


def our_accuracy(sets: Sets) -> float:
    found = fit_vector_head(HeadChoice.linear, sets.train, sets.val, sets.test.features, 10, 0)
    return accuracy(found.scores, sets.test.labels)


def accuracy(scores: Tensor, labels: Tensor) -> float:
    return 100 * (scores.argmax(dim=1) == labels).float().mean().item()


def test_it_is_scikit_learns(handwriting: Sets) -> None:
    train, val, test = handwriting
    found = fit_vector_head(HeadChoice.linear, train, val, test.features, 10, 0)

    def theirs(strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=5000).fit(train.features.numpy(), train.labels.numpy())

    def score(model: LogisticRegression, part: Vectors) -> float:
        return 100 * float(model.score(part.features.numpy(), part.labels.numpy()))

    # several strengths may be equally good on the validation examples: ours has to be one of these
    best = max(score(theirs(strength), val) for strength in torch.logspace(-2, 4, 13).tolist())
    chosen = theirs(float(str(found.chosen)))
    assert score(chosen, val) >= best
    assert accuracy(found.scores, test.labels) == pytest.approx(score(chosen, test), abs=POINTS)


@pytest.mark.peer
def test_it_is_clip_benchmarks(handwriting: Sets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Theirs is AdamW on a linear layer, its weight decay chosen on the validation examples; it asks for a GPU."""
    peer = pytest.importorskip("clip_benchmark.metrics.linear_probe")
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    monkeypatch.setattr(torch.nn, "DataParallel", lambda model, device_ids: model)

    def loader(part: Vectors, *, shuffle: bool = False) -> Any:
        return DataLoader(peer.FeatureDataset(part.features, part.labels), BATCH, shuffle=shuffle)

    def theirs(decay: float, part: Vectors) -> float:
        shape = (part.features.shape[1], 10)
        model = peer.train(loader(handwriting.train, shuffle=True), *shape, decay, RATE, EPOCHS, False, "cpu", 0)
        return accuracy(*peer.infer(model, loader(part), False, "cpu"))

    # as their find_peak does, whose own accuracy fails with numpy 2.4
    best = max(DECAYS, key=lambda decay: theirs(decay, handwriting.val))
    assert our_accuracy(handwriting) == pytest.approx(theirs(best, handwriting.test), abs=POINTS)
