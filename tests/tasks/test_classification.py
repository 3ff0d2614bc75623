from __future__ import annotations

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from coca_cli.tasks.classification import classification_scores, rank_classes
from coca_cli.tasks.intervals import wilson

# Four examples of six classes: right, second best, worst of all, right.
LOGITS = torch.tensor(
    [
        [9.0, 1.0, 0.0, -1.0, -2.0, -3.0],
        [0.0, 7.0, 1.0, 2.0, 3.0, 8.0],
        [5.0, 4.0, -9.0, 3.0, 2.0, 1.0],
        [6.0, 5.0, 4.0, 3.0, 2.0, 1.0],
    ]
)
LABELS = torch.tensor([0, 1, 2, 0])


def test_classes_are_ranked_best_first() -> None:
    ranking = rank_classes(LOGITS)
    assert ranking.classes.tolist() == [[0, 1, 2, 3, 4], [5, 1, 4, 3, 2], [0, 1, 3, 4, 5], [0, 1, 2, 3, 4]]
    assert ranking.scores[1].tolist() == [8.0, 7.0, 3.0, 2.0, 1.0]


def test_no_more_classes_are_ranked_than_there_are() -> None:
    assert rank_classes(LOGITS[:, :3]).classes.shape == (4, 3)
    assert rank_classes(LOGITS, k=2).classes.tolist() == [[0, 1], [5, 1], [0, 1], [0, 1]]


def test_scores_that_can_be_checked_by_eye() -> None:
    scores = classification_scores(rank_classes(LOGITS), LABELS, 6)
    assert list(scores) == ["top-1", "top-5", "mean per-class recall"]
    assert scores["top-1"] == wilson(2, 4)
    assert scores["top-5"] == wilson(3, 4)
    assert scores["mean per-class recall"].value == pytest.approx((2 / 2 + 0 / 1 + 0 / 1) / 3)
    for estimate in scores.values():
        assert 0.0 <= estimate.low < estimate.value < estimate.high <= 1.0


def test_all_right_and_all_wrong() -> None:
    identity = torch.eye(6)
    right = classification_scores(rank_classes(identity), torch.arange(6), 6)
    assert {estimate.value for estimate in right.values()} == {1.0}
    wrong = classification_scores(rank_classes(-identity), torch.arange(6), 6)
    assert {estimate.value for estimate in wrong.values()} == {0.0}


@pytest.mark.parametrize(("classes", "metrics"), [(2, 2), (4, 2), (5, 3), (6, 3)])
def test_below_five_classes_there_is_no_top_5(classes: int, metrics: int) -> None:
    scores = classification_scores(rank_classes(torch.eye(classes)), torch.arange(classes), classes)
    assert len(scores) == metrics
    assert ("top-5" in scores) == (classes >= 5)


def test_a_top_5_of_five_classes_is_always_right() -> None:
    scores = classification_scores(rank_classes(LOGITS[:, :5]), LABELS, 5)
    assert scores["top-5"].value == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_mean_per_class_recall_equals_scikit_learn(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 12, (200,), generator=random)
    logits = torch.randn(200, 12, generator=random)
    logits[torch.arange(200), labels] += labels / 6  # classes of different difficulty
    scores = classification_scores(rank_classes(logits), labels, 12)
    expected = balanced_accuracy_score(labels.numpy(), logits.argmax(dim=1).numpy())
    assert scores["mean per-class recall"].value == pytest.approx(expected, abs=1e-12)
    assert scores["mean per-class recall"].value != pytest.approx(scores["top-1"].value, abs=1e-4)


def test_classes_without_examples_are_left_out_as_scikit_learn_does() -> None:
    labels = torch.tensor([1, 1, 1, 4, 9, 9])
    logits = torch.eye(10)[torch.tensor([1, 1, 0, 4, 2, 9])]
    scores = classification_scores(rank_classes(logits), labels, 10)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = balanced_accuracy_score(labels.numpy(), logits.argmax(dim=1).numpy())
    assert scores["mean per-class recall"].value == pytest.approx(expected, abs=1e-12)
    assert scores["mean per-class recall"].value == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
