from __future__ import annotations

import dataclasses
import json
import re

import pytest

from coca_cli.errors import BadCheckpoint, CocaError
from coca_cli.model.architectures import architectures
from coca_cli.model.config import PAPER_PRESETS, CoCaConfig, tiny_config
from tests.model.small_models import BUILDS, small_config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["vision.heads=3"], "vision width 32 is not a multiple of its 3 heads"),
        (["pooler.heads=5"], "pooler width 32 is not a multiple of its 5 heads"),
        (["text.heads=7"], "text width 32 is not a multiple of its 7 heads"),
        (["image.size=7"], "image size 7 is below the patch size 8"),
        (["pooler.wiring=shared", "pooler.queries=1"], "a shared pooler needs at least 2 queries"),
        (["pooler.wiring=shared", "pooler.queries=0"], "a shared pooler needs at least 2 queries"),
        (["embed_dim=64"], "without a projection pooler width, text width and embed_dim must be equal"),
        (["pooler.width=64"], "without a projection pooler width, text width and embed_dim must be equal"),
        (["text.pad_id=50"], "padding id 50 is not among 50 words"),
        (["text.cls_tokens=0"], "text.cls_tokens must be a whole number from 1 up, not 0"),
        (["text.unimodal_layers=0"], "text.unimodal_layers must be a whole number from 1 up, not 0"),
        (["text.context=1"], "text.context must be a whole number from 2 up, not 1"),
        (["text.pad_id=-1"], "text.pad_id must be a whole number from 0 up, not -1"),
        (["pooler.queries=-1"], "pooler.queries must be a whole number from 0 up, not -1"),
        (["vision.heads=0"], "vision.heads must be a whole number from 1 up, not 0"),
        (["vision.patch_size=0"], "vision.patch_size must be a whole number from 1 up, not 0"),
        (["vision.layers=2.5"], "vision.layers must be a whole number from 1 up, not 2.5"),
        (["vision.width=wide"], "vision.width must be a whole number from 1 up, not 'wide'"),
        (["embed_dim=true"], "embed_dim must be a whole number from 1 up, not True"),
        (["image.size=null"], "image.size must be a whole number from 1 up, not None"),
        (["vision.cls_token=yes"], "vision.cls_token must be true or false, not 'yes'"),
        (["projection=1"], "projection must be true or false, not 1"),
        (["pooler.wiring=serial"], "pooler.wiring must be cascade or parallel or shared, not 'serial'"),
        (["text.cls_mask=old"], "text.cls_mask must be correct or legacy, not 'old'"),
        (["image.interpolation=nearest"], "image.interpolation must be bicubic or bilinear, not 'nearest'"),
        (["vision.stem=none"], "vision.stem must be patches or convolutions, not 'none'"),
        (["vision.stem=convolutions", "vision.patch_size=6"], "a power of two and a width that can be halved as often"),
        (["temperature=0"], "temperature must be above 0, not 0"),
        (["temperature=warm"], "temperature must be above 0, not 'warm'"),
    ],
)
def test_impossible_configurations_are_refused(changes: list[str], message: str) -> None:
    with pytest.raises(BadCheckpoint, match=f"impossible model configuration: .*{re.escape(message)}"):
        small_config(*changes)


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(BadCheckpoint) as caught:
        small_config("vision.heads=3", "text.heads=7", "image.size=7")
    assert str(caught.value).count(";") == 2


def test_changes_set_single_numbers_and_nothing_else() -> None:
    before = small_config()
    after = before.with_changes(
        ["vision.patch_size=12", "pooler.wiring=parallel", "temperature=0.1", "image.mean=[0, 0.5, 1]"]
    )
    assert (after.vision.patch_size, after.pooler.wiring, after.temperature) == (12, "parallel", 0.1)
    assert after.image.mean == (0, 0.5, 1)
    undone = after.with_changes(
        ["vision.patch_size=8", "pooler.wiring=cascade", "temperature=0.07", f"image.mean={list(before.image.mean)}"]
    )
    assert undone == before
    assert before.with_changes([]) == before


def test_a_later_change_of_the_same_number_wins() -> None:
    assert small_config("text.context=12", "text.context=14").text.context == 14


@pytest.mark.parametrize(
    "change", ["vision.size=3", "patch_size=3", "vision=3", "vision.width", "", "=3", "vision.width.x=3", "a.b.c=1"]
)
def test_a_change_that_names_nothing_lists_the_keys(change: str) -> None:
    with pytest.raises(CocaError, match=r"expected KEY=VALUE with one of the keys .*vision\.patch_size") as caught:
        small_config(change)
    message = str(caught.value)
    assert message.startswith(f"--set {change}: ")
    assert "embed_dim" in message
    assert "embed_dim." not in message


@pytest.mark.parametrize("name", sorted(architectures()))
def test_every_architecture_survives_json(name: str) -> None:
    config = architectures()[name]
    assert CoCaConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("build", BUILDS)
def test_every_build_survives_json(build: str) -> None:
    config = small_config(*BUILDS[build])
    again = CoCaConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert isinstance(again.image.mean, tuple)
    assert hash(again) == hash(config)


def without(part: str, name: str) -> dict[str, object]:
    data = small_config().to_dict()
    del (data[part] if part else data)[name]
    return data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, "no field 'image'"),
        (without("", "text"), "no field 'text'"),
        (without("", "embed_dim"), "missing 1 required keyword-only argument: 'embed_dim'"),
        (without("vision", "width"), "missing 1 required keyword-only argument: 'width'"),
        (small_config().to_dict() | {"dropout": 0.1}, "unexpected keyword argument 'dropout'"),
        (small_config().to_dict() | {"vision": {"depth": 3}}, "unexpected keyword argument 'depth'"),
        (small_config().to_dict() | {"vision": 3}, "must be a mapping, not int"),
        (small_config().to_dict() | {"image": [224]}, "has no attribute 'items'"),
    ],
)
def test_a_configuration_of_another_version_is_refused(data: dict[str, object], reason: str) -> None:
    with pytest.raises(BadCheckpoint, match="does not fit this version of coca") as caught:
        CoCaConfig.from_dict(data)
    assert reason in str(caught.value)


def test_another_image_size_changes_the_size_alone() -> None:
    config = small_config()
    larger = config.with_image_size(48)
    assert larger.image.size == 48
    assert larger.with_image_size(24) == config
    with pytest.raises(BadCheckpoint, match="image size 4 is below the patch size 8"):
        config.with_image_size(4)


def test_configurations_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        small_config().embed_dim = 5  # type: ignore[misc]


def test_tiny_is_about_two_million_parameters_and_fits_its_tokenizer() -> None:
    config = tiny_config(vocab_size=1234, image_size=32, context=20)
    assert (config.text.vocab_size, config.image.size, config.text.context) == (1234, 32, 20)
    assert PAPER_PRESETS["coca_tiny"] == tiny_config(vocab_size=4_000)
