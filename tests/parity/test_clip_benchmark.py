"""The same classifier, logits and scores as CLIP_benchmark, from the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from open_clip.coca_model import CoCa as OpenClipCoCa
from torch import Tensor

from coca_cli.datasets.example import Example, Pixels, Prompts
from coca_cli.media.images import normalise
from coca_cli.model.placement import Placed
from coca_cli.model.tokenizer import ClipTokenizer
from coca_cli.tasks.classification import classification_scores, rank_classes
from coca_cli.tasks.embedding import embed_pixels
from coca_cli.tasks.features import Features
from coca_cli.tasks.zeroshot import build_classifier, class_logits, evaluate
from tests.parity.open_clip_models import narrow_l14, random_pair

pytestmark = pytest.mark.peer

PROMPTS = Prompts(
    ("cat", "golden retriever", "stop sign!", "airliner", "crane (bird)", "T-shirt", "ice cream", "maze"),
    ("a photo of a {c}.", "a blurry photo of the {c}.", "{c}", "itap of my {c}, the {c}!"),
)


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    """CLIP_benchmark's zero-shot classification."""
    pytest.importorskip("clip_benchmark", reason="CLIP_benchmark is not installed")
    from clip_benchmark.metrics import zeroshot_classification

    return zeroshot_classification


@pytest.fixture(autouse=True)
def _mended(peer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its accuracy() calls float() on an array of one element, which NumPy 2.4 and later refuse. Only the word `float`
    # is replaced, by what older versions of NumPy did; the string in float("nan") is passed on.
    def to_float(value: Any) -> float:
        return value.item() if hasattr(value, "item") else float(value)

    monkeypatch.setattr(peer, "float", to_float, raising=False)


@pytest.fixture(scope="module", params=[False, True], ids=["legacy mask", "correct mask"])
def models(request: pytest.FixtureRequest) -> tuple[OpenClipCoCa, Placed]:
    """open_clip's model and ours with the same random weights."""
    theirs, ours = random_pair(narrow_l14(correct_mask=request.param))
    placed = Placed(ours, ClipTokenizer(76), ours.config.image, "narrow", "0", torch.device("cpu"), "fp32")
    return theirs, placed


def their_classifier(peer: ModuleType, model: OpenClipCoCa, prompts: Prompts = PROMPTS) -> Tensor:
    """(D, classes)."""
    tokenizer = ClipTokenizer(76)
    names, templates = map(list, prompts)
    with torch.inference_mode():
        found: Tensor = peer.zero_shot_classifier(model, tokenizer.encode, names, templates, "cpu", amp=False)
    return found


def test_the_classifiers_are_equal(peer: ModuleType, models: tuple[OpenClipCoCa, Placed]) -> None:
    theirs, placed = models
    expected = their_classifier(peer, theirs).T
    found = build_classifier(placed, PROMPTS)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert torch.pdist(found).min() > 1e-3  # else equal classes would hide a wrong order
    features = F.normalize(torch.randn(500, found.shape[1], generator=torch.Generator().manual_seed(0)), dim=-1)
    assert torch.equal(class_logits(features, found).argmax(dim=1), (100.0 * features @ expected.T).argmax(dim=1))


def random_scores(seed: int, n: int, classes: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=random)
    logits = 3 * torch.randn(n, classes, generator=random)
    logits[torch.arange(n), labels] += 3 * (labels % 3)
    return logits, labels


@pytest.mark.parametrize(("seed", "n", "classes"), [(0, 1000, 100), (1, 1, 5), (2, 333, 5), (3, 2000, 1000)])
def test_accuracy_is_equal_to_the_last_example(peer: ModuleType, seed: int, n: int, classes: int) -> None:
    logits, labels = random_scores(seed, n, classes)
    first, fifth = peer.accuracy(logits, labels, topk=(1, 5))
    scores = classification_scores(rank_classes(logits), labels, classes)
    assert scores["top-1"].value == first
    assert scores["top-5"].value == fifth
    assert n == 1 or 0 < first < 1


def test_equal_logits_are_counted_alike(peer: ModuleType) -> None:
    """Coarse numbers have many ties, which topk must break in the same way."""
    logits, labels = random_scores(4, 1000, 20)
    logits = logits.round()
    assert (logits.topk(2).values.diff() == 0).float().mean() > 0.05
    scores = classification_scores(rank_classes(logits), labels, 20)
    assert [scores["top-1"].value, scores["top-5"].value] == peer.accuracy(logits, labels, topk=(1, 5))


class Loader:
    """A data loader as far as CLIP_benchmark looks at it: batches of (images, labels), and the classes."""

    def __init__(self, images: Tensor, labels: Tensor, classes: tuple[str, ...], size: int = 32) -> None:
        self.images, self.labels, self.size = images, labels, size
        self.dataset = SimpleNamespace(classes=classes)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.images.split(self.size), self.labels.split(self.size), strict=True)

    def __len__(self) -> int:
        return -(-len(self.labels) // self.size)


def their_evaluation(
    peer: ModuleType, model: OpenClipCoCa, images: Tensor, labels: Tensor, prompts: Prompts
) -> tuple[Tensor, dict[str, float]]:
    """Logits and scores."""
    loader = Loader(images, labels, prompts.class_names)
    names, templates = map(list, prompts)
    with torch.inference_mode():
        classifier = their_classifier(peer, model, prompts)
        logits, _ = peer.run_classification(model, classifier, loader, "cpu", amp=False)
        scores = peer.evaluate(model, loader, ClipTokenizer(76).encode, names, templates, "cpu", amp=False)
    return logits, scores


@pytest.mark.parametrize("classes", [3, 5, 8])
def test_a_whole_evaluation_is_equal(peer: ModuleType, models: tuple[OpenClipCoCa, Placed], classes: int) -> None:
    theirs, placed = models
    prompts = Prompts(PROMPTS.class_names[:classes], PROMPTS.templates)
    random = torch.Generator().manual_seed(0)
    shade = torch.randint(0, 256, (100, 3, 1, 1), generator=random)
    pixels = (shade + torch.randint(-60, 60, (100, 3, 56, 56), generator=random)).clamp(0, 255).to(torch.uint8)
    labels = torch.randint(0, classes, (100,), generator=random)
    logits, expected = their_evaluation(peer, theirs, normalise(pixels, placed.image), labels, prompts)

    examples = [Example(str(i), (Pixels(pixels[i].numpy(), str(i)),), int(label)) for i, label in enumerate(labels)]
    embedded = [
        Features(examples[start : start + 30], embed_pixels(placed, part))
        for start, part in zip(range(0, 100, 30), pixels.split(30), strict=True)
    ]
    outcome = evaluate(build_classifier(placed, prompts), embedded)

    assert torch.equal(outcome.ranking.classes, logits.topk(min(5, classes)).indices)
    torch.testing.assert_close(outcome.ranking.scores, logits.topk(min(5, classes)).values, atol=1e-3, rtol=0)
    assert len(outcome.ranking.classes[:, 0].unique()) > 1
    scores = {metric: estimate.value for metric, estimate in outcome.scores.items()}
    assert scores["top-1"] == expected["acc1"]
    assert scores["mean per-class recall"] == pytest.approx(expected["mean_per_class_recall"], abs=1e-12)
    if classes < 5:
        assert "top-5" not in scores
        assert expected["acc5"] != expected["acc5"]  # not a number
    else:
        assert scores["top-5"] == expected["acc5"]
