from __future__ import annotations

import pytest
import torch
from torch import nn

from coca_cli.model.pooler import AttentionalPooler


def random_pooler(queries: int = 4, **options: bool) -> AttentionalPooler:
    """12 wide, 3 heads, on a sequence 8 wide; every weight random."""
    torch.manual_seed(0)
    pooler = AttentionalPooler(queries, 12, 8, 3, **options).eval()
    with torch.no_grad():
        for parameter in pooler.parameters():
            parameter.normal_(std=0.5)
    return pooler


@pytest.mark.parametrize("norm_inputs", [False, True])
@pytest.mark.parametrize("post_norm", [False, True])
def test_it_is_multi_head_attention_of_learned_queries(norm_inputs: bool, post_norm: bool) -> None:
    """Against torch's own layer, with keys and values of another width than the queries."""
    pooler = random_pooler(norm_inputs=norm_inputs, post_norm=post_norm)
    theirs = nn.MultiheadAttention(12, 3, kdim=8, vdim=8, batch_first=True)
    own = pooler.attention
    with torch.no_grad():
        theirs.q_proj_weight.copy_(own.q.weight)
        theirs.k_proj_weight.copy_(own.kv.weight[:12])
        theirs.v_proj_weight.copy_(own.kv.weight[12:])
        theirs.in_proj_bias.copy_(torch.cat([own.q.bias, own.kv.bias]))
        theirs.out_proj.weight.copy_(own.out.weight)
        theirs.out_proj.bias.copy_(own.out.bias)
        context = torch.randn(2, 7, 8)
        queries, seen = pooler.norm_queries(pooler.queries), pooler.norm_context(context)
        expected = pooler.norm(theirs(queries.expand(2, -1, -1), seen, seen, need_weights=False)[0])
        torch.testing.assert_close(pooler(context), expected, atol=1e-5, rtol=1e-5)
    assert isinstance(pooler.norm, nn.LayerNorm) == post_norm
    assert isinstance(pooler.norm_queries, nn.LayerNorm) == norm_inputs


@pytest.mark.parametrize("length", [1, 7, 50])
def test_it_brings_back_as_many_tokens_as_it_has_queries(length: int) -> None:
    assert random_pooler(5)(torch.randn(3, length, 8)).shape == (3, 5, 12)


def test_the_first_queries_alone_give_the_same_tokens() -> None:
    pooler, context = random_pooler(norm_inputs=True), torch.randn(2, 7, 8)
    with torch.no_grad():
        for n in range(1, 5):
            torch.testing.assert_close(pooler(context, n_queries=n), pooler(context)[:, :n])


def test_the_order_of_what_is_pooled_does_not_matter() -> None:
    pooler, context = random_pooler(), torch.randn(2, 7, 8)
    with torch.no_grad():
        torch.testing.assert_close(pooler(context[:, torch.randperm(7)]), pooler(context), atol=1e-5, rtol=1e-5)


def test_queries_bring_back_different_things() -> None:
    with torch.no_grad():
        pooled = random_pooler()(torch.randn(1, 7, 8))[0]
    assert (pooled[:, None] - pooled[None]).abs().amax(dim=-1).fill_diagonal_(1).min() > 1e-2


def test_a_new_pooler_starts_with_unit_queries_and_no_biases() -> None:
    torch.manual_seed(0)
    pooler = AttentionalPooler(256, 64, 64, 4)
    assert pooler.queries.std().item() == pytest.approx(1, abs=0.02)
    assert not pooler.attention.out.bias.any()
    assert not pooler.attention.kv.bias.any()
    with torch.no_grad():
        assert pooler(torch.randn(2, 9, 64)).std().item() == pytest.approx(1, abs=0.05)
