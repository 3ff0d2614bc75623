"""Pictures or clips of a dataset -> one embedding each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.datasets.example import Dataset, Example
from coca_cli.media.batches import Skipped
from coca_cli.media.images import ImageSettings, fit_crops, fit_image, read_image
from coca_cli.media.video import Sampling, read_frames
from coca_cli.model.placement import Placed
from coca_cli.options import FrameMean
from coca_cli.progress import Reporter
from coca_cli.tasks.embedding import embed_frames, embed_pixels
from coca_cli.tasks.feature_store import FeatureStore
from coca_cli.tasks.features import Computing, Features, Outcome, Read, features_of
from coca_cli.world import SINGLE, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How pictures or clips become embeddings.

    Attributes:
        batch_size: Pictures, or frames of clips, in one forward pass.
        workers: Decoding threads; None for as many as fit the machine.
        cache: Where embeddings are kept; None for nowhere.
        sampling: Which frames of a clip.
        frame_mean: How a clip's frames become one embedding.
        crops: Squares of each frame of a clip, along its longer side; each is looked at like a clip of its own.
    """

    batch_size: int = 64
    workers: int | None = None
    cache: Path | None = None
    sampling: Sampling = field(default_factory=Sampling)
    frame_mean: FrameMean = FrameMean.mean_first
    crops: int = 1

    @property
    def views(self) -> int:
        """How many times a clip is looked at."""
        return self.sampling.views * self.crops

    def clip_facts(self) -> dict[str, object]:
        """What decides the embedding of a clip besides the model."""
        return {"frame_mean": self.frame_mean.value, **self.frame_facts()}

    def frame_facts(self) -> dict[str, object]:
        """Which pixels of a clip are looked at."""
        crops = {"crops": self.crops} if self.crops > 1 else {}
        return {"frames": asdict(self.sampling), **crops}


def embed_media(
    dataset: Dataset,
    split: str,
    examples: Sequence[Example],
    placed: Placed,
    reading: Reading,
    skipped: Skipped,
    reporter: Reporter,
    world: World = SINGLE,
) -> Features:
    """Unit embeddings (n, D) of the pictures or clips that can be read, on every process.

    Args:
        dataset: Where they come from.
        split: Which part.
        examples: In the order of the set.
        placed: The model.
        reading: How.
        skipped: Takes note of what cannot be read.
        reporter: Shows progress.
        world: The processes that share the work.

    Raises:
        BadExample: In strict mode at the first unreadable example; otherwise when more than 5 % are unreadable.
    """

    def track(stream: Iterable[Outcome]) -> Iterable[Outcome]:
        mine = -(-len(examples) // world.size)
        return reporter.track(stream, total=mine, label=f"{dataset.name} {split}")

    computing, facts = media_computing(placed, reading, track, clips=dataset.media == "video", border=dataset.border)
    facts |= {"dataset": dataset.name, "dataset_version": dataset.version, "split": split}
    store = FeatureStore(reading.cache, facts, reporter.warn)
    return features_of(examples, store, computing, skipped, world)


def media_computing(
    placed: Placed,
    reading: Reading,
    track: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
    *,
    clips: bool,
    border: int = 0,
) -> tuple[Computing, dict[str, object]]:
    """How pictures or clips become unit embeddings, and all that decides these but the files.

    Args:
        placed: The model.
        reading: How.
        track: Shows progress.
        clips: Whether they are clips.
        border: Pixels to cut from each side of a picture.
    """
    image, size = placed.image, reading.batch_size
    facts = embedding_facts(placed) | {"image": asdict(image)}
    read: Read = partial(_read_picture, image=image, border=border)
    compute: Callable[[Tensor], Tensor] = partial(embed_pixels, placed)
    if clips:
        facts |= reading.clip_facts()
        read = partial(_read_clip, image=image, sampling=reading.sampling, crops=reading.crops)
        compute = partial(embed_frames, placed, normalise_first=reading.frame_mean is FrameMean.normalise_first)
        size = max(1, size // (reading.sampling.frames * reading.views))
    facts["batch"] = size  # sums in another order differ in the last digit
    return Computing(read=read, compute=compute, batch_size=size, workers=reading.workers, track=track), facts


def embedding_facts(placed: Placed) -> dict[str, object]:
    """What of the model decides an embedding."""
    return {
        "features": "embedding",
        "model": placed.name,
        "weights": placed.checkpoint,
        "precision": placed.precision,
        "device": placed.device.type,
    }


def _read_picture(example: Example, *, image: ImageSettings, border: int) -> NDArray[np.uint8]:
    return fit_image(read_image(example.media[0], border), image)


def _read_clip(example: Example, *, image: ImageSettings, sampling: Sampling, crops: int) -> NDArray[np.uint8]:
    """(crops * views * frames, 3, size, size), the frames of each look at the clip together."""
    if crops == 1:
        return read_frames(example.media[0], image, sampling)
    frames = read_frames(example.media[0], image, sampling, partial(fit_crops, settings=image, count=crops))
    return np.concatenate(list(frames.swapaxes(0, 1)))
