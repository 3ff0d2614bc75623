from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from coca_cli.errors import CocaError
from coca_cli.tasks import retrieval
from coca_cli.tasks.intervals import wilson
from coca_cli.tasks.retrieval import Ranks, folded_ranks, rank_statistics, retrieval_ranks, retrieval_scores

# Each column of SCORES is a text; with one-hot pictures the scores of texts are their own numbers.
#         picture 0's    1's        2's
SCORES = [
    [0.9, 0.1, 0.95, 0.3, 0.2],
    [0.5, 0.6, 0.40, 0.8, 0.6],
    [0.2, 0.9, 0.10, 0.7, 0.7],
]
OWNER = torch.tensor([0, 0, 1, 1, 2])


def ranks_of(scores: list[list[float]], owner: Tensor, block: int = 1024) -> tuple[list[int], list[int]]:
    """Places by a matrix of scores (pictures x texts)."""
    texts = torch.tensor(scores).T.contiguous()
    found = retrieval_ranks(torch.eye(len(scores)), texts, owner, block)
    return found.image_to_text.tolist(), found.text_to_image.tolist()


def brute_force(scores: Tensor, owner: Tensor) -> tuple[list[int], list[int]]:
    images, texts = [], []
    for i in range(len(scores)):
        best = max(float(s) for s, o in zip(scores[i], owner, strict=True) if o == i)
        images.append(1 + sum(1 for s, o in zip(scores[i], owner, strict=True) if o != i and float(s) >= best))
    for j, o in enumerate(owner.tolist()):
        mine = float(scores[o, j])
        texts.append(1 + sum(1 for i in range(len(scores)) if i != o and float(scores[i, j]) >= mine))
    return images, texts


def random_data(seed: int, n: int = 60, dim: int = 16, most: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, most + 1, (n,), generator=random)
    owner = torch.arange(n).repeat_interleave(counts)
    images = torch.randn(n, dim, generator=random)
    texts = images[owner] + 1.5 * torch.randn(len(owner), dim, generator=random)
    order = torch.randperm(len(owner), generator=random)
    return F.normalize(images, dim=1), F.normalize(texts, dim=1)[order], owner[order]


def test_places_that_can_be_checked_by_eye() -> None:
    # picture 0: 0.9 is behind the foreign 0.95; picture 1: 0.8 is first; picture 2: 0.7 is behind 0.9 and a tie.
    # text 0 is first; text 1 is behind 0.6 and 0.9; text 2 behind 0.95; text 3 first; text 4 first.
    assert ranks_of(SCORES, OWNER) == ([2, 1, 3], [1, 3, 2, 1, 1])


def test_a_tie_counts_against_us() -> None:
    assert ranks_of([[0.5, 0.5], [0.5, 0.5]], torch.tensor([0, 1])) == ([2, 2], [2, 2])
    assert ranks_of([[0.5] * 4, [0.5] * 4], torch.tensor([0, 0, 1, 1])) == ([3, 3], [2, 2, 2, 2])


def test_own_captions_do_not_stand_in_the_way() -> None:
    assert ranks_of([[0.9, 0.8, 0.7], [0.0, 0.0, 1.0]], torch.tensor([0, 0, 1])) == ([1, 1], [1, 1, 1])


def test_negative_scores_are_ranked_too() -> None:
    assert ranks_of([[-0.9, -0.1], [-0.2, -0.8]], torch.tensor([0, 1])) == ([2, 2], [2, 2])


@pytest.mark.parametrize("block", [1, 2, 7, 64, 10_000])
@pytest.mark.parametrize("seed", range(3))
def test_places_are_those_of_counting_one_by_one(seed: int, block: int) -> None:
    images, texts, owner = random_data(seed)
    scores = (images.double() @ texts.double().T).float()
    found = retrieval_ranks(images, texts, owner, block)
    expected = brute_force(scores, owner)
    assert (found.image_to_text.tolist(), found.text_to_image.tolist()) == expected
    assert len(set(expected[0])) > 5
    assert len(set(expected[1])) > 5


@pytest.mark.parametrize("block", [1, 3, 16, 1024])
@pytest.mark.parametrize("seed", range(3))
def test_ties_are_counted_one_by_one(seed: int, block: int) -> None:
    random = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 4, (12, 30), generator=random) / 4  # exact in fp32
    owner = torch.cat([torch.arange(12), torch.randint(0, 12, (18,), generator=random)])
    assert ranks_of(scores.tolist(), owner, block) == brute_force(scores, owner)


def test_equal_captions_of_two_pictures_are_a_tie_wherever_they_stand() -> None:
    images, texts, owner = random_data(3, n=200, dim=768, most=1)
    doubled = torch.cat([texts, texts[torch.randperm(200, generator=torch.Generator().manual_seed(0))]])
    owners = torch.cat([owner, owner[torch.randperm(200, generator=torch.Generator().manual_seed(1))]])
    reference = retrieval_ranks(images, doubled, owners, 10_000)
    for block in (1, 5, 37, 128):
        found = retrieval_ranks(images, doubled, owners, block)
        assert torch.equal(found.image_to_text, reference.image_to_text)
        assert torch.equal(found.text_to_image, reference.text_to_image)
    twin = torch.cat([texts, texts])  # every caption again, owned by the next picture
    found = retrieval_ranks(images, twin, torch.cat([owner, (owner + 1) % 200]), 64)
    assert (found.image_to_text > 1).all()


@pytest.mark.parametrize("block", [7, 1024])
def test_scores_that_differ_by_less_than_fp32_sums_can_tell_are_ordered_exactly(block: int) -> None:
    """Texts that differ in the last digits alone: their order by fp32 products is chance."""
    random = torch.Generator().manual_seed(5)
    images, texts, owner = random_data(5, n=40, dim=64, most=3)
    nudged = texts[0] * (1 + 2e-7 * torch.randint(-2, 3, (len(texts), 64), generator=random))
    scores = (images.double() @ nudged.double().T).float()
    assert 1 < len(scores[0].unique()) < len(texts)
    assert float(scores[0].max() - scores[0].min()) < 1e-6
    found = retrieval_ranks(images, nudged, owner, block)
    assert (found.image_to_text.tolist(), found.text_to_image.tolist()) == brute_force(scores, owner)


def test_many_pictures_that_look_alike_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "PAIRS", 11)
    found = retrieval_ranks(torch.ones(9, 4) / 2, torch.ones(9, 4) / 2, torch.arange(9))
    assert found.image_to_text.tolist() == found.text_to_image.tolist() == [9] * 9


def test_recalls_and_ranks() -> None:
    ranks = Ranks(torch.tensor([1, 2, 5, 6, 11]), torch.tensor([1, 1, 10, 100]))
    scores = retrieval_scores(ranks)
    assert scores == {
        "image-to-text recall@1": wilson(1, 5),
        "image-to-text recall@5": wilson(3, 5),
        "image-to-text recall@10": wilson(4, 5),
        "text-to-image recall@1": wilson(2, 4),
        "text-to-image recall@5": wilson(2, 4),
        "text-to-image recall@10": wilson(3, 4),
    }
    assert rank_statistics(ranks) == {
        "image-to-text median rank": 5.0,
        "image-to-text mean rank": 5.0,
        "text-to-image median rank": 5.5,
        "text-to-image mean rank": 28.0,
    }


@pytest.mark.peer
@pytest.mark.parametrize(("seed", "most"), [(0, 1), (1, 5), (2, 5)])
def test_recall_equals_clip_benchmarks(seed: int, most: int) -> None:
    pytest.importorskip("clip_benchmark", reason="CLIP_benchmark is not installed")
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

    images, texts, owner = random_data(seed, n=300, dim=24, most=most)
    scores = retrieval_scores(retrieval_ranks(images, texts, owner, 64))
    matrix = texts @ images.T
    positive = torch.zeros_like(matrix, dtype=torch.bool)
    positive[torch.arange(len(texts)), owner] = True
    for k in (1, 5, 10):
        of_images = (batchify(recall_at_k, matrix, positive, 64, "cpu", k=k) > 0).float().mean().item()
        of_texts = (batchify(recall_at_k, matrix.T, positive.T, 64, "cpu", k=k) > 0).float().mean().item()
        assert scores[f"text-to-image recall@{k}"].value == pytest.approx(of_images, abs=1e-6)
        assert scores[f"image-to-text recall@{k}"].value == pytest.approx(of_texts, abs=1e-6)
        assert 0.05 < of_images < 1


def test_folds_are_searched_by_themselves() -> None:
    images, texts, owner = random_data(3, n=60)
    order = owner.argsort(stable=True)  # as the run has them: in the order of their pictures
    texts, owner = texts[order], owner[order]
    found = folded_ranks(images, texts, owner, folds=3)
    parts = []
    for fold in range(3):
        inside = owner.div(20, rounding_mode="floor") == fold
        parts.append(retrieval_ranks(images[fold * 20 : fold * 20 + 20], texts[inside], owner[inside] - fold * 20))
    assert torch.equal(found.image_to_text, torch.cat([part.image_to_text for part in parts]))
    assert torch.equal(found.text_to_image, torch.cat([part.text_to_image for part in parts]))
    assert found.image_to_text.max() < retrieval_ranks(images, texts, owner).image_to_text.max()
    with pytest.raises(CocaError, match="60 pictures cannot be parted into 7 folds of equal size: some are missing"):
        folded_ranks(images, texts, owner, folds=7)


def test_metrics_are_named_for_clips_too() -> None:
    ranks = Ranks(torch.tensor([1, 3]), torch.tensor([1, 2, 2]))
    assert retrieval_scores(ranks, "video")["video-to-text recall@1"].value == 0.5
    assert rank_statistics(ranks, "video")["text-to-video median rank"] == 2.0
