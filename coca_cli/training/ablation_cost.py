"""What a training step of a variant costs: measured seconds, counted operations, parameters that are trained."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch

from coca_cli.datasets.caption_texts import written_texts
from coca_cli.datasets.sources import Source, find_source
from coca_cli.errors import CocaError
from coca_cli.model.coca import CoCa
from coca_cli.model.config import CoCaConfig
from coca_cli.model.text import text_lengths
from coca_cli.model.tokenizer import TextEncoder
from coca_cli.training.ablation_classes import class_cost
from coca_cli.training.ablation_variants import Variant
from coca_cli.training.metrics_log import read_metrics
from coca_cli.training.optim import freeze_captioning, freeze_contrastive
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.utilisation import BACKWARD, step_cost

TEXTS = 256
"""Examples of each source whose texts are measured."""


class VariantCost(NamedTuple):
    """What training a variant costs.

    Attributes:
        operations: Floating-point operations of a step.
        parameters: How many are trained.
    """

    operations: float
    parameters: int


def variant_cost(
    config: CoCaConfig, variant: Variant, *, batch_size: int, words: float, classes: int = 1
) -> VariantCost:
    """Count on the meta device.

    Args:
        config: The variant's.
        variant: Whether it has classes, captions, both losses.
        batch_size: Of a step.
        words: Positions of a text, without [CLS].
        classes: How many there are, of a variant that learns them.
    """
    if variant.classes:
        cost = class_cost(config, classes)
        return VariantCost(BACKWARD * batch_size * cost.operations, cost.parameters)
    with torch.device("meta"):
        model = CoCa(config)
    if not variant.contrastive_weight:
        freeze_contrastive(model)
    if not variant.caption_weight:
        freeze_captioning(model, pooler=config.pooler.wiring == "parallel")
    each = step_cost(config, captions=variant.caption_weight > 0)
    positions = batch_size * (words + config.text.cls_tokens)
    operations = BACKWARD * (batch_size * each.picture + positions * each.word)
    return VariantCost(operations, sum(p.numel() for p in model.parameters() if p.requires_grad))


def mean_words(request: PretrainRequest, tokenizer: TextEncoder, pad_id: int) -> float:
    """Positions of a text in a batch, by the first examples of every source; each source counts alike.

    Args:
        request: What is trained.
        tokenizer: The model's.
        pad_id: Its padding.
    """
    means = []
    for source in (find_source(text, request.root) for text in request.data):
        texts = list(islice(_texts(source), TEXTS))
        means.append(text_lengths(tokenizer.encode(texts), pad_id).float().mean().item())
    return statistics.fmean(means)


def _texts(source: Source) -> Iterator[str]:
    if source.read_stream is not None:
        examples = source.read_stream(source.streams[0])
    else:
        examples = source.read()
    yield from written_texts(source, islice(examples, TEXTS))


def step_seconds(folder: Path) -> float:
    """The median time of the steps that a run has logged: what disturbs the machine for a while hardly moves it.

    Raises:
        CocaError: The log is gone.
    """
    found: list[float] = []
    for line in read_metrics(folder):
        found += [1 / value for name, value in line.items() if name.endswith("_per_second") and value]
    if not found:
        raise CocaError(f"{folder} is trained, but its metrics.jsonl is gone or empty; --overwrite trains it anew")
    return statistics.median(found)
