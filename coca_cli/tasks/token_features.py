"""Pictures or clips of a dataset -> what heads are trained on: the tokens of the image side, or their mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from coca_cli.datasets.example import Dataset, Example
from coca_cli.errors import BadCheckpoint
from coca_cli.media.batches import Skipped
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import Placed
from coca_cli.options import FeatureChoice
from coca_cli.progress import Reporter
from coca_cli.tasks.embedding import checked_embeddings
from coca_cli.tasks.encoding import encode_pixels
from coca_cli.tasks.feature_store import FeatureStore, Part, parts_of
from coca_cli.tasks.features import Computing, Outcome, stored_parts
from coca_cli.tasks.media_features import Reading, media_computing
from coca_cli.world import SINGLE, World


class FeatureSet:
    """Features of examples that could be read, in parts that may lie on disk.

    Args:
        examples: The n examples.
        parts: Their features in order, (n_i, ...) each.

    Attributes:
        examples: The same.
        labels: (n,) their classes.
    """

    def __init__(self, examples: Sequence[Example], parts: Sequence[Tensor]) -> None:
        self.examples = list(examples)
        self.labels = torch.tensor([example.label for example in self.examples], dtype=torch.int64)
        self._rows = [row for part in parts for row in part.unbind()]  # views: nothing is read yet

    @classmethod
    def of_parts(cls, examples: Sequence[Example], parts: Sequence[Part]) -> FeatureSet:
        """Of the examples that were asked for, those that their parts have."""
        whole = parts_of(examples)
        read = [members[row] for part, members in zip(parts, whole, strict=True) for row in part.rows]
        return cls(read, [part.features for part in parts if part.rows])

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, rows: Iterable[int]) -> Tensor:
        """The features of these examples, (B, ...), copied from where they lie."""
        return torch.stack([self._rows[row] for row in rows])

    def part(self, rows: Iterable[int]) -> FeatureSet:
        """The set of these examples alone; features stay where they are."""
        found = FeatureSet([], [])
        chosen = list(rows)
        found.examples = [self.examples[row] for row in chosen]
        found.labels = self.labels[torch.tensor(chosen, dtype=torch.int64)]
        found._rows = [self._rows[row] for row in chosen]
        return found


class TokenSource(NamedTuple):
    """Where the tokens of a split come from.

    Attributes:
        store: Where they are kept.
        computing: How they are made.
    """

    store: FeatureStore
    computing: Computing

    def read(self, examples: Sequence[Example], skipped: Skipped, world: World = SINGLE) -> FeatureSet:
        """The features of the examples that can be read, from the store where they are there.

        Raises:
            BadExample: In strict mode at the first unreadable example; otherwise when more than 5 % are unreadable.
        """
        return FeatureSet.of_parts(examples, stored_parts(examples, self.store, self.computing, skipped, world))

    def missing(self, examples: Sequence[Example]) -> int:
        """How many examples the store does not have."""
        parts = enumerate(parts_of(examples))
        return sum(len(members) for number, members in parts if not self.store.holds(number, members))


def token_source(
    dataset: Dataset,
    split: str,
    count: int,
    placed: Placed,
    kind: FeatureChoice,
    reading: Reading,
    reporter: Reporter,
    world: World = SINGLE,
    part: Mapping[str, object] | None = None,
) -> TokenSource:
    """Where the features of a split, or of a part of it, come from.

    Args:
        dataset: Where the examples come from.
        split: Which part of it.
        count: Of the examples, for progress.
        placed: The model.
        kind: Tokens or their mean; not the embedding, which any model has.
        reading: How pictures or clips are read.
        reporter: Shows progress.
        world: The processes that share the work.
        part: What tells a part of the split from all of it.

    Raises:
        BadCheckpoint: The model is no CoCa.
    """

    def track(stream: Iterable[Outcome]) -> Iterable[Outcome]:
        return reporter.track(stream, total=-(-count // world.size), label=f"{dataset.name} {split}")

    clips = dataset.media == "video"
    computing, facts = token_computing(placed, kind, reading, track, clips=clips, border=dataset.border)
    facts |= {"dataset": dataset.name, "dataset_version": dataset.version, "split": split, **(part or {})}
    return TokenSource(FeatureStore(reading.cache, facts, reporter.warn), computing)


def bytes_of_tokens(placed: Placed, kind: FeatureChoice, frames: int = 1) -> int:
    """How much room the features of one example take."""
    side = placed.image.size
    one = encode_tokens(placed, kind, torch.zeros(1, 3, side, side, dtype=torch.uint8))
    return one.numel() * one.element_size() * (1 if kind is FeatureChoice.mean else frames)


def token_computing(
    placed: Placed,
    kind: FeatureChoice,
    reading: Reading,
    track: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
    *,
    clips: bool,
    border: int = 0,
) -> tuple[Computing, dict[str, object]]:
    """How pictures or clips become features, and all that decides these but the files; as `media_computing`.

    Raises:
        BadCheckpoint: The model is no CoCa.
    """
    if not isinstance(placed.model, CoCa):
        raise BadCheckpoint(
            f"{placed.name} is no CoCa, and only its embedding is known here: use --head linear or knn with "
            "--features embedding"
        )
    embedding, facts = media_computing(placed, reading, track, clips=clips, border=border)
    facts |= {"features": kind.value}
    facts.pop("frame_mean", None)
    compute = partial(encode_tokens, placed, kind)
    return (
        Computing(
            read=embedding.read,
            compute=compute,
            batch_size=embedding.batch_size,
            workers=reading.workers,
            track=track,
        ),
        facts,
    )


def encode_tokens(placed: Placed, kind: FeatureChoice, pixels: Tensor) -> Tensor:
    """What a head looks at.

    Args:
        placed: A CoCa.
        kind: patches: the encoder's output, as in the paper; generative: what the generative pooler makes of it, as the
            decoder sees it; mean: the mean of the encoder's output, over all frames of a clip.
        pixels: (B, 3, size, size) uint8 of pictures, (B, F, 3, size, size) of clips.

    Returns:
        On the CPU: tokens (B, N, W) or (B, F, N, W) in bf16, so that kept ones are what was computed; or means (B, W)
        in fp32.

    Raises:
        CocaError: They are no finite numbers.
    """
    model = placed.model
    assert isinstance(model, CoCa)
    lead = pixels.shape[:-3]

    def encode(images: Tensor) -> Tensor:
        tokens = model.encode_image(images).tokens if kind is FeatureChoice.generative else model.image.vit(images)
        return tokens.float().mean(dim=1) if kind is FeatureChoice.mean else tokens.bfloat16()

    found = checked_embeddings(encode_pixels(placed, encode, pixels.flatten(0, -4)))
    if kind is FeatureChoice.mean:
        return found.view(lead[0], -1, found.shape[-1]).mean(dim=1)  # over the frames of a clip
    return found.view(*lead, *found.shape[1:])
