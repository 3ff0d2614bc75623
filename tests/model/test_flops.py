"""Counts against formulas written out by hand; a multiplication and an addition are two operations."""

from __future__ import annotations

import resource
import sys

import pytest

from coca_cli.model.architectures import architectures
from coca_cli.model.coca import CoCa
from coca_cli.model.config import CoCaConfig
from coca_cli.model.flops import Cost, measure_cost
from tests.model.small_models import BUILDS, small_config


def self_attention(tokens: int, width: int) -> int:
    """Query, key, value and output projections; scores and mixture."""
    return 2 * 4 * tokens * width**2 + 2 * 2 * tokens**2 * width


def cross_attention(tokens: int, seen: int, width: int, seen_width: int) -> int:
    return 2 * 2 * tokens * width**2 + 2 * 2 * seen * seen_width * width + 2 * 2 * tokens * seen * width


def mlp(tokens: int, width: int, hidden: int) -> int:
    return 2 * 2 * tokens * width * hidden


def by_hand(config: CoCaConfig) -> tuple[int, int, int]:
    """Per picture, per caption, per text of a cascade without projection and without class tokens in the ViT."""
    vision, pooler, text = config.vision, config.pooler, config.text
    patches = (config.image.size // vision.patch_size) ** 2
    picture = 2 * patches * 3 * vision.patch_size**2 * vision.width
    picture += vision.layers * (self_attention(patches, vision.width) + mlp(patches, vision.width, vision.mlp_width))
    queries = cross_attention(pooler.queries, patches, pooler.width, vision.width)
    picture += queries + cross_attention(1, pooler.queries, pooler.width, pooler.width)
    n, width = text.context, text.width
    per_text = text.unimodal_layers * (
        self_attention(n + text.cls_tokens, width) + mlp(n + text.cls_tokens, width, text.mlp_width)
    )
    layer = self_attention(n, width) + cross_attention(n, pooler.queries, width, pooler.width)
    caption = text.multimodal_layers * (layer + mlp(n, width, text.mlp_width)) + 2 * n * width * text.vocab_size
    return picture, per_text + caption, per_text


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("pooler.queries=3", "text.context=17", "vision.layers=3", "text.multimodal_layers=1"),
        ("text.cls_tokens=3", "vision.mlp_width=80", "text.vocab_size=77"),
    ],
)
def test_operations_equal_the_formulas(changes: tuple[str, ...]) -> None:
    cost = measure_cost(small_config(*changes))
    assert (cost.per_picture, cost.per_caption, cost.per_text) == by_hand(small_config(*changes))


@pytest.mark.parametrize("build", BUILDS)
def test_parts_add_up_to_the_model(build: str) -> None:
    config = small_config(*BUILDS[build])
    cost = measure_cost(config)
    model = CoCa(config)
    assert sum(cost.parameters.values()) == sum(p.numel() for p in model.parameters())
    assert cost.per_picture > 0
    assert cost.per_caption > cost.per_text > 0


def test_poolers_are_counted_apart() -> None:
    assert measure_cost(small_config("pooler.queries=0")).parameters["poolers"] == sum(
        p.numel()
        for p in CoCa(small_config("pooler.queries=0")).image.contrastive.parameters()  # type: ignore[union-attr]
    )
    shared = measure_cost(small_config(*BUILDS["shared"])).parameters
    assert shared["poolers"] < measure_cost(small_config()).parameters["poolers"]
    assert shared["projections and temperature"] == 1
    assert measure_cost(small_config(*BUILDS["open_clip"])).parameters["projections and temperature"] == 32 * 32 + 1


def test_the_papers_base_costs_what_vit_base_costs() -> None:
    """ViT-B on 256 patches: 86M weights, each used once per patch, and attention on top."""
    cost: Cost = measure_cost(architectures()["coca_base"])
    encoder = 2 * 256 * cost.parameters["image encoder"]
    assert encoder < cost.per_picture < 1.2 * encoder


def test_counting_takes_no_memory() -> None:
    """The 2.2 billion weights would be 9 GB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cost = measure_cost(architectures()["coca_2b"])
    assert sum(cost.parameters.values()) > 2e9
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB on Linux, bytes on macOS
    assert grown < (1 << 20) * (1024 if sys.platform == "darwin" else 1)
