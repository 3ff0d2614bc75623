from __future__ import annotations

import pytest
import torch

from coca_cli.errors import BadCheckpoint
from coca_cli.model.coca import CoCa
from coca_cli.model.config import CoCaConfig, tiny_config
from coca_cli.model.open_clip_config import describe_for_open_clip
from coca_cli.model.vision import ConvolutionalStem

CONVOLUTIONAL = ("vision.stem=convolutional", "vision.layers=1")


@pytest.mark.parametrize("patch_size", [2, 4, 8, 16])
def test_the_grid_is_that_of_the_patches(patch_size: int) -> None:
    stem = ConvolutionalStem(64, patch_size)
    assert stem(torch.randn(2, 3, 32, 32)).shape == (2, 64, 32 // patch_size, 32 // patch_size)


def test_a_model_with_the_stem_has_the_shapes_of_one_without() -> None:
    plain = CoCa(tiny_config(100, image_size=32).with_changes(["vision.layers=1"])).eval()
    model = CoCa(tiny_config(100, image_size=32).with_changes(CONVOLUTIONAL)).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        shapes = [[part.shape for part in m.encode_image(images)] for m in (plain, model)]
        first, other = model.embed_image(images)
    assert shapes[0] == shapes[1]
    assert not torch.allclose(first, other, atol=1e-2)
    assert CoCaConfig.from_dict(model.config.to_dict()) == model.config


def test_tokens_begin_at_the_size_of_those_of_patches() -> None:
    torch.manual_seed(0)
    spreads = [
        CoCa(tiny_config(100).with_changes(changes)).image.vit.patches(torch.randn(8, 3, 64, 64)).std().item()
        for changes in (["vision.layers=1"], CONVOLUTIONAL)
    ]
    assert 0.3 < spreads[1] / spreads[0] < 3


@pytest.mark.parametrize("change", ["vision.patch_size=12", "vision.patch_size=1", "vision.width=36"])
def test_sizes_that_cannot_be_halved_are_refused(change: str) -> None:
    changes = [*CONVOLUTIONAL, "vision.patch_size=16", "vision.heads=4", change]
    with pytest.raises(BadCheckpoint, match=r"a convolutional stem needs a patch size of 2, 4, 8 \.\.\. and a width"):
        tiny_config(100, image_size=48).with_changes(changes)


def test_another_kind_of_stem_is_refused() -> None:
    with pytest.raises(BadCheckpoint, match="vision.stem must be patch or convolutional, not 'conv'"):
        tiny_config(100).with_changes(["vision.stem=conv"])


def test_open_clip_cannot_build_it() -> None:
    with pytest.raises(BadCheckpoint, match="a convolutional stem"):
        describe_for_open_clip(tiny_config(100).with_changes(CONVOLUTIONAL), clip_tokenizer=True)
