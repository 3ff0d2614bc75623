"""Clipped Adafactor moves weights as clipping and timm's Adafactor do one after the other."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from coca_cli.options import DecayChoice, OptimizerChoice
from coca_cli.training.clipped_adafactor import ClippedAdafactor
from coca_cli.training.optim import build_optimizer, clip_gradients, set_rates

STEPS = 40


def model() -> nn.Module:
    """Matrices with rows and columns to sum over, wide, high and square; small ones, vectors, a number."""
    torch.manual_seed(0)
    layers = nn.ModuleList([nn.Linear(48, 20), nn.Linear(20, 48), nn.Linear(32, 32), nn.Linear(64, 15)])
    layers.register_parameter("number", nn.Parameter(torch.tensor(0.3)))
    layers.register_parameter("query", nn.Parameter(torch.randn(1, 64)))
    return layers


def give_gradients(models: list[nn.Module], step: int) -> None:
    """The same ones to each model: some far above the norm that is allowed, some far below."""
    random = torch.Generator().manual_seed(step)
    for parameters in zip(*(one.parameters() for one in models), strict=True):
        gradient = torch.randn(parameters[0].shape, generator=random) * 10.0 ** (step % 5 - 3)
        for parameter in parameters:
            parameter.grad = gradient.clone()


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("largest", [1.0, 0.0])
def test_equal_to_clipping_and_then_adafactor(largest: float, decay: float) -> None:
    one = model()
    other = copy.deepcopy(one)
    wanted = build_optimizer(one, OptimizerChoice.adafactor, 0.003, decay)
    found = ClippedAdafactor(build_optimizer(other, OptimizerChoice.adafactor, 0.003, decay).param_groups, largest)
    for step in range(STEPS):
        give_gradients([one, other], step)
        for optimizer in (wanted, found):
            set_rates(optimizer, step, steps=STEPS, warmup=4, decay=DecayChoice.cosine)
        clip_gradients(one, largest)
        wanted.step()
        found.step()
        for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
            torch.testing.assert_close(b, a, atol=1e-6, rtol=0, msg=f"{name} after step {step + 1}")
    assert all(not torch.equal(a, b) for a, b in zip(model().parameters(), other.parameters(), strict=True))


def test_what_has_no_gradient_stays() -> None:
    one = model()
    before = copy.deepcopy(one)
    give_gradients([one], 0)
    one.query.grad = None
    ClippedAdafactor(build_optimizer(one, OptimizerChoice.adafactor, 0.01, 0.1).param_groups, 1.0).step()
    assert torch.equal(one.query, before.query)
    assert not torch.equal(one.number, before.number)


def test_a_gradient_of_zeros_moves_nothing() -> None:
    one = model()
    before = copy.deepcopy(one)
    for parameter in one.parameters():
        parameter.grad = torch.zeros_like(parameter)
    ClippedAdafactor(build_optimizer(one, OptimizerChoice.adafactor, 0.01, 0.0).param_groups, 1.0).step()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), before.parameters(), strict=True))
