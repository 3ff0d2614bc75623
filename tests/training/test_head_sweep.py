"""Heads trained side by side: each as it would be alone, the same on two processes, the best one chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from coca_cli.datasets.example import Example
from coca_cli.errors import CocaError
from coca_cli.model.task_head import TaskHead
from coca_cli.options import OptimizerChoice
from coca_cli.progress import Reporter
from coca_cli.training.head_sweep import (
    HeadBatch,
    HeadRecipe,
    HeadScore,
    Setting,
    best_head,
    head_logits,
    score_heads,
    train_heads,
)
from coca_cli.training.mixture import mix_task

QUIET = Reporter(quiet=True)
RECIPE = HeadRecipe(steps=30, batch_size=8, ema=0.9, label_smoothing=0.1, warmup=0.1)
SETTINGS = (Setting(0.003, 0.0), Setting(0.01, 0.05), Setting(0.03, 0.0))


class Odd:
    """Tokens of which one, anywhere, says the class."""

    def __init__(self, n: int = 60, seed: int = 0) -> None:
        random = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, 3, (n,), generator=random)
        self.examples = [Example(str(number), (), int(label)) for number, label in enumerate(self.labels)]
        self.tokens = torch.randn(n, 6, 12, generator=random)
        places = torch.randint(0, 6, (n,), generator=random)
        self.tokens[torch.arange(n), places] = 4 * torch.eye(12)[self.labels] + 4 * torch.eye(12)[11]

    def batches(self, recipe: HeadRecipe) -> Iterator[HeadBatch]:
        mixture = mix_task("odd", self.examples, recipe.seed)
        while True:
            rows = [row.feed.index(row.number) for row in mixture.next_batch(recipe.batch_size)]
            yield HeadBatch(self.take(rows), self.labels[torch.tensor(rows)])

    def take(self, rows: Sequence[int]) -> Tensor:
        return self.tokens[torch.tensor(rows)]


def build() -> TaskHead:
    return TaskHead(12, 2, 3, norm_inputs=True)


def train(odd: Odd, settings: Sequence[Setting] = SETTINGS, recipe: HeadRecipe = RECIPE) -> list[TaskHead]:
    return train_heads(build, settings, odd.batches(recipe), recipe, QUIET)


def assert_same(one: TaskHead, other: TaskHead, tolerance: float = 1e-5) -> None:
    for (name, a), (_, b) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance, msg=name)


@pytest.mark.parametrize("optimizer", [OptimizerChoice.adafactor, OptimizerChoice.adamw])
def test_each_head_is_as_if_it_were_alone(optimizer: OptimizerChoice) -> None:
    odd, recipe = Odd(), replace(RECIPE, optimizer=optimizer)
    together = train(odd, recipe=recipe)
    for setting, head in zip(SETTINGS, together, strict=True):
        (alone,) = train(odd, [setting], recipe)
        assert_same(head, alone, 2e-4)


def test_a_head_learns_where_to_look() -> None:
    odd, unseen = Odd(300), Odd(200, seed=1)
    heads = train(odd, recipe=replace(RECIPE, steps=250, batch_size=32))
    scores = score_heads(head_logits(heads, unseen.take, 200), unseen.labels)
    assert scores[best_head(scores)].accuracy > 0.95


def test_the_average_is_what_is_given() -> None:
    odd = Odd()
    (averaged,), (last,) = (train(odd, SETTINGS[:1], replace(RECIPE, ema=ema)) for ema in (0.9, 0.0))
    assert any(not torch.equal(a, b) for a, b in zip(averaged.parameters(), last.parameters(), strict=True))
    (again,) = train(odd, SETTINGS[:1])
    assert_same(averaged, again, 0.0)


def test_scores_do_not_depend_on_the_number_of_examples_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Odd()
    heads = train(odd)
    whole = head_logits(heads, odd.take, 60)
    assert whole.shape == (3, 60, 3)
    monkeypatch.setattr("coca_cli.training.head_sweep.ROWS", 7)
    torch.testing.assert_close(head_logits(heads, odd.take, 60), whole, atol=1e-5, rtol=1e-5)


def test_the_most_accurate_head_and_then_the_least_loss() -> None:
    assert best_head([HeadScore(0.5, 0.1), HeadScore(0.6, 0.9), HeadScore(0.6, 0.8)]) == 2
    logits = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [0.0, 1.0]]])
    scores = score_heads(logits, torch.tensor([0, 1]))
    assert [score.accuracy for score in scores] == [1.0, 0.5]
    assert scores[0].loss == pytest.approx((torch.tensor([2.0, 1.0]).neg().exp().log1p()).mean().item())


def test_a_loss_that_is_no_number() -> None:
    odd = Odd()
    odd.tokens[3] = torch.nan
    with pytest.raises(CocaError, match=r"the head with the learning rate 0\.003 has no finite loss at step"):
        train(odd)
