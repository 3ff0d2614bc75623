"""What attentional heads are trained on and scored on: tokens that are kept, or computed anew each time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from coca_cli.datasets.example import Example
from coca_cli.media.batches import Skipped
from coca_cli.model.task_head import TaskHead, side_by_side
from coca_cli.tasks.feature_store import FeatureStore
from coca_cli.tasks.features import Computing, features_of
from coca_cli.tasks.token_features import FeatureSet
from coca_cli.training.augment import View
from coca_cli.training.batches import training_batches
from coca_cli.training.head_sweep import HeadBatch, head_logits
from coca_cli.training.mixture import mix_task
from coca_cli.training.unreadable import checked_batches
from coca_cli.world import World


class Answers(NamedTuple):
    """What heads say of the examples that could be read.

    Attributes:
        examples: The n examples; none on all processes but the first.
        scores: (S, n, C) of S heads, or (n, C) of one.
    """

    examples: Sequence[Example]
    scores: Tensor

    @property
    def labels(self) -> Tensor:
        """(n,) the right classes."""
        return torch.tensor([example.label for example in self.examples], dtype=torch.int64)


class ProbeData(Protocol):
    """Examples, and how heads get to see them."""

    @property
    def labels(self) -> Tensor:
        """(n,) classes."""
        ...

    def __len__(self) -> int:
        """How many examples there are."""
        ...

    def part(self, rows: Iterable[int]) -> ProbeData:
        """The same with these examples alone."""
        ...

    def batches(self, size: int, seed: int, world: World) -> Generator[HeadBatch, None, None]:
        """Full batches without end, this process's rows of them; every example once in each pass, in another order.

        Args:
            size: Rows of all processes together.
            seed: Fixes order and augmentation.
            world: The processes.
        """
        ...

    def answers(self, heads: Sequence[TaskHead], world: World, device: torch.device) -> Answers:
        """What the heads say of all examples, in order; all processes call this."""
        ...


@dataclass(frozen=True, slots=True)
class KeptTokens:
    """Tokens that are mapped from disk.

    Attributes:
        name: Of the dataset.
        features: The tokens.
    """

    name: str
    features: FeatureSet

    @property
    def labels(self) -> Tensor:
        """(n,) classes."""
        return self.features.labels

    def __len__(self) -> int:
        return len(self.features)

    def part(self, rows: Iterable[int]) -> KeptTokens:
        """The same with these examples alone."""
        return KeptTokens(self.name, self.features.part(rows))

    def batches(self, size: int, seed: int, world: World) -> Generator[HeadBatch, None, None]:
        """See `ProbeData.batches`."""
        mixture = mix_task(self.name, self.features.examples, seed)
        each = size // world.size
        while True:
            mine = mixture.next_batch(size)[world.rank * each : (world.rank + 1) * each]
            rows = [row.feed.index(row.number) for row in mine]
            yield HeadBatch(self.features.take(rows), self.labels[torch.tensor(rows)])

    def answers(self, heads: Sequence[TaskHead], world: World, device: torch.device) -> Answers:
        """What the heads say of all examples; of the first process alone."""
        if not world.first:
            return Answers([], torch.empty(0))
        return Answers(self.features.examples, head_logits(heads, self.features.take, len(self), device))


@dataclass(frozen=True, slots=True)
class LiveTokens:
    """Tokens that are computed whenever they are wanted, of pictures or clips that can look different each time.

    Attributes:
        name: Of the dataset.
        examples: The n examples.
        computing: How examples are read, as evaluation sees them, and become tokens.
        view: How training sees them.
        skipped: Takes note of what cannot be read.
        warn: Takes warnings.
        device: Where this process computes.
    """

    name: str
    examples: Sequence[Example]
    computing: Computing
    view: View
    skipped: Skipped
    warn: Callable[[str], None]
    device: torch.device

    @property
    def labels(self) -> Tensor:
        """(n,) classes."""
        return torch.tensor([example.label for example in self.examples], dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.examples)

    def part(self, rows: Iterable[int]) -> LiveTokens:
        """The same with these examples alone."""
        few = Skipped(strict=self.skipped.strict, allowed=1.0)  # of a few examples one is more than 5 %
        return replace(self, examples=[self.examples[row] for row in rows], skipped=few)

    def batches(self, size: int, seed: int, world: World) -> Generator[HeadBatch, None, None]:
        """See `ProbeData.batches`; an example that cannot be read is replaced by another one, and counted."""
        mixture = mix_task(self.name, self.examples, seed)
        drawn = training_batches(mixture, self.view, batch_size=size, workers=self.computing.workers, world=world)
        with closing(checked_batches(drawn, mixture, self.skipped, world, self.device)) as checked:
            for batch in checked:
                labels = torch.tensor([example.label for example in batch.examples], dtype=torch.int64)
                yield HeadBatch(torch.cat(list(self._tokens(batch.pixels))), labels)

    def _tokens(self, pixels: Tensor) -> Iterator[Tensor]:
        """Of no more pictures at once than evaluation takes."""
        size = self.computing.batch_size
        for start in range(0, len(pixels), size):
            yield self.computing.compute(pixels[start : start + size])

    def answers(self, heads: Sequence[TaskHead], world: World, device: torch.device) -> Answers:
        """What the heads say of all examples that can be read."""
        encode = self.computing.compute

        @torch.inference_mode()
        def say(pixels: Tensor) -> Tensor:
            return side_by_side(heads, encode(pixels).to(device)).transpose(0, 1).cpu()  # (B, S, C)

        nowhere = FeatureStore(None, {}, self.warn)
        found = features_of(self.examples, nowhere, replace(self.computing, compute=say), self.skipped, world)
        return Answers(found.examples, found.features.transpose(0, 1)) if world.first else Answers([], torch.empty(0))
