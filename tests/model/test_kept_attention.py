"""Keys and values that are kept: what is looked at is what the usual attention sees."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from coca_cli.model import kept_attention
from coca_cli.model.kept_attention import LEAST_ROOM, Bags, Kept

HEADS, WIDTH = 3, 8
TOLERANCES = {torch.float32: 1e-6, torch.bfloat16: 2e-2}


def some(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def usual(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """(B, R, H, C) and (B, S, H, C) -> (B, R, H, C), by PyTorch's own attention in fp32."""
    parts = (part.transpose(1, 2).float() for part in (q, keys, values))
    seen = None if mask is None else mask.transpose(1, 2).float()
    return F.scaled_dot_product_attention(*parts, attn_mask=seen).transpose(1, 2)


@pytest.fixture(params=["as bags", "by the usual kernel"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "as bags":
        monkeypatch.setattr(kept_attention, "PROCESSORS", ())
    return str(request.param)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("queries", [1, 4])
def test_pictures_are_looked_at_as_usual(way: str, queries: int, dtype: torch.dtype) -> None:
    keys, values = (some(5, 23, HEADS, WIDTH, seed=seed, dtype=dtype) for seed in (0, 1))
    q = some(5, queries, HEADS, WIDTH, seed=2, dtype=dtype)
    kept = Kept(keys, values, 23, Bags())
    assert kept.as_bags == (way == "as bags" and kept_attention.platform.machine() in ("x86_64", "AMD64"))
    tolerance = TOLERANCES[dtype]
    torch.testing.assert_close(kept.mix(q).float(), usual(q, keys, values), atol=tolerance, rtol=tolerance)


def test_places_are_added_and_none_is_seen_before_it_is_written(way: str) -> None:
    batch, texts, steps = 4, 3, 12
    keys, values = (some(batch, texts * steps, HEADS, WIDTH, seed=seed) for seed in (3, 4))
    kept, rooms = Kept(keys[:, :0], values[:, :0], texts * steps, Bags()), []
    for step in range(steps):
        end = (step + 1) * texts
        kept.append(keys[:, end - texts : end], values[:, end - texts : end])
        kept.values[:, :, end:] = torch.nan
        (kept.keys[..., end:] if kept.as_bags else kept.keys[:, :, end:]).fill_(torch.nan)
        q = some(batch, texts, HEADS, WIDTH, seed=5 + step)
        hidden = some(batch, texts, 1, end, seed=50 + step) > 0.5
        hidden[..., 0] = False
        mask = torch.zeros(hidden.shape).masked_fill(hidden, -torch.inf)
        expected = usual(q, keys[:, :end], values[:, :end], mask)
        torch.testing.assert_close(kept.mix(q, mask), expected, atol=1e-6, rtol=1e-6)
        rooms.append(kept.values.shape[2])
    assert sorted(set(rooms)) == [LEAST_ROOM, 30, 36], "twice the places that are full, and no more than the limit"


def test_sequences_leave(way: str) -> None:
    keys, values = (some(6, 9, HEADS, WIDTH, seed=seed) for seed in (6, 7))
    kept, rows = Kept(keys, values, 20, Bags()), torch.tensor([4, 1])
    kept.keep(rows)
    more = some(2, 1, HEADS, WIDTH, seed=8)
    kept.append(more, more)
    q = some(2, 2, HEADS, WIDTH, seed=9)
    expected = usual(q, *(torch.cat([part[rows], more], dim=1) for part in (keys, values)))
    torch.testing.assert_close(kept.mix(q), expected, atol=1e-6, rtol=1e-6)


def test_the_layers_of_a_step_share_their_row_numbers() -> None:
    bags = Bags()
    layers = [Kept(*(some(2, 5, HEADS, WIDTH, seed=seed) for seed in (layer, 9)), 5, bags) for layer in range(4)]
    outcomes = [layer.mix(some(2, 1, HEADS, WIDTH, seed=1)) for layer in layers if layer.as_bags]
    assert len({str(outcome) for outcome in outcomes}) == len(outcomes)
    assert bags.of.cache_info().misses == (2 if outcomes else 0), "once for keys, once for values"
