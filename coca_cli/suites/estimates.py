"""How long a benchmark will take: by earlier rows, else by the model's operations and this machine's speed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import cache

import torch

from coca_cli.datasets import find_dataset
from coca_cli.datasets.example import MediaKind
from coca_cli.errors import CocaError
from coca_cli.model.config import CoCaConfig
from coca_cli.model.flops import Cost, measure_cost
from coca_cli.model.placement import DTYPES
from coca_cli.results import Result
from coca_cli.suites.candidates import Candidate
from coca_cli.suites.command_options import Benchmark
from coca_cli.suites.work import Survey

EFFICIENCY = 0.5
"""What a whole model reaches of the rate of one product of matrices."""
PICTURE_SECONDS = 0.008
"""What one core takes to decode a photograph and to make it smaller."""
TEXT_POSITIONS = 24
"""What prompts and captions need, about; texts are cut at the longest of their batch."""
ROWS = 1024
TRIES = 3
MEASURED = 0.2
"""Seconds that a try shall take at least."""


def estimate_seconds(
    benchmark: Benchmark, survey: Survey, candidate: Candidate, rows: Sequence[Result], device: str, precision: str
) -> float | None:
    """Seconds that a benchmark will take, loading the model left out; None where nothing is known.

    Args:
        benchmark: Which.
        survey: What there is to do.
        candidate: The model.
        rows: Of the store.
        device: Such as cpu.
        precision: fp32, bf16 or fp16.
    """
    known = _by_rows(benchmark, survey, candidate, rows, device, precision)
    if known is not None:
        return known
    config = candidate.config
    if config is None:
        return None
    operations = count_work(config, survey)
    computing = operations / (EFFICIENCY * multiplication_rate(config.vision.width, device, precision))
    reading = 0.0 if benchmark.dataset.built_in else survey.pictures * PICTURE_SECONDS / (os.cpu_count() or 1)
    return max(computing, reading) + survey.fixed  # pictures are decoded while the model computes


def count_work(config: CoCaConfig, survey: Survey) -> float:
    """Floating-point operations of a benchmark."""
    cost = _cost(config)
    patches = (config.image.size // config.vision.patch_size) ** 2
    attended = 4.0 * config.vision.heads * config.vision.width * patches  # scores of each attention head, and its sum
    return (
        survey.pictures * cost.per_picture
        + survey.texts * cost.per_text * min(1, TEXT_POSITIONS / config.text.context)
        + survey.passes * cost.per_caption
        + survey.words * cost.per_caption / config.text.context  # earlier words are remembered
        + 3 * survey.looks * attended  # forwards, and backwards twice as much
    )


@cache
def _cost(config: CoCaConfig) -> Cost:
    return measure_cost(config)


@cache
def multiplication_rate(width: int, device: str, precision: str) -> float:
    """Operations per second of a product of matrices as a model of this width has them; measured in a moment.

    Args:
        width: Of the image encoder.
        device: Where.
        precision: fp32, bf16 or fp16.
    """
    where = torch.device(device)
    one = torch.randn(ROWS, width, device=where).to(DTYPES[precision])
    other = torch.randn(width, 4 * width, device=where).to(DTYPES[precision])
    wait: Callable[[], None] = torch.cuda.synchronize if where.type == "cuda" else lambda: None
    best = 0.0
    for _ in range(TRIES):
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < MEASURED / TRIES:
            product = one @ other
            count += 1
            wait()
        del product
        best = max(best, count / (time.perf_counter() - start))
    return best * 2 * ROWS * width * 4 * width


def _by_rows(
    benchmark: Benchmark, survey: Survey, candidate: Candidate, rows: Sequence[Result], device: str, precision: str
) -> float | None:
    """By the newest row of the same dataset, or else of its kind.

    A head's training is no matter of examples, and the prompts of zero-shot classification are another dataset's.
    """
    alike = [
        row
        for row in reversed(rows)
        if (row.task, row.model, row.device, row.precision) == (benchmark.task, candidate.name, device, precision)
        and row.n
        and not row.metric.startswith("text")  # those are counted in captions
    ]
    same = [row for row in alike if row.dataset == benchmark.dataset.name]
    if benchmark.task == "probe":
        return next((row.seconds for row in same if row.n == survey.examples), None)
    if benchmark.task != "zeroshot":
        same += [row for row in alike if _media(row.dataset) == benchmark.dataset.media]
    return same[0].seconds * survey.examples / same[0].n if same else None


@cache
def _media(dataset: str) -> MediaKind | None:
    try:
        return find_dataset(dataset).media
    except CocaError:  # a folder that is gone
        return None


def in_words(seconds: float | None) -> str:
    """About how long, for people."""
    if seconds is None:
        return "?"
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 1.5 * size:
            number = seconds / size
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
    return f"{max(1, round(seconds))} s"
