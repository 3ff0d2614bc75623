"""The estimates against arithmetic written out by hand, and docs/scaling.md against the estimates."""

from __future__ import annotations

import pytest

from benchmarks import estimates
from coca_cli.model.config import PAPER_PRESETS
from coca_cli.suites.work import Survey


@pytest.mark.slow
def test_the_document_says_what_the_script_says() -> None:
    text = estimates.DOCUMENT.read_text(encoding="utf-8")
    found = estimates.MARKED.search(text)
    assert found is not None
    written = f"{found[1]}\n{estimates.estimates()}\n\n{found[2]}"
    assert found[0] == written, "run: python benchmarks/estimates.py --write"


def test_a_picture_of_coca_base_by_hand() -> None:
    """Products of matrices: two operations for each weight and token; scores and mixture of attention on top."""
    n, w = 256, 768
    patches = 2 * n * (3 * 18 * 18) * w
    layer = 2 * n * (4 * w * w + 2 * w * 3072) + 2 * 2 * n * n * w
    generative = 2 * n * 4 * w * w + 2 * 2 * n * n * w
    contrastive = 2 * 2 * w * w + 2 * n * 2 * w * w + 2 * 2 * n * w
    assert estimates.cost_of("coca_base").per_picture == patches + 12 * layer + generative + contrastive


def test_larger_pictures_have_four_times_the_patches() -> None:
    small, large = (estimates.cost_of("coca_2b", size).per_picture for size in (288, 576))
    assert 4 < large / small < 5


def test_pretraining_by_hand() -> None:
    """2.2 billion weights; a patch goes through a billion of them, a word through the decoder's 1.18 billion."""
    found = estimates.pretraining("coca_2b")
    assert found.pair == pytest.approx(2 * 256 * 1.01e9 + 2 * 64 * 1.18e9, rel=0.15)  # attention on top
    assert found.first == 3 * 65_536 * 500_000 * found.pair
    assert found.last == 3 * 65_536 * 100_000 * found.large_pair
    assert estimates.pretraining("coca_2b", 4).total * 3 == found.total * 4


def test_the_papers_own_time_is_possible() -> None:
    """Between a fifth and all of what its chips can do."""
    found = estimates.pretraining("coca_2b")
    assert 0.2 < estimates.paper_utilisation(found.first) < estimates.paper_utilisation(found.total) < 0.7
    assert estimates.paper_utilisation(2048 * 275e12 * 5 * 86_400) == 1


def test_days_of_gpus() -> None:
    assert estimates.gpu_days(312e12 * 86_400, 312e12, 0.5) == 2


def test_memory_of_optimisers() -> None:
    """Four numbers for each weight with AdamW; a little more than three with Adafactor."""
    weights = sum(estimates.cost_of("coca_large").parameters.values())
    assert estimates.training_bytes("coca_large", "adamw") == 16 * weights
    assert 12 * weights < estimates.training_bytes("coca_large", "adafactor") < 12.2 * weights


@pytest.mark.parametrize(
    ("survey", "gpus", "expected"),
    [
        (Survey("", 2_990), 1, 1.0),
        (Survey("", 2_990), 8, 2 * 256 / 2_990),  # 12 parts: some have two
        (Survey("", 2_990), 64, 256 / 2_990),
        (Survey("", 100), 8, 1.0),
        (Survey("", 2_990, passes=2_990), 64, 1 / 64),
    ],
)
def test_the_largest_share(survey: Survey, gpus: int, expected: float) -> None:
    assert estimates.share(survey, gpus) == expected


def test_prompts_are_the_first_processs_alone() -> None:
    config = PAPER_PRESETS["coca_base"]
    prompts = Survey("", 1, texts=1_000)
    one, many = (estimates.suite_seconds(config, [prompts], 1e12, gpus) for gpus in (1, 64))
    assert one == many > 0
