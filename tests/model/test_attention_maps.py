"""Where poolers look, against torch.nn.MultiheadAttention, which gives its weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from coca_cli.media.images import normalise
from coca_cli.model.attention_maps import attention_maps
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import Placed
from coca_cli.model.pooler import AttentionalPooler
from coca_cli.model.task_head import TaskHead
from tests.tasks.tiny import tiny_placed

PIXELS = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
CLIPS = torch.randint(0, 256, (2, 4, 3, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def reference(pooler: AttentionalPooler, context: Tensor) -> Tensor:
    """The weights (B, Q, N) of torch's own attention with the pooler's numbers."""
    attention = pooler.attention
    width = attention.q.out_features
    other = nn.MultiheadAttention(width, attention.heads, batch_first=True)
    with torch.no_grad():
        other.in_proj_weight.copy_(torch.cat([attention.q.weight, attention.kv.weight]))
        other.in_proj_bias.copy_(torch.cat([attention.q.bias, attention.kv.bias]))
        seen = pooler.norm_context(context)
        queries = pooler.norm_queries(pooler.queries).expand(len(context), -1, -1)
        _, weights = other(queries, seen, seen, need_weights=True)
    assert isinstance(weights, Tensor)
    return weights


def patches_of(placed: Placed, pixels: Tensor) -> tuple[CoCa, Tensor]:
    model = placed.model
    assert isinstance(model, CoCa)
    with torch.no_grad():
        return model, model.image.vit(normalise(pixels, placed.image))


@pytest.mark.parametrize("norms", ["pooler.norm_inputs=true", "pooler.norm_inputs=false"])
def test_a_cascade_multiplies_the_weights_of_both_poolers(norms: str) -> None:
    placed = tiny_placed(0, norms)
    model, patches = patches_of(placed, PIXELS)
    below, above = model.image.generative, model.image.contrastive
    assert below is not None
    assert above is not None
    with torch.no_grad():
        wanted = reference(above, below(patches)) @ reference(below, patches)
    torch.testing.assert_close(attention_maps(placed, PIXELS), wanted.view(3, 2, 2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "query"),
    [(["pooler.wiring=parallel"], 0), (["pooler.queries=0"], 0), (["pooler.wiring=shared"], 0)],
)
def test_other_wirings_look_at_patches_themselves(changes: list[str], query: int) -> None:
    placed = tiny_placed(0, *changes)
    model, patches = patches_of(placed, PIXELS)
    pooler = model.image.contrastive or model.image.generative
    assert pooler is not None
    wanted = reference(pooler, patches)[:, query]
    torch.testing.assert_close(attention_maps(placed, PIXELS), wanted.view(3, 2, 2), atol=1e-5, rtol=1e-5)


def test_the_encoders_own_token_has_no_place_on_a_map() -> None:
    placed = tiny_placed(0, "vision.cls_token=true", "pooler.wiring=parallel")
    model, patches = patches_of(placed, PIXELS)
    assert model.image.contrastive is not None
    weights = reference(model.image.contrastive, patches)[:, 0, 1:]
    wanted = (weights / weights.sum(dim=1, keepdim=True)).view(3, 2, 2)
    torch.testing.assert_close(attention_maps(placed, PIXELS), wanted, atol=1e-5, rtol=1e-5)


def test_a_head_looks_at_all_frames_of_a_clip_at_once() -> None:
    placed = tiny_placed()
    torch.manual_seed(3)
    head = TaskHead(128, 4, 5)
    with torch.no_grad():
        head.pooler.queries.mul_(3)
    _, patches = patches_of(placed, CLIPS.flatten(0, 1))
    wanted = reference(head.pooler, patches.view(2, 16, 128))[:, 0].view(2, 4, 2, 2)
    found = attention_maps(placed, CLIPS, head)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert found.flatten(1).std(dim=1).min() > 0  # it does not look everywhere alike


@pytest.mark.parametrize("wiring", ["cascade", "shared"])
def test_a_head_on_generative_tokens_is_followed_down_to_the_patches(wiring: str) -> None:
    placed = tiny_placed(0, f"pooler.wiring={wiring}")
    head = TaskHead(128, 4, 5)
    model, patches = patches_of(placed, PIXELS)
    assert model.image.generative is not None
    with torch.no_grad():
        tokens = model.image.pool(patches).tokens
        above = reference(head.pooler, tokens)
    wanted = (above @ reference(model.image.generative, patches)[:, -tokens.shape[1] :]).view(3, 2, 2)
    torch.testing.assert_close(attention_maps(placed, PIXELS, head, generative=True), wanted, atol=1e-5, rtol=1e-5)


def test_maps_of_positions_in_time_sum_to_one() -> None:
    found = attention_maps(tiny_placed(), CLIPS, TaskHead(128, 4, 5, frames=4))
    assert found.shape == (2, 4, 2, 2)
    torch.testing.assert_close(found.flatten(1).sum(dim=1), torch.ones(2))
