"""The task head: equal to its pooler, several at once equal to each alone, and what it cannot tell apart."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from coca_cli.model.task_head import TaskHead, side_by_side


def random_head(seed: int, *, norm_inputs: bool = True, frames: int = 0, classes: int = 5) -> TaskHead:
    """A head whose every number is random, biases and norms too."""
    torch.manual_seed(seed)
    head = TaskHead(12, 3, classes, norm_inputs=norm_inputs, frames=frames)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.7)
    return head


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, 12, generator=torch.Generator().manual_seed(seed)) + 0.5


@pytest.mark.parametrize("norm_inputs", [False, True])
def test_equal_to_the_pooler_and_the_classifier(norm_inputs: bool) -> None:
    head, seen = random_head(0, norm_inputs=norm_inputs), tokens(4, 7)
    expected = head.classifier(head.pooler(seen)[:, 0])
    torch.testing.assert_close(head(seen), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("norm_inputs", [False, True])
def test_gradients_are_those_of_the_pooler(norm_inputs: bool) -> None:
    head, seen = random_head(0, norm_inputs=norm_inputs), tokens(4, 7)
    wanted = torch.autograd.grad(head.classifier(head.pooler(seen)[:, 0]).square().sum(), list(head.parameters()))
    found = torch.autograd.grad(head(seen).square().sum(), list(head.parameters()), materialize_grads=True)
    for (name, parameter), one, other in zip(head.named_parameters(), found, wanted, strict=True):
        width = len(parameter)
        if name == "pooler.attention.kv.bias":  # of the keys it moves nothing: what is left there is rounding
            one, other = one[width // 2 :], other[width // 2 :]
        torch.testing.assert_close(one, other, atol=2e-4, rtol=2e-4, msg=name)


def test_times_are_added_to_the_normalised_tokens() -> None:
    head, seen = random_head(1, frames=3), tokens(2, 3, 4)
    assert head.times is not None
    pooler = head.pooler
    normed = pooler.norm_context
    assert isinstance(normed, nn.LayerNorm)
    plain = nn.functional.layer_norm(seen, (12,)) + head.times[:, None]  # before the norm's scale and shift
    shown = plain * normed.weight + normed.bias
    pooler.norm_context = nn.Identity()
    expected = head.classifier(pooler(shown.flatten(1, 2))[:, 0])
    pooler.norm_context = normed
    torch.testing.assert_close(head(seen), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frames", [0, 3])
def test_heads_side_by_side_are_each_alone(frames: int) -> None:
    heads = [random_head(seed, frames=frames) for seed in range(4)]
    seen = tokens(2, 3, 5)
    together = side_by_side(heads, seen)
    assert together.shape == (4, 2, 5)
    for head, logits in zip(heads, together, strict=True):
        torch.testing.assert_close(logits, head(seen), atol=1e-6, rtol=1e-6)
    gradients = torch.autograd.grad(together[1].sum(), list(heads[0].parameters()), allow_unused=True)
    assert all(g is None or not g.any() for g in gradients)  # none moves another


def test_a_pooler_without_times_sees_a_set_of_frames() -> None:
    seen = tokens(2, 3, 4)
    torch.testing.assert_close(random_head(0)(seen), random_head(0)(seen.flip(1)), atol=1e-6, rtol=1e-6)
    timed = random_head(0, frames=3)
    assert (timed(seen) - timed(seen.flip(1))).abs().max() > 0.05


def test_times_of_another_number_of_frames() -> None:
    head = random_head(0, frames=2)
    assert head.times is not None
    assert head(tokens(1, 3, 4)).shape == (1, 5)
    still = tokens(1, 1, 4).expand(1, 3, 4, 12)
    with torch.no_grad():
        head.times[1] = head.times[0]
    torch.testing.assert_close(head(still), head(still[:, :2]), atol=1e-5, rtol=1e-5)


def test_stored_tokens_in_bf16() -> None:
    head, seen = random_head(0), tokens(2, 6)
    found = head(seen.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, head(seen.bfloat16().float()))


def test_a_new_head_begins_without_an_opinion() -> None:
    head = TaskHead(12, 3, 5)
    assert head(tokens(3, 4)).abs().max() < 0.3
