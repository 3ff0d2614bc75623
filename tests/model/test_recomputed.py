from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coca_cli.model.layers import Attention, Block
from coca_cli.model.packing import Packing
from coca_cli.model.recomputed import gelu_linear, norm_linear
from coca_cli.training.objective import Objective, pack_texts
from tests.tasks.tiny import LetterTokenizer, tiny_coca

SHAPES = [(7, 12), (2, 5, 12)]


def layers() -> tuple[nn.LayerNorm, nn.Linear]:
    torch.manual_seed(0)
    norm, linear = nn.LayerNorm(12), nn.Linear(12, 8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm, linear


def plain(x: Tensor, norm: nn.Module | None, linear: nn.Linear) -> Tensor:
    out: Tensor = linear(F.gelu(x) if norm is None else norm(x))
    return out


def recomputed(x: Tensor, norm: nn.Module | None, linear: nn.Linear) -> Tensor:
    return gelu_linear(x, linear) if norm is None else norm_linear(x, norm, linear)


def run(how: Callable[..., Tensor], shape: tuple[int, ...], with_norm: bool, mixed: bool = False) -> list[Tensor]:
    """The output, and the gradients of input and parameters."""
    norm, linear = layers()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        out = how(x, norm if with_norm else None, linear)
    out.float().square().sum().backward()
    parameters = [*linear.parameters(), *(norm.parameters() if with_norm else ())]
    assert x.grad is not None
    return [out.detach(), x.grad, *(p.grad for p in parameters if p.grad is not None)]


@pytest.mark.parametrize("with_norm", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_output_and_gradients_are_those_of_the_plain_layers(shape: tuple[int, ...], with_norm: bool) -> None:
    found, expected = run(recomputed, shape, with_norm), run(plain, shape, with_norm)
    assert len(found) == len(expected) == (6 if with_norm else 4)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("with_norm", [True, False])
def test_under_autocast_products_are_bf16_and_gradients_fp32(with_norm: bool) -> None:
    found, expected = run(recomputed, (2, 5, 12), with_norm, True), run(plain, (2, 5, 12), with_norm, True)
    assert found[0].dtype == torch.bfloat16
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, atol=0.05, rtol=0.05)


@contextmanager
def noted() -> Iterator[list[Tensor]]:
    """The tensors that are kept for the backward pass."""
    kept: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        yield kept


@pytest.mark.parametrize("with_norm", [True, False])
def test_neither_activation_nor_weight_copy_is_kept(with_norm: bool) -> None:
    norm, linear = layers()
    x = torch.randn(50, 12, requires_grad=True)
    with noted() as kept, torch.autocast("cpu", torch.bfloat16):
        recomputed(x, norm if with_norm else None, linear)
    mine = {t.data_ptr() for t in (x, *linear.parameters(), *norm.parameters())}
    assert kept
    assert all(tensor.data_ptr() in mine for tensor in kept)


def test_what_needs_no_gradient_goes_the_plain_way() -> None:
    norm, linear = layers()
    x = torch.randn(3, 12)
    torch.testing.assert_close(norm_linear(x, norm, linear), linear(norm(x)), atol=0, rtol=0)
    torch.testing.assert_close(norm_linear(x, nn.Identity(), linear), linear(x), atol=0, rtol=0)
    torch.testing.assert_close(gelu_linear(x, linear), linear(F.gelu(x)), atol=0, rtol=0)


def test_a_frozen_layer_passes_the_gradient_on() -> None:
    norm, linear = layers()
    norm.requires_grad_(False)
    linear.requires_grad_(False)
    x = torch.randn(3, 12, requires_grad=True)
    norm_linear(x, norm, linear).sum().backward()
    assert x.grad is not None
    assert x.grad.any()
    assert linear.weight.grad is None


def cross_block(texts: int, tokens: int) -> tuple[Block, Tensor, Tensor]:
    torch.manual_seed(0)
    block = Block(16, 4, 32, context_width=24, norm_context=True)
    x, context = torch.randn(3, texts, 16, requires_grad=True), torch.randn(3, tokens, 24, requires_grad=True)
    return block, x, context


def test_keys_and_values_of_a_context_are_not_kept() -> None:
    block, x, context = cross_block(5, 40)
    with noted() as kept:
        out = block(x, context)
    mine = {t.data_ptr() for t in (context, *block.parameters())}
    larger = [tuple(t.shape) for t in kept if t.numel() >= 3 * 40 * 16 and t.data_ptr() not in mine]
    assert kept
    assert not larger
    out.sum().backward()
    assert context.grad is not None


def test_texts_with_their_padding_are_not_kept() -> None:
    torch.manual_seed(0)
    block, rows = Block(16, 4, 32), torch.tensor([0, 1, 40, 41, 42])
    x = torch.randn(5, 16, requires_grad=True)
    with noted() as kept:
        out = block(x, causal=True, packing=Packing(rows, 2, 40))
    mine = {parameter.data_ptr() for parameter in block.parameters()}
    assert kept
    assert max(t.numel() for t in kept if t.data_ptr() not in mine) < 2 * 40 * 16
    found = torch.autograd.grad(out.square().sum(), x)[0]

    padded = x.new_zeros(80, 16).index_copy(0, rows, x).view(2, 40, 16)
    wanted = torch.autograd.grad(block(padded, causal=True).flatten(0, 1)[rows].square().sum(), x)[0]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_attention_to_a_context_has_the_gradients_of_one_that_keeps_all() -> None:
    block, x, context = cross_block(5, 40)
    inputs = [x, context, *block.parameters()]
    found = torch.autograd.grad(block(x, context).square().sum(), inputs)

    attention = block.attention
    q = attention.split_heads(attention.q(block.norm1(x)))
    k, v = (attention.split_heads(part) for part in attention.kv(block.norm_context(context)).chunk(2, dim=-1))
    looked = x + attention.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
    assert block.mlp is not None
    into, _, back = block.mlp
    wanted = torch.autograd.grad((looked + back(F.gelu(into(block.norm2(looked))))).square().sum(), inputs)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mixed", [False, True])
def test_a_layer_that_is_computed_anew_as_a_whole_has_the_same_gradients(mixed: bool) -> None:
    def gradients(checkpointed: bool) -> list[Tensor]:
        model = tiny_coca().train()
        if checkpointed:
            model.checkpoint_activations()
        inside = [module.recomputes for module in model.modules() if isinstance(module, Attention)]
        assert inside
        assert set(inside) == {not checkpointed}
        tokens = LetterTokenizer().encode(["a cat", "a fox jumps over it"])
        texts = pack_texts(model, tokens)
        encoded = Objective(model, mixed=mixed)(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), texts)
        (encoded.image.sum() + encoded.text.sum() + encoded.caption).backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    for one, other in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
