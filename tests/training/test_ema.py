from __future__ import annotations

import pytest
import torch
from torch import nn

from coca_cli.training.ema import Ema


def numbers(*values: float) -> nn.ParameterDict:
    return nn.ParameterDict({"a": nn.Parameter(torch.tensor(values))})


def test_the_average_by_hand() -> None:
    model = numbers(1.0, -2.0)
    ema = Ema(model, 0.5)
    with torch.no_grad():
        model["a"].copy_(torch.tensor([3.0, 0.0]))
    ema.update(model, 1)  # early on 2 / 11 of the average stay
    torch.testing.assert_close(ema.weights["a"], torch.tensor([1 + 2 * 9 / 11, -2 + 2 * 9 / 11]))
    ema.update(model, 1000)  # then the part that was asked for
    torch.testing.assert_close(ema.weights["a"], torch.tensor([3 - 2 / 11, -2 / 11]))


@pytest.mark.parametrize(
    ("decay", "step", "stays"), [(0.99, 1, 2 / 11), (0.99, 40, 41 / 50), (0.99, 2000, 0.99), (0.1, 1, 0.1)]
)
def test_early_averages_are_short(decay: float, step: int, stays: float) -> None:
    model = numbers(0.0)
    ema = Ema(model, decay)
    with torch.no_grad():
        model["a"].fill_(1.0)
    ema.update(model, step)
    assert ema.weights["a"].item() == pytest.approx(1 - stays, abs=1e-6)


def test_weights_that_stand_still_are_their_own_average() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    ema = Ema(model, 0.9)
    for step in range(1, 20):
        ema.update(model, step)
    assert ema.weights.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ema.weights[name], parameter.detach())


def test_the_average_follows_late_and_is_no_view_of_the_model() -> None:
    model = numbers(0.0)
    ema = Ema(model, 0.9)
    seen = []
    for step in range(1, 200):
        with torch.no_grad():
            model["a"].fill_(float(step))
        ema.update(model, step)
        seen.append(step - ema.weights["a"].item())
    assert seen[-1] == pytest.approx(9.0, abs=0.1)  # 0.9 / (1 - 0.9) steps behind
    assert not ema.weights["a"].requires_grad


def test_frozen_weights_are_left_alone() -> None:
    model = nn.Linear(4, 3)
    model.weight.requires_grad_(False)
    before = model.weight.clone()
    ema = Ema(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(7.0)
        model.bias.fill_(7.0)
    ema.update(model, 500)
    assert torch.equal(ema.weights["weight"], before)
    assert (ema.weights["bias"] > 0.05).all()
