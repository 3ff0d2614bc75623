"""Training data: every example with its texts, drawn again and again in an order that the seed fixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.datasets.example import Example
from coca_cli.datasets.sources import Source
from coca_cli.errors import BadExample
from coca_cli.media.batches import Skipped, decoded, default_workers
from coca_cli.media.images import ImageSettings, read_image
from coca_cli.training.augment import Augmentation

BATCHES_AHEAD = 3


class Draw(NamedTuple):
    """One use of one example.

    Attributes:
        example: The example; `texts` are never empty.
        caption: The text drawn for this epoch.
        key: (seed, epoch, index), from which its randomness comes.
    """

    example: Example
    caption: str
    key: tuple[int, int, int]


class TrainingBatch(NamedTuple):
    """Pictures and one caption each.

    Attributes:
        pixels: (B, 3, size, size) uint8.
        captions: B texts.
        epoch: Which pass over the data, from 0.
    """

    pixels: Tensor
    captions: list[str]
    epoch: int


def load_sources(sources: Sequence[Source], limit: int | None = None) -> list[Example]:
    """The examples of all sources with their texts; a labelled picture gets its class name in every template.

    Args:
        sources: Where to read.
        limit: The first so many, and nothing is read after them; None for all.

    Raises:
        BadExample: A source is damaged.
    """
    return list(islice(chain.from_iterable(map(_with_texts, sources)), limit))


def _with_texts(source: Source) -> Iterator[Example]:
    if source.kind == "pairs":
        yield from source.read()
        return
    texts = [tuple(t.replace("{c}", name) for t in source.templates) for name in source.class_names]
    for example in source.read():
        assert example.label is not None
        yield Example(example.id, example.media, example.label, texts[example.label])


def training_batches(
    examples: Sequence[Example],
    settings: ImageSettings,
    augmentation: Augmentation,
    *,
    batch_size: int,
    seed: int,
    skipped: Skipped,
    workers: int | None = None,
) -> Iterator[TrainingBatch]:
    """Full batches without end: each epoch every example once in a new order, one caption drawn for each.

    Args:
        examples: At least `batch_size` of them.
        settings: The model's image settings.
        augmentation: What is done to pictures.
        batch_size: B.
        seed: Fixes order, captions and crops.
        skipped: Takes note of pictures that cannot be read; they are drawn again in later epochs, to no avail.
        workers: Decoding threads.

    Raises:
        BadExample: More than 5 % of the pictures cannot be read, or any in strict mode.
    """
    decode = partial(_decode, settings=settings, augmentation=augmentation)
    threads = default_workers() if workers is None else workers
    captions: list[str] = []
    pixels: list[NDArray[np.uint8]] = []
    for draw, outcome in decoded(_draws(examples, seed), decode, threads, BATCHES_AHEAD * batch_size):
        epoch = draw.key[1]
        if epoch == 0:
            skipped.seen += 1
        if isinstance(outcome, BadExample):
            skipped.add(draw.example, outcome)
            skipped.check(final=epoch > 0)
            continue
        captions.append(draw.caption)
        pixels.append(outcome)
        if len(captions) == batch_size:
            yield TrainingBatch(torch.from_numpy(np.stack(pixels)), captions, epoch)
            captions, pixels = [], []


def _draws(examples: Sequence[Example], seed: int) -> Iterator[Draw]:
    epoch = 0
    while True:
        order = np.random.default_rng((seed, epoch)).permutation(len(examples))
        for index in order.tolist():
            key = (seed, epoch, index)
            texts = examples[index].texts
            caption = texts[int(np.random.default_rng((*key, 0)).integers(len(texts)))]
            yield Draw(examples[index], caption, key)
        epoch += 1


def _decode(draw: Draw, settings: ImageSettings, augmentation: Augmentation) -> NDArray[np.uint8]:
    random = np.random.default_rng((*draw.key, 1))
    return augmentation(read_image(draw.example.media[0]), settings, random)
