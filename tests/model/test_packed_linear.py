"""Packed linear layers give what plain ones give, and are left out where they cannot."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coca_cli.model import packed_linear
from coca_cli.model.coca import CoCa
from coca_cli.model.decoding import write_captions
from coca_cli.model.decoding_cache import DecodingCache
from coca_cli.model.decoding_terms import Decoding
from coca_cli.model.packed_linear import PackedLinear, can_pack, pack_linears
from coca_cli.model.tokenizer import ClipTokenizer
from tests.model.uncached import Uncached
from tests.parity.open_clip_models import narrow_l14, random_pair

FORMATS = pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])


def packed(linear: nn.Linear) -> PackedLinear:
    if not can_pack(linear.weight.dtype):
        pytest.skip("this PyTorch packs no weights on this processor")
    return PackedLinear(linear)


@FORMATS
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 96), (7, 96), (3, 50, 96), (0, 96), (2000, 96)])
def test_it_gives_what_a_linear_layer_gives(
    dtype: torch.dtype, allowed: float, bias: bool, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(96, 80, bias=bias).to(dtype)
    x = torch.randn(shape).to(dtype)
    with torch.inference_mode():
        torch.testing.assert_close(packed(linear)(x), linear(x), atol=allowed, rtol=0)
        torch.testing.assert_close(packed(linear)(x, "gelu"), F.gelu(linear(x)), atol=allowed, rtol=0)


@FORMATS
@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_the_gelu_is_the_same_by_whichever_library(
    dtype: torch.dtype, allowed: float, capability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(96, 80).to(dtype)
    x = torch.randn(7, 96).to(dtype)
    calls: list[str] = []
    product = packed_linear.onednn_linear

    def told(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, activation: str = "none") -> torch.Tensor:
        calls.append(activation)
        return product(x, weight, bias, activation)

    layer = packed(linear)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(packed_linear, "onednn_linear", told)
    monkeypatch.setattr(packed_linear, "_fuses_gelu", packed_linear._fuses_gelu.__wrapped__)  # not what it kept
    with torch.inference_mode():
        torch.testing.assert_close(layer(x, "gelu"), F.gelu(linear(x)), atol=allowed, rtol=0)
        assert calls == ["none" if (capability, dtype) == ("AVX2", torch.float32) else "gelu"]


def test_it_takes_parts_of_larger_tensors() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(32, 16)
    x = torch.randn(4, 10, 64)
    with torch.inference_mode():
        torch.testing.assert_close(packed(linear)(x[:, 2:5, 32:]), linear(x[:, 2:5, 32:]), atol=1e-5, rtol=0)


def test_a_packed_model_is_the_same_model() -> None:
    plain = random_pair(narrow_l14(correct_mask=True))[1].eval()
    model = copy.deepcopy(plain)
    pack_linears(model)
    assert any(isinstance(module, PackedLinear) for module in model.modules()) == can_pack(torch.float32)
    assert not can_pack(torch.float32) or not any(type(module) is nn.Linear for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    images, tokens = torch.randn(3, 3, plain.config.image.size, plain.config.image.size), some_texts()
    with torch.inference_mode():
        for wanted, found in zip(plain(images, tokens), model(images, tokens), strict=True):
            torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(model.embed_image(images), plain.embed_image(images), atol=2e-5, rtol=0)
        torch.testing.assert_close(model.embed_text(tokens), plain.embed_text(tokens), atol=2e-5, rtol=0)


def test_captions_of_a_packed_model_are_the_same_with_and_without_a_cache() -> None:
    model = random_pair(narrow_l14(correct_mask=True))[1].eval()
    plain = copy.deepcopy(model)
    pack_linears(model)
    size = model.config.image.size
    with torch.inference_mode():
        images = model.encode_image(torch.randn(3, 3, size, size)).tokens

    def written(by: CoCa, build: type[DecodingCache] | type[Uncached]) -> list[tuple[int, ...]]:
        found = write_captions(by, images, ClipTokenizer(76), Decoding(beams=3, max_length=12), build=build)
        return [tuple(captions[0].tokens) for captions in found]

    assert written(model, DecodingCache) == written(model, Uncached) == written(plain, DecodingCache)


def test_without_the_operations_a_model_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        """No operation is there."""

    monkeypatch.setattr(packed_linear, "_operations", Nothing)
    can_pack.cache_clear()
    try:
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        pack_linears(model)
        assert type(model[0]) is nn.Linear
    finally:
        can_pack.cache_clear()


def test_wrong_products_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PackedLinear, "forward", lambda self, x, activation="none": torch.zeros(5, 32, dtype=x.dtype))
    can_pack.cache_clear()
    try:
        assert not can_pack(torch.float32)
    finally:
        can_pack.cache_clear()


def some_texts() -> torch.Tensor:
    return ClipTokenizer(76).encode(["a dog", "a photo of a cat on a mat", "two"])
