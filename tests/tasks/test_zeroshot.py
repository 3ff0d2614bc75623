from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from coca_cli.datasets.example import Example, Prompts
from coca_cli.errors import CocaError
from coca_cli.tasks.embedding import embed_pixels, embed_texts
from coca_cli.tasks.features import Features
from coca_cli.tasks.zeroshot import build_classifier, class_logits, evaluate, write_prompts
from tests.tasks.tiny import tiny_placed

PROMPTS = Prompts(("cat", "dog", "big {fox}"), ("a {c}.", "{c} and {c}"))


def test_prompts_are_written_class_by_class() -> None:
    assert write_prompts(PROMPTS) == [
        "a cat.",
        "cat and cat",
        "a dog.",
        "dog and dog",
        "a big {fox}.",
        "big {fox} and big {fox}",
    ]


def test_a_class_is_the_renormalised_mean_of_its_normalised_prompts() -> None:
    placed = tiny_placed()
    found = build_classifier(placed, PROMPTS)
    assert found.shape == (3, 128)
    assert found.dtype == torch.float32
    for row, name in zip(found, PROMPTS.class_names, strict=True):
        prompts = embed_texts(placed, [f"a {name}.", f"{name} and {name}"])
        torch.testing.assert_close(row, F.normalize(prompts.mean(dim=0), dim=0), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    assert torch.pdist(found).min() > 0.01


def test_logits_are_100_times_the_cosine() -> None:
    images = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    classes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    torch.testing.assert_close(class_logits(images, classes), torch.tensor([[100.0, 0, -100], [60, 80, -60]]))


def embedded(labels: Sequence[int | None], size: int) -> list[Features]:
    pixels = torch.randint(0, 256, (len(labels), 3, 16, 16), generator=torch.Generator().manual_seed(1))
    examples = [Example(f"picture {i}", (Path("none"),), label) for i, label in enumerate(labels)]
    groups = [slice(start, start + size) for start in range(0, len(labels), size)]
    images = embed_pixels(tiny_placed(), pixels.to(torch.uint8))
    return [Features(examples[group], images[group]) for group in groups]


def classifier_of(n: int) -> torch.Tensor:
    return F.normalize(torch.randn(n, 128, generator=torch.Generator().manual_seed(2)), dim=1)


def test_every_picture_gets_its_nearest_classes() -> None:
    classifier = classifier_of(7)
    (all_at_once,) = embedded([0, 3, 6, 2, 2, 1], size=6)
    outcome = evaluate(classifier, [all_at_once])
    logits = 100 * all_at_once.features @ classifier.T
    assert outcome.ids == [f"picture {i}" for i in range(6)]
    assert outcome.labels.tolist() == [0, 3, 6, 2, 2, 1]
    assert torch.equal(outcome.ranking.classes, logits.argsort(dim=1, descending=True)[:, :5])
    torch.testing.assert_close(outcome.ranking.scores, logits.sort(dim=1, descending=True).values[:, :5])
    assert outcome.scores["top-1"].value == pytest.approx(
        (logits.argmax(dim=1) == outcome.labels).float().mean().item()
    )
    assert list(outcome.scores) == ["top-1", "top-5", "mean per-class recall"]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_size_of_batches_moves_nothing(size: int) -> None:
    classifier, labels = classifier_of(7), [0, 3, 6, 2, 2, 1]
    whole = evaluate(classifier, embedded(labels, 6))
    parts = evaluate(classifier, embedded(labels, size))
    assert parts.ids == whole.ids
    assert torch.equal(parts.ranking.classes, whole.ranking.classes)
    assert parts.scores == whole.scores


@pytest.mark.parametrize("label", [3, -1, None])
def test_a_label_without_a_class_is_refused(label: int | None) -> None:
    message = f"example picture 1 has the class number {label}, but there are 3 class names, counted from 0; where"
    with pytest.raises(CocaError, match=message):
        evaluate(classifier_of(3), embedded([0, label], 2))


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(CocaError, match="nothing to score: no labelled picture was found"):
        evaluate(classifier_of(3), [])
