"""Scores of a model while it is trained: zero-shot classification, retrieval and caption loss on named sets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from coca_cli.datasets import find_dataset
from coca_cli.datasets.captioned import find_captioned
from coca_cli.datasets.example import Dataset, Example, Prompts
from coca_cli.datasets.selection import select_labelled, select_prompts
from coca_cli.errors import CocaError
from coca_cli.extras import check_extra
from coca_cli.media.batches import Batch, Skipped, batches
from coca_cli.media.images import normalise
from coca_cli.model.baselines import unit_length
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import Placed
from coca_cli.tasks.caption_scores import cider_of
from coca_cli.tasks.captioning import Writing, captioner_of, write_texts
from coca_cli.tasks.embedding import embed_pixels, embed_texts
from coca_cli.tasks.features import Features
from coca_cli.tasks.java_scorers import find_java
from coca_cli.tasks.retrieval import retrieval_ranks, retrieval_scores
from coca_cli.tasks.zeroshot import build_classifier, evaluate
from coca_cli.training.losses import summed_caption_loss
from coca_cli.training.objective import pack_texts

BATCH_SIZE = 64


@dataclass(frozen=True, slots=True)
class ZeroShotSet:
    """Pictures to classify by prompts."""

    name: str
    dataset: Dataset
    examples: Sequence[Example]
    prompts: Prompts


@dataclass(frozen=True, slots=True)
class PairSet:
    """Pictures with captions to find, and to predict."""

    name: str
    examples: Sequence[Example]
    border: int = 0


@dataclass(frozen=True, slots=True)
class CaptionSet:
    """Pictures to caption."""

    name: str
    examples: Sequence[Example]
    border: int = 0


EvaluationSet = ZeroShotSet | PairSet | CaptionSet
SAMPLES = 3
"""Captions shown at each evaluation, of the same pictures each time."""


def open_sets(
    zeroshot: Sequence[str],
    retrieval: Sequence[str],
    root: Path,
    limit: int | None,
    captions: Sequence[str] = (),
) -> list[EvaluationSet]:
    """The sets that the user named, found and listed before training begins.

    Args:
        zeroshot: Datasets with classes, as for `coca eval zeroshot`.
        retrieval: Datasets with captions, shards, caption files, tables; see `find_captioned`.
        root: The data root.
        limit: The first so many examples of each.
        captions: Sets to caption, as those for retrieval.

    Raises:
        CocaError: A set is not there, or has no classes or captions.
    """
    sets: list[EvaluationSet] = []
    for name in zeroshot:
        dataset = find_dataset(name)
        examples = select_labelled(dataset, root, None, limit).examples
        sets.append(ZeroShotSet(name, dataset, examples, select_prompts(dataset, root, None, None)))
    for name in retrieval:
        sets.append(PairSet(name, *_captioned(name, root, limit, "--eval-retrieval")))
    for name in captions:
        check_extra("captions", "--eval-caption")
        one = CaptionSet(name, *_captioned(name, root, limit, "--eval-caption"))
        if len(one.examples) < 2:
            raise CocaError(
                f"{name} has one picture with captions: CIDEr weighs words by the other pictures; take more"
            )
        sets.append(one)
    return sets


def _captioned(name: str, root: Path, limit: int | None, option: str) -> tuple[list[Example], int]:
    found = find_captioned(name, root)
    captioned = list(itertools.islice((example for example in found.read() if example.texts), limit))
    if not captioned:
        raise CocaError(f"no captions in {name}: {option} takes pictures with captions")
    return captioned, found.border


def score(
    placed: Placed,
    sets: Sequence[EvaluationSet],
    workers: int | None = None,
    show: Callable[[str], None] = lambda line: None,
) -> dict[str, float]:
    """All scores by name.

    Args:
        placed: A CoCa.
        sets: From `open_sets`.
        workers: Decoding threads.
        show: Takes lines with a few of the captions that were written.

    Returns:
        In points, 0 to 100, CIDEr times 100; caption losses in nats per token. `score` is the mean CIDEr where sets are
        captioned, else the mean of top-1 of each zero-shot set and of recall at 1, 5 and 10 both ways of each retrieval
        set.
    """
    found: dict[str, float] = {}
    main: list[float] = []
    ciders: list[float] = []
    for one in sets:
        if isinstance(one, ZeroShotSet):
            scores = _score_zeroshot(placed, one, workers)
            main.append(scores["top-1"])
        elif isinstance(one, CaptionSet):
            scores = _score_captions(placed, one, workers, show)
            ciders.append(scores["CIDEr"])
        else:
            scores = _score_pairs(placed, one, workers)
            recalls = [value for name, value in scores.items() if "recall@" in name]
            main.append(sum(recalls) / len(recalls))
        found |= {f"{one.name} {name}": value for name, value in scores.items()}
    main = ciders or main
    return {"score": sum(main) / len(main), **found} if main else {}


def _score_captions(
    placed: Placed, one: CaptionSet, workers: int | None, show: Callable[[str], None]
) -> dict[str, float]:
    captioner, writing = captioner_of(placed), Writing()
    written: dict[str, str] = {}
    references: dict[str, Sequence[str]] = {}
    stream = batches(
        one.examples, placed.image, batch_size=BATCH_SIZE, skipped=Skipped(), workers=workers, border=one.border
    )
    for batch in stream:
        for example, texts in zip(batch.examples, write_texts(captioner, writing, batch.pixels), strict=True):
            written[example.id], references[example.id] = texts[0].text, example.texts
    names = list(written)
    for name in names[:: max(1, len(names) // SAMPLES)][:SAMPLES]:
        show(f"  {name}: {written[name]!r}, by people: {references[name][0]!r}")
    return {"CIDEr": 100 * cider_of(written, references, find_java(None))}


def _score_zeroshot(placed: Placed, one: ZeroShotSet, workers: int | None) -> dict[str, float]:
    stream = batches(
        one.examples,
        placed.image,
        batch_size=BATCH_SIZE,
        skipped=Skipped(),
        workers=workers,
        border=one.dataset.border,
    )
    embedded = (Features(batch.examples, embed_pixels(placed, batch.pixels)) for batch in stream)
    outcome = evaluate(build_classifier(placed, one.prompts), embedded)
    return {name: 100 * estimate.value for name, estimate in outcome.scores.items()}


@torch.inference_mode()
def _score_pairs(placed: Placed, one: PairSet, workers: int | None) -> dict[str, float]:
    """Recall both ways, and the caption loss with each picture and with another one."""
    model = placed.model
    assert isinstance(model, CoCa)
    images: list[Tensor] = []
    texts: list[str] = []
    owners: list[int] = []
    sums = torch.zeros(4, dtype=torch.float64)
    stream = batches(
        one.examples, placed.image, batch_size=BATCH_SIZE, skipped=Skipped(), workers=workers, border=one.border
    )
    for batch in stream:
        first = sum(map(len, images))
        features = model.encode_image(normalise(batch.pixels.to(placed.device), placed.image).to(placed.dtype))
        images.append(unit_length(features.embedding).cpu())
        texts += [text for example in batch.examples for text in example.texts]
        owners += [first + i for i, example in enumerate(batch.examples) for _ in example.texts]
        sums += _caption_losses(placed, model, batch, features.tokens)
    ranks = retrieval_ranks(torch.cat(images), embed_texts(placed, texts), torch.tensor(owners))
    scores = {name: 100 * estimate.value for name, estimate in retrieval_scores(ranks).items()}
    own, tokens, other, other_tokens = sums.tolist()
    scores["caption loss"] = own / tokens if tokens else math.nan
    scores["caption loss, pictures shuffled"] = other / other_tokens if other_tokens else math.nan
    return scores


def _caption_losses(placed: Placed, model: CoCa, batch: Batch, image_tokens: Tensor) -> Tensor:
    """(4,): summed loss with the own picture, its tokens; the same with the picture half a batch away.

    A picture that is alone in its batch has no other one, and does not count there.
    """
    count = len(batch.examples)
    found = torch.zeros(4, dtype=torch.float64)
    most = max(len(example.texts) for example in batch.examples)
    for number in range(most):  # the first caption of each picture, then the second, ...
        rows = [i for i, example in enumerate(batch.examples) if number < len(example.texts)]
        tokens = placed.tokenizer.encode([batch.examples[i].texts[number] for i in rows])
        packed = pack_texts(model, tokens).to(placed.device)
        hidden = model.text(packed.tokens, packed.rows).hidden[:, :-1]
        scored = (packed.targets != model.pad_id).sum().cpu()
        for place, shift in enumerate((0, count // 2)[:count]):
            seen = image_tokens[((torch.tensor(rows) + shift) % count).to(image_tokens.device)]
            read = model.decoder.read(hidden, seen, packed.caption_rows)
            weight = model.decoder.to_vocab.weight
            found[2 * place] += summed_caption_loss(read, weight, packed.targets, model.pad_id).cpu()
            found[2 * place + 1] += scored
    return found
