"""Products while training: the same from either library."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coca_cli.model import products
from coca_cli.model.products import product
from coca_cli.model.recomputed import gelu_linear, norm_linear


@pytest.mark.parametrize("least", [0, products.LARGE])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_a_linear_layer(least: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LARGE", least)
    torch.manual_seed(0)
    x, weight, bias = torch.randn(3, 7, 40).to(dtype), torch.randn(24, 40).to(dtype), torch.randn(24).to(dtype)
    turned = torch.randn(40, 24).to(dtype).T
    with torch.no_grad():
        torch.testing.assert_close(product(x, weight, bias), F.linear(x, weight, bias))
        torch.testing.assert_close(product(x, weight), F.linear(x, weight))
        torch.testing.assert_close(
            product(x.flatten(0, 1).T, weight[:, :21]), F.linear(x.flatten(0, 1).T, weight[:, :21])
        )
        torch.testing.assert_close(product(x, turned, bias), F.linear(x, turned, bias))


def test_gradients_are_those_of_plain_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LARGE", 0)
    torch.manual_seed(0)
    norm, into, back = nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 32)
    x = torch.randn(5, 6, 32, requires_grad=True)
    wanted = torch.autograd.grad(
        back(F.gelu(into(norm(x)))).square().sum(), [x, *into.parameters(), *back.parameters()]
    )
    found = torch.autograd.grad(
        gelu_linear(norm_linear(x, norm, into), back).square().sum(), [x, *into.parameters(), *back.parameters()]
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_without_the_operation_products_are_the_usual_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> torch.Tensor:
        raise AttributeError("no such operation")

    monkeypatch.setattr(products, "LARGE", 0)
    monkeypatch.setattr(products, "onednn_linear", missing)
    products._has_onednn.cache_clear()
    try:
        x, weight = torch.randn(4, 8), torch.randn(3, 8)
        assert torch.equal(product(x, weight), F.linear(x, weight))
    finally:
        products._has_onednn.cache_clear()
