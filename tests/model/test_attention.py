from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from coca_cli.model.layers import MANY_SEQUENCES, Attention, mix_values


def heads(length: int, seed: int) -> Tensor:
    x = torch.randn(2, length, 3, 8, generator=torch.Generator().manual_seed(seed)).bfloat16()
    return x.transpose(1, 2).requires_grad_()


@pytest.mark.parametrize("how", ["plain", "mask", "causal"])
@pytest.mark.parametrize("lengths", [(5, 7), (1, 7), (9, 9), (70, 70)])
def test_short_bf16_sequences_are_mixed_as_by_the_kernel(how: str, lengths: tuple[int, int]) -> None:
    rows, columns = lengths
    mask = torch.rand(2, 1, rows, columns, generator=torch.Generator().manual_seed(9)) < 0.7
    mask[..., 0] = True
    options = {"plain": (None, False), "mask": (mask, False), "causal": (None, True)}[how]
    found, expected = [], []
    for results, mix in ((found, mix_values), (expected, F.scaled_dot_product_attention)):
        q, k, v = heads(rows, 1), heads(columns, 2), heads(columns, 3)
        out = mix(q, k, v, options[0], is_causal=options[1]) if mix is not mix_values else mix(q, k, v, *options)
        (out.float() * heads(rows, 4).float()).sum().backward()
        results.extend([out, q.grad, k.grad, v.grad])
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert one.dtype == torch.bfloat16
        torch.testing.assert_close(one, other, atol=0.05, rtol=0.05)


def test_the_kernel_runs_where_it_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    kernel = F.scaled_dot_product_attention

    def counted(q: Tensor, *arguments: object, **options: object) -> Tensor:
        lengths.append(q.shape[2])
        return kernel(q, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    for length in (5, 65):
        mix_values(heads(length, 1), heads(length, 2), heads(length, 3))
    assert lengths == [65]
    with torch.inference_mode():
        mix_values(heads(5, 1), heads(5, 2), heads(5, 3))
    mix_values(heads(5, 1).float(), heads(5, 2).float(), heads(5, 3).float())
    assert lengths == [65, 5, 5]


@pytest.mark.parametrize("sequences", [1, MANY_SEQUENCES])
@pytest.mark.parametrize("how", ["plain", "boolean", "added"])
def test_few_queries_are_mixed_as_many(how: str, sequences: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(3)
    attention = Attention(32, 4)
    q, k, v = (torch.randn(sequences, 4, length, 8, generator=generator) for length in (2, 9, 9))
    seen = torch.rand(sequences, 1, 2, 9, generator=generator) < 0.7
    seen[..., 0] = True
    added = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)
    mask = {"plain": None, "boolean": seen, "added": added}[how]
    expected = attention.attend(q, k, v, mask)
    if sequences >= MANY_SEQUENCES:
        monkeypatch.delattr(F, "scaled_dot_product_attention")
    torch.testing.assert_close(attention.attend_few(q, k, v, mask), expected, atol=1e-6, rtol=1e-6)
