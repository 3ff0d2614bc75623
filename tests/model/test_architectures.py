from __future__ import annotations

import math

import open_clip
import pytest
import torch

from coca_cli.errors import UnknownName
from coca_cli.model.architectures import architectures, new_model_config
from coca_cli.model.coca import CoCa
from coca_cli.model.config import PAPER_PRESETS


def meta_model(name: str) -> CoCa:
    with torch.device("meta"):
        return CoCa(architectures()[name])


def millions(model: torch.nn.Module, part: str = "") -> float:
    return sum(value.numel() for name, value in model.named_parameters() if name.startswith(part)) / 1e6


@pytest.mark.parametrize(
    ("name", "encoder", "decoder", "total"),
    [("coca_base", 86.0, 296.8, 382.8), ("coca_large", 303.6, 483.9, 787.4), ("coca_2b", 1011.7, 1180, 2192)],
)
def test_presets_have_the_papers_parameters(name: str, encoder: float, decoder: float, total: float) -> None:
    """Table 1 counts without poolers; its third model is printed as 1B + 1.1B = 2.1B."""
    model = meta_model(name)
    digits = 1 if total < 1000 else 0
    poolers = millions(model, "image.generative") + millions(model, "image.contrastive")
    assert poolers > 1
    assert round(millions(model, "image.vit"), 1) == encoder
    assert round(millions(model, "text") + millions(model, "decoder"), digits) == decoder
    assert round(millions(model) - poolers, digits) == total


@pytest.mark.parametrize(("name", "total"), [("coca_ViT-B-32", 253.56), ("coca_ViT-L-14", 638.45)])
def test_open_clips_architectures_have_its_parameters(name: str, total: float) -> None:
    """As its table of model profiles lists them."""
    assert round(millions(meta_model(name)), 2) == total


@pytest.mark.parametrize("name", ["coca_base", "coca_large", "coca_2b"])
def test_presets_are_built_as_the_paper_says(name: str) -> None:
    config = PAPER_PRESETS[name]
    assert (config.image.size, config.vision.patch_size, config.text.vocab_size) == (288, 18, 64_000)
    assert (config.pooler.wiring, config.pooler.queries, config.text.cls_tokens) == ("cascade", 256, 1)
    assert (config.temperature, config.projection, config.text.cls_mask) == (0.07, False, "correct")
    with torch.device("meta"):
        model = CoCa(config)
    assert model.image.vit.grid**2 == 256
    assert model.image.contrastive is not None
    assert model.image.contrastive.queries.shape == (1, config.pooler.width)


def test_temperature_starts_where_the_paper_starts() -> None:
    model = CoCa(PAPER_PRESETS["coca_tiny"])
    assert 1 / model.logit_scale.item() == pytest.approx(0.07)
    with torch.no_grad():
        model.log_scale.fill_(math.log(1e6))
    assert model.logit_scale.item() == 100


def test_known_are_the_presets_and_the_open_clip_cocas_with_poolers() -> None:
    assert set(architectures()) == {*PAPER_PRESETS, "coca_ViT-B-32", "coca_ViT-L-14"}
    assert "coca_roberta-ViT-B-32" in open_clip.list_models()  # left out: a text tower of another kind


def test_the_papers_base_comes_before_open_clips_model_of_that_name() -> None:
    assert open_clip.get_model_config("coca_base") is not None
    assert architectures()["coca_base"] == PAPER_PRESETS["coca_base"]


def test_new_models_always_get_the_correct_mask() -> None:
    assert architectures()["coca_ViT-B-32"].text.cls_mask == "legacy"
    for name in architectures():
        assert new_model_config(name).text.cls_mask == "correct"


@pytest.mark.parametrize(
    ("name", "near"),
    [("coca_bas", "Did you mean coca_base"), ("coca_vit-b-32", "Did you mean coca_ViT-B-32"), ("gpt", "Known: coca_")],
)
def test_an_unknown_architecture_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownName, match=f"unknown architecture '{name}'") as caught:
        new_model_config(name)
    assert near in str(caught.value)
