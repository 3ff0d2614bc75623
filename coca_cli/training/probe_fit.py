"""Frozen features -> a head, with settings that a validation set chooses; once, or for a few examples per class."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from scipy import stats

from coca_cli.datasets.held_out import draw_shots
from coca_cli.model.classifier_folder import ClassifierDescription
from coca_cli.model.task_head import TaskHead
from coca_cli.options import HeadChoice
from coca_cli.progress import Reporter
from coca_cli.tasks.intervals import Estimate
from coca_cli.tasks.recording import Score
from coca_cli.tasks.vector_heads import Vectors, fit_vector_head
from coca_cli.training.head_sweep import best_head, score_heads, train_heads
from coca_cli.training.probe_data import Answers, KeptTokens, ProbeData
from coca_cli.training.probe_request import ProbeRequest
from coca_cli.world import World, tell_all

VAL_SHOTS = 4
"""Of a few examples per class at most so many choose the settings (Zhou et al. 2022, "CoOp", arXiv 2109.01134)."""


class ProbeFeatures(NamedTuple):
    """What is trained on, chosen on and scored."""

    train: ProbeData
    val: ProbeData
    test: ProbeData


class Fitted(NamedTuple):
    """What a head says of the test examples, and how it was chosen.

    Attributes:
        answers: Of the test examples; empty on all processes but the first.
        chosen: What was tried with which validation accuracy, and what was chosen, for the run file.
        head: The weights of an attentional head.
    """

    answers: Answers
    chosen: dict[str, Any]
    head: TaskHead | None = None


class FewShots(NamedTuple):
    """Accuracies over several draws.

    Attributes:
        scores: Mean and deviation by metric.
        chosen: The accuracy of every draw, for the run file.
    """

    scores: dict[str, Score]
    chosen: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fitting:
    """How heads are fitted.

    Attributes:
        request: What the user asked.
        described: The head, where it is attentional.
        classes: C.
        reporter: Shows progress and what was chosen.
        world: The processes.
        device: Where.
    """

    request: ProbeRequest
    described: ClassifierDescription | None
    classes: int
    reporter: Reporter
    world: World
    device: torch.device

    def fit(self, features: ProbeFeatures, seed: int) -> Fitted:
        """Train with every setting, and score with the one that is best on the validation examples.

        Args:
            features: The three parts.
            seed: Of first weights and order.
        """
        return self._attentional(features, seed) if self.described else self._vectors(features, seed)

    def _attentional(self, features: ProbeFeatures, seed: int) -> Fitted:
        request, device = self.request, self.device
        assert self.described is not None
        train, val, test = features
        recipe = replace(request.recipe, seed=seed)
        if request.epochs is not None:
            recipe = replace(recipe, steps=max(1, round(request.epochs * len(train) / recipe.batch_size)))
        with closing(train.batches(recipe.batch_size, seed, self.world)) as batches:
            heads = train_heads(
                self.described.build, request.settings, batches, recipe, self.reporter, self.world, device
            )
        chosen, tried = 0, list[dict[str, float]]()
        said = val.answers(heads, self.world, device)
        if self.world.first:
            scores = score_heads(said.scores, said.labels)
            chosen = best_head(scores)
            tried = [
                {**setting._asdict(), "val top-1": 100 * score.accuracy, "val loss": score.loss}
                for setting, score in zip(request.settings, scores, strict=True)
            ]
            rate, decay = request.settings[chosen]
            words = f"learning rate {rate:g}, weight decay {decay:g}"
            self._tell(len(heads), len(said.examples), words, scores[chosen].accuracy)
        chosen = tell_all(chosen, self.world)
        answers = test.answers([heads[chosen]], self.world, device)
        found = {"tried": tried, "chosen": request.settings[chosen]._asdict(), "steps": recipe.steps}
        return Fitted(
            answers._replace(scores=answers.scores[0] if len(answers.scores) else answers.scores), found, heads[chosen]
        )

    def _vectors(self, features: ProbeFeatures, seed: int) -> Fitted:
        if not self.world.first:
            return Fitted(Answers([], torch.empty(0)), {})
        sets = [part.features for part in features if isinstance(part, KeptTokens)]
        train, val, test = (Vectors(part.take(range(len(part))), part.labels) for part in sets)
        found = fit_vector_head(self.request.head, train, val, test.features, self.classes, seed)
        noun = "strength C" if self.request.head is HeadChoice.linear else "neighbours"
        self._tell(len(found.tried), len(val.labels), f"{noun} {found.chosen:g}", found.tried[found.chosen])
        tried = [{noun: value, "val top-1": 100 * accuracy} for value, accuracy in found.tried.items()]
        return Fitted(Answers(sets[2].examples, found.scores), {"tried": tried, "chosen": {noun: found.chosen}})

    def _tell(self, tried: int, examples: int, chosen: str, accuracy: float) -> None:
        self.reporter.notice(
            f"chosen of {tried} on {examples:,} validation examples: {chosen}, top-1 {100 * accuracy:.2f}"
        )


def few_shots(fitting: Fitting, features: ProbeFeatures, shots: Sequence[int], draws: int) -> FewShots:
    """Accuracy with a few training examples per class: mean over draws, its 95 % interval, and standard deviation.

    Settings are chosen on at most four validation examples per class, and never more than the training has.

    Args:
        fitting: How.
        features: The three parts.
        shots: Training examples of each class.
        draws: How often they are drawn, each time with another seed.
    """
    scores: dict[str, Score] = {}
    found: dict[str, Any] = {}
    first = fitting.request.recipe.seed
    for count in shots:
        accuracies: list[float] = []
        for seed in range(first, first + draws):
            train = features.train.part(draw_shots(features.train.labels.tolist(), count, seed))
            val = features.val.part(draw_shots(features.val.labels.tolist(), min(count, VAL_SHOTS), seed))
            fitted = fitting.fit(ProbeFeatures(train, val, features.test), seed)
            if fitting.world.first:
                right = fitted.answers.scores.argmax(dim=1) == fitted.answers.labels
                accuracies.append(right.float().mean().item())
        if fitting.world.first:
            name = f"{count}-shot top-1"
            scores[name] = mean_of_draws(accuracies)
            if len(accuracies) > 1:
                scores[f"{name} standard deviation"] = 100 * statistics.stdev(accuracies)
            found[name] = [100 * accuracy for accuracy in accuracies]
    return FewShots(scores, found)


def mean_of_draws(values: Sequence[float]) -> Estimate:
    """The mean of a few values in [0, 1], with Student's 95 % interval; of one value there is no interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Estimate(mean, math.nan, math.nan)
    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half))
