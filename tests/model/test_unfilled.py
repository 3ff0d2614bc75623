"""Models without values: the same names and shapes, nothing drawn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from coca_cli.model.coca import CoCa
from coca_cli.model.open_clip_weights import to_open_clip
from coca_cli.model.unfilled import without_values
from tests.model.small_models import BUILDS, small_coca, small_config


@pytest.mark.parametrize("build", BUILDS)
def test_names_and_shapes_are_the_models(build: str) -> None:
    with without_values():
        empty = CoCa(small_config(*BUILDS[build]))
    expected = {name: value.shape for name, value in small_coca(*BUILDS[build]).named_parameters()}
    assert {name: value.shape for name, value in empty.named_parameters()} == expected
    assert all(value.is_meta for value in empty.parameters())


@pytest.mark.parametrize("changes", [(), ("vision.width=48",)])
def test_joined_weights_have_their_shapes(changes: tuple[str, ...]) -> None:
    config = small_config(*BUILDS["open_clip"], *changes)
    with without_values():
        empty = to_open_clip(CoCa(config).state_dict(), config)
    filled = to_open_clip(CoCa(config).state_dict(), config)
    assert {name: value.shape for name, value in empty.items()} == {name: v.shape for name, v in filled.items()}
    assert all(value.is_meta for value in empty.values())


def test_joining_along_another_dimension_is_torchs() -> None:
    with without_values():
        parts = [torch.empty(2, 3), torch.empty(2, 5)]
        assert torch.cat(parts, dim=1).shape == (2, 8)
        assert torch.cat(parts, 1).shape == (2, 8)


def test_no_random_numbers_are_used_up() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with without_values():
        for layer in (nn.Linear(3, 4), nn.Conv2d(3, 4, 2), nn.Embedding(5, 2)):
            assert all(value.is_meta for value in layer.parameters())
    assert torch.equal(torch.rand(3), expected)
