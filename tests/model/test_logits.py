from __future__ import annotations

import pytest
import torch

from coca_cli.model.logits import BLOCK, best

LARGE = 100 * BLOCK


@pytest.mark.parametrize("vocabulary", [LARGE, LARGE + 1, 12])  # the last two have no whole blocks, or too few
@pytest.mark.parametrize("count", [1, 4, 20])
def test_the_best_are_the_largest(vocabulary: int, count: int) -> None:
    logits = torch.randn(3, 2, vocabulary, generator=torch.Generator().manual_seed(count))
    logits[0, 0, : 2 * BLOCK] += 10  # most of the best in two blocks
    logits[1, 1, 5:] = -torch.inf
    values, tokens = best(logits, count)
    expected = logits.topk(min(count, vocabulary), dim=-1)
    torch.testing.assert_close(values, expected.values, atol=0, rtol=0)
    torch.testing.assert_close(logits.gather(-1, tokens), values, atol=0, rtol=0)
    places = torch.where(values > -torch.inf, tokens, 0)
    assert torch.equal(places, torch.where(values > -torch.inf, expected.indices, 0))


def test_a_large_vocabulary_is_not_sorted_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, topk = [], torch.Tensor.topk

    def recorded(self: torch.Tensor, *arguments: object, **options: object) -> object:
        sizes.append(self.shape[-1])
        return topk(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.Tensor, "topk", recorded)
    best(torch.randn(2, LARGE), 4)
    assert sizes == [100, 4 * BLOCK]
