"""What a frozen decoder makes of questions, computed once: a head that is trained alone sees nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.datasets.example import Example
from coca_cli.errors import BadExample
from coca_cli.media.batches import BATCHES_AHEAD, decoded, default_workers
from coca_cli.media.images import fit_image, normalise, read_image
from coca_cli.model.tokenizer import TextEncoder
from coca_cli.model.understanding import Understanding, encode_questions
from coca_cli.tasks.answering import Group, Outcome, group_examples

BUDGET = 2**32
"""Bytes of memory that may be taken; what needs more is computed anew in each step."""


class KeptReads(NamedTuple):
    """The decoder's output for a set of examples.

    Attributes:
        rows: By the example's id its (P, T, W) array, T as long as its question, or why there is none.
        longest: The longest T.
    """

    rows: dict[str, NDArray[np.float32] | BadExample]
    longest: int

    def view(self, example: Example, random: np.random.Generator) -> NDArray[np.float32]:
        """What `training_batches` shall give of an example: (P, longest, W), padded with zeros.

        Raises:
            BadExample: Its pictures cannot be read.
        """
        found = self.rows[example.id]
        if isinstance(found, BadExample):
            raise found
        return np.pad(found, ((0, 0), (0, self.longest - found.shape[1]), (0, 0)))


def fit_budget(model: Understanding, tokenizer: TextEncoder, examples: Sequence[Example]) -> bool:
    """Whether the output for all examples fits `BUDGET`."""
    lengths = encode_questions(tokenizer, model.coca.pad_id, [example.question for example in examples]).lengths
    return int(lengths.sum()) * model.pictures * model.coca.config.text.width * 4 <= BUDGET


def keep_reads(
    model: Understanding,
    tokenizer: TextEncoder,
    examples: Sequence[Example],
    *,
    mixed: bool,
    batch_size: int,
    workers: int | None = None,
    border: int = 0,
    track: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
) -> KeptReads:
    """Send all examples through the model once, each picture once for all that is asked about it.

    Args:
        model: Frozen, on its device.
        tokenizer: The model's.
        examples: To train on.
        mixed: Compute in bf16 with fp32 weights, as the training would.
        batch_size: Pictures, or texts, in one forward pass.
        workers: Decoding threads; None for as many as fit the machine.
        border: Pixels to cut from each side of a picture.
        track: Passes the decoded pictures on, to show progress.
    """
    image, size = model.coca.config.image, max(1, batch_size // model.pictures)
    groups = group_examples(examples)

    def read(group: Group) -> NDArray[np.uint8]:
        return np.stack([fit_image(read_image(medium, border), image) for medium in group.media])

    threads = default_workers() if workers is None else workers
    stream = iter(track(decoded(groups, read, threads, size * BATCHES_AHEAD)))
    rows: dict[str, NDArray[np.float32] | BadExample] = {}
    while part := list(itertools.islice(stream, size)):
        kept: list[Group] = []
        pixels: list[NDArray[np.uint8]] = []
        for group, outcome in part:
            if isinstance(outcome, BadExample):
                rows |= {examples[row].id: outcome for row in group.rows}
            else:
                kept.append(group)
                pixels.append(outcome)
        if kept:
            rows |= _read(model, tokenizer, examples, kept, torch.from_numpy(np.stack(pixels)), mixed=mixed)
    longest = max((row.shape[1] for row in rows.values() if not isinstance(row, BadExample)), default=1)
    return KeptReads(rows, longest)


@torch.no_grad()
def _read(
    model: Understanding,
    tokenizer: TextEncoder,
    examples: Sequence[Example],
    groups: Sequence[Group],
    pixels: Tensor,
    *,
    mixed: bool,
) -> dict[str, NDArray[np.float32]]:
    device, size = model.head.classifier.weight.device, len(pixels)
    asked = [(number, examples[row]) for number, group in enumerate(groups) for row in group.rows]
    found: dict[str, NDArray[np.float32]] = {}
    with torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext():
        images = normalise(pixels.flatten(0, 1).to(device), model.coca.config.image)
        seen = model.encode(images)
        seen = seen.view(*pixels.shape[:2], *seen.shape[1:])  # (B, P, Q, W)
        for start in range(0, len(asked), size):
            part = asked[start : start + size]
            questions = encode_questions(tokenizer, model.coca.pad_id, [example.question for _, example in part])
            tokens = questions.tokens[:, : int(questions.lengths.max())].to(device)
            read = model.read(tokens, seen[[number for number, _ in part]]).float().cpu().numpy()  # (b, P, T, W)
            for (_, example), one, length in zip(part, read, questions.lengths.tolist(), strict=True):
                found[example.id] = one[:, :length].copy()
    return found
