from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from coca_cli.model import stem as stem_module
from coca_cli.model.coca import CoCa
from coca_cli.model.products import LARGE, product
from coca_cli.model.stem import ConvolutionalStem, PatchStem, build_stem
from tests.model.small_models import small_config


@pytest.mark.parametrize("size", [(24, 24), (16, 32), (29, 25)])  # the last has a rest that no patch covers
@pytest.mark.parametrize("bias", [True, False])
def test_the_patches_are_a_convolution(size: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    stem, images = PatchStem(8, 12, bias=bias), torch.randn(2, 3, *size)
    expected = F.conv2d(images, stem.weight, stem.bias, stride=8).flatten(2).transpose(1, 2)
    torch.testing.assert_close(stem(images), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("autocast", [False, True])
def test_without_a_gradient_large_products_are_those_that_are_quicker(
    autocast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recorded(*arguments: torch.Tensor) -> torch.Tensor:
        asked.append(arguments)
        return product(*arguments)

    asked: list[tuple[torch.Tensor, ...]] = []
    monkeypatch.setattr(stem_module, "product", recorded)
    torch.manual_seed(0)
    stem, images = PatchStem(16, 768, bias=True), torch.randn(1, 3, 224, 224)
    assert images.numel() * 768 >= LARGE
    with torch.autocast("cpu", enabled=autocast):
        expected = stem(images)
        with torch.no_grad():
            found = stem(images)
    assert len(asked) == (0 if autocast else 1)
    assert found.dtype == (torch.bfloat16 if autocast else torch.float32)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_imagined_pictures_pass_the_stem() -> None:
    with torch.no_grad(), torch.device("meta"):
        assert PatchStem(8, 12, bias=True)(torch.empty(2, 3, 24, 24)).shape == (2, 9, 12)


def test_convolutions_end_on_the_grid_of_the_patches() -> None:
    stem = build_stem("convolutions", 8, 32, bias=True)
    assert isinstance(stem, ConvolutionalStem)
    assert [c.weight.shape[0] for c in stem.convolutions] == [8, 16, 32]  # type: ignore[union-attr]
    assert stem(torch.randn(2, 3, 24, 24)).shape == (2, 9, 32)


def test_a_token_of_convolutions_sees_its_own_patch_and_what_is_beside_it() -> None:
    torch.manual_seed(0)
    stem, images = ConvolutionalStem(8, 32), torch.randn(1, 3, 32, 32).requires_grad_()
    stem(images)[0, 5].sum().backward()  # the second of the second row
    assert images.grad is not None
    seen = images.grad[0].abs().sum(dim=0).nonzero()
    assert (seen.min(dim=0).values.tolist(), seen.max(dim=0).values.tolist()) == ([1, 1], [15, 15])


def test_a_model_with_convolutions_learns_all_their_weights() -> None:
    model = CoCa(small_config("vision.stem=convolutions"))
    model.encode_image(torch.randn(2, 3, 24, 24)).embedding.square().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if name.startswith("image.vit.patches")}
    assert len(gradients) == 3 * 2 + 4
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients.values())
