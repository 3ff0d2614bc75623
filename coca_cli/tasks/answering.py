"""Questions about pictures -> what a model answers; every picture is encoded once, however many questions it has."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.datasets.example import Example, Medium
from coca_cli.errors import BadExample, CocaError
from coca_cli.media.batches import BATCHES_AHEAD, Skipped, decoded, default_workers
from coca_cli.media.images import fit_image, normalise, read_image
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import Placed
from coca_cli.model.understanding import Understanding, UnderstandingHead, encode_questions
from coca_cli.tasks.classification import Ranking, rank_classes
from coca_cli.world import SINGLE, World, gather_all


@dataclass(frozen=True, slots=True)
class Answerer:
    """A model with a head, where it runs.

    Attributes:
        placed: The model, a CoCa.
        head: On its decoder, in fp32 on the same device.
        pictures: How many an example has.
        exclusive: One answer alone can be right, so that the scores of all answers are 1 together; else each has its
            own from 0 to 1.
    """

    placed: Placed
    head: UnderstandingHead
    pictures: int
    exclusive: bool

    def rank(self, pixels: Tensor, questions: Sequence[str], about: Sequence[int]) -> Ranking:
        """The best answers of questions, and their scores from 0 to 1; in halves where the memory does not hold all.

        Args:
            pixels: (B, P, 3, size, size) uint8: the pictures of B examples.
            questions: n of them.
            about: Which of the B each is about, n numbers.

        Raises:
            CocaError: The model's numbers are none.
        """
        try:
            return self._rank(pixels, questions, about)
        except torch.OutOfMemoryError:
            if len(pixels) == 1:
                raise
        half = len(pixels) // 2
        first = [row for row, number in enumerate(about) if number < half]
        second = [row for row, number in enumerate(about) if number >= half]
        one = self.rank(pixels[:half], [questions[row] for row in first], [about[row] for row in first])
        other = self.rank(pixels[half:], [questions[row] for row in second], [about[row] - half for row in second])
        order = torch.tensor([*first, *second]).argsort()
        return Ranking(torch.cat([one.classes, other.classes])[order], torch.cat([one.scores, other.scores])[order])

    @torch.inference_mode()
    def _rank(self, pixels: Tensor, questions: Sequence[str], about: Sequence[int]) -> Ranking:
        model, placed = self._model, self.placed
        images = normalise(pixels.flatten(0, 1).to(placed.device), placed.image).to(placed.dtype)
        seen = model.encode(images)
        seen = seen.view(*pixels.shape[:2], *seen.shape[1:])  # (B, P, Q, W)
        asked = encode_questions(placed.tokenizer, model.coca.pad_id, questions)
        order = asked.lengths.argsort(stable=True)
        logits: list[Tensor] = []
        size = max(1, len(pixels))
        for rows in torch.split(order, size):
            lengths = asked.lengths[rows].to(placed.device)
            tokens = asked.tokens[rows, : int(lengths.max())].to(placed.device)  # what follows a question is not seen
            read = model.read(tokens, seen[[about[row] for row in rows.tolist()]])
            logits.append(self.head(read, lengths))
        found = torch.cat(logits).cpu()[order.argsort()]
        if not found.isfinite().all():
            raise CocaError(f"{placed.name} answers with numbers that are none: weights or precision are not usable")
        return rank_classes(found.softmax(dim=1) if self.exclusive else found.sigmoid())

    @property
    def _model(self) -> Understanding:
        assert isinstance(self.placed.model, CoCa)
        return Understanding(self.placed.model, self.head, self.pictures)


class Answered(NamedTuple):
    """What was answered.

    Attributes:
        examples: The n that could be read, in the order of their set.
        ranking: (n, k) their best answers.
    """

    examples: list[Example]
    ranking: Ranking


class Group(NamedTuple):
    """Examples about the same pictures.

    Attributes:
        media: The pictures.
        rows: The examples' numbers.
    """

    media: tuple[Medium, ...]
    rows: list[int]


Outcome = tuple[Group, NDArray[np.uint8] | BadExample]

MOST_QUESTIONS = 64
"""About one picture at a time; further ones are a group of their own."""


def answer_questions(
    answerer: Answerer,
    examples: Sequence[Example],
    skipped: Skipped,
    *,
    batch_size: int,
    workers: int | None = None,
    border: int = 0,
    track: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
    world: World = SINGLE,
) -> Answered:
    """What a model answers to all examples whose pictures can be read; on every process.

    A batch of pictures is the same whoever computes it, so that any number of processes gives the same numbers.

    Args:
        answerer: The model.
        examples: In the order of their set.
        skipped: Takes note of what cannot be read.
        batch_size: Pictures, or texts, in one forward pass.
        workers: Decoding threads; None for as many as fit the machine.
        border: Pixels to cut from each side of a picture.
        track: Passes this process's decoded pictures on, to show progress.
        world: The processes that share the work.

    Raises:
        BadExample: In strict mode at the first unreadable picture; otherwise when more than 5 % are unreadable.
    """
    groups = group_examples(examples)
    size = max(1, batch_size // answerer.pictures)
    batches = [groups[start : start + size] for start in range(0, len(groups), size)][world.rank :: world.size]

    def read(group: Group) -> NDArray[np.uint8]:
        image = answerer.placed.image
        return np.stack([fit_image(read_image(medium, border), image) for medium in group.media])

    threads = default_workers() if workers is None else workers
    stream = iter(track(decoded(itertools.chain.from_iterable(batches), read, threads, size * BATCHES_AHEAD)))
    found: dict[int, tuple[list[int], list[float]]] = {}
    unreadable: dict[int, str] = {}
    for batch in batches:
        kept: list[Group] = []
        pixels: list[NDArray[np.uint8]] = []
        for group, outcome in itertools.islice(stream, len(batch)):
            skipped.seen += len(group.rows)
            if isinstance(outcome, BadExample):
                for row in group.rows:
                    unreadable[row] = str(outcome)
                    skipped.add(examples[row].id, outcome)
                skipped.check(final=False)
                continue
            kept.append(group)
            pixels.append(outcome)
        if kept:
            rows = [row for group in kept for row in group.rows]
            about = [number for number, group in enumerate(kept) for _ in group.rows]
            questions = [examples[row].question for row in rows]
            ranking = answerer.rank(torch.from_numpy(np.stack(pixels)), questions, about)
            answers = zip(ranking.classes.tolist(), ranking.scores.tolist(), strict=True)
            found.update(zip(rows, answers, strict=True))
    found = _gather(examples, found, unreadable, skipped, world)
    order = sorted(found)
    classes = torch.tensor([found[row][0] for row in order], dtype=torch.int64)
    return Answered([examples[row] for row in order], Ranking(classes, torch.tensor([found[row][1] for row in order])))


def _gather(
    examples: Sequence[Example],
    found: dict[int, tuple[list[int], list[float]]],
    unreadable: dict[int, str],
    skipped: Skipped,
    world: World,
) -> dict[int, tuple[list[int], list[float]]]:
    """What all processes found, by row; what none of them could read is noted."""
    together: dict[int, tuple[list[int], list[float]]] = {}
    for part, reasons in gather_all((found, unreadable), world):
        together |= part
        skipped.reasons |= {examples[row].id: reason for row, reason in reasons.items()}
    skipped.seen = len(examples)
    skipped.check(final=True)
    return together


def group_examples(examples: Sequence[Example]) -> list[Group]:
    """The examples by their pictures, in order of first appearance."""
    groups: list[Group] = []
    last: dict[tuple[Medium, ...], Group] = {}
    for row, example in enumerate(examples):
        group = last.get(example.media)
        if group is None or len(group.rows) == MOST_QUESTIONS:
            group = last[example.media] = Group(example.media, [])
            groups.append(group)
        group.rows.append(row)
    return groups


def number_pictures(examples: Sequence[Example]) -> NDArray[np.int64]:
    """A number for each example, the same for those about the same pictures."""
    numbers: dict[tuple[Medium, ...], int] = {}
    return np.array([numbers.setdefault(example.media, len(numbers)) for example in examples], dtype=np.int64)
