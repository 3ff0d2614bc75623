"""Zero-shot classification: prompts -> class embeddings -> the nearest class of each picture.

Source: the protocol of CLIP, which the paper follows (section 4.2.2): every class name in every template, the mean of
the normalised prompt embeddings, normalised again; logits are 100 times the cosine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from coca_cli.datasets.example import Example, Prompts
from coca_cli.errors import CocaError
from coca_cli.model.baselines import unit_length
from coca_cli.model.placement import Placed
from coca_cli.tasks.classification import Ranking, classification_scores, rank_classes
from coca_cli.tasks.embedding import embed_texts
from coca_cli.tasks.features import Features
from coca_cli.tasks.intervals import Estimate

ROWS = 1024
"""Pictures that are compared with all classes at once."""


class ZeroShot(NamedTuple):
    """The outcome on a split.

    Attributes:
        ids: The n examples that were scored.
        labels: (n,) true classes.
        ranking: The best five classes of each.
        scores: top-1, top-5, mean per-class recall.
    """

    ids: list[str]
    labels: Tensor
    ranking: Ranking
    scores: dict[str, Estimate]


def write_prompts(prompts: Prompts) -> list[str]:
    """All prompts, class by class: (classes x templates) texts."""
    return [template.replace("{c}", name) for name in prompts.class_names for template in prompts.templates]


def build_classifier(
    placed: Placed, prompts: Prompts, track: Callable[[list[Tensor]], Iterable[Tensor]] = iter
) -> Tensor:
    """One unit embedding per class.

    Args:
        placed: The model.
        prompts: Class names and templates.
        track: Passes the batches of prompts on, to show progress.

    Returns:
        (classes, D) fp32.
    """
    embedded = embed_texts(placed, write_prompts(prompts), track)
    per_class = embedded.view(len(prompts.class_names), len(prompts.templates), -1)
    return unit_length(per_class.mean(dim=1))


def class_logits(images: Tensor, classifier: Tensor) -> Tensor:
    """100 times the cosine of each picture with each class.

    Args:
        images: (B, D) unit embeddings.
        classifier: (classes, D) unit embeddings.

    Returns:
        (B, classes).
    """
    return 100.0 * images @ classifier.T


def check_labels(examples: Iterable[Example], n_classes: int) -> None:
    """See that every example has a class.

    Raises:
        CocaError: A label has no class name.
    """
    for example in examples:
        if example.label is None or not 0 <= example.label < n_classes:
            raise CocaError(
                f"example {example.id} has the class number {example.label}, but there are {n_classes} class names, "
                "counted from 0; where --classnames is given it must name every class of the dataset, in its order"
            )


def evaluate(classifier: Tensor, embedded: Iterable[Features]) -> ZeroShot:
    """Classify every labelled picture.

    Args:
        classifier: (classes, D) from `build_classifier`.
        embedded: Examples with labels and their unit embeddings, in as many parts as one likes.

    Raises:
        CocaError: There is nothing to score, or a label has no class.
    """
    n_classes = len(classifier)
    ids: list[str] = []
    labels: list[int] = []
    rankings: list[Ranking] = []
    for examples, images in embedded:
        check_labels(examples, n_classes)
        ids += [example.id for example in examples]
        labels += [example.label for example in examples if example.label is not None]
        rankings += [rank_classes(class_logits(rows, classifier)) for rows in torch.split(images, ROWS) if len(rows)]
    if not ids:
        raise CocaError("nothing to score: no labelled picture was found; look at the split and at --limit")
    ranking = Ranking(torch.cat([r.classes for r in rankings]), torch.cat([r.scores for r in rankings]))
    truth = torch.tensor(labels)
    return ZeroShot(ids, truth, ranking, classification_scores(ranking, truth, n_classes))
