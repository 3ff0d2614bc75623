"""What a classification keeps of single examples: what was said of each, and of a few where the pooler looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.datasets.example import Dataset, Example
from coca_cli.details import Details
from coca_cli.errors import BadExample
from coca_cli.media.thumbnails import pixels_thumbnail
from coca_cli.model.attention_maps import attention_maps
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import Placed
from coca_cli.model.task_head import TaskHead
from coca_cli.tasks.classification import Ranking
from coca_cli.tasks.evenly_spread import spread
from coca_cli.tasks.media_features import Reading, media_computing

PICTURES, CLIPS = 8, 3
"""How many are shown."""
FRAMES = 8
"""Frames of a clip that are shown at most."""
SAID = 3
"""Classes that are told of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """Who looked, and how.

    Attributes:
        dataset: Where the examples come from.
        placed: The model.
        reading: How pictures or clips were read.
        head: A classifier's head; None for the pooler of the image embedding.
        generative: The head looks at what the generative pooler gives.
        plain: There is no pooler to look with, only vectors: pictures are shown without maps.
    """

    dataset: Dataset
    placed: Placed
    reading: Reading
    head: TaskHead | None = None
    generative: bool = False
    plain: bool = False


def classification_details(
    looking: Looking, examples: Sequence[Example], labels: Tensor, ranking: Ranking, class_names: Sequence[str]
) -> Details:
    """What is kept of a classification.

    Args:
        looking: Who looked.
        examples: The n that were scored.
        labels: (n,) true classes.
        ranking: (n, k) best classes.
        class_names: One name per class.
    """
    hits = ranking.classes == labels[:, None]
    columns: dict[str, Sequence[object]] = {
        "id": [example.id for example in examples],
        "label": labels.tolist(),
        "said": ranking.classes[:, 0].tolist(),
        "top-1": hits[:, 0].int().tolist(),
    }
    if len(class_names) >= 5:
        columns["top-5"] = hits[:, :5].any(dim=1).int().tolist()
    shown = CLIPS if looking.dataset.media == "video" else PICTURES
    samples = []
    for row in spread(len(examples), shown):
        try:
            seen = _show(looking, examples[row])
        except (BadExample, RuntimeError):  # the latter where the memory does not do; the scores are there already
            continue
        best = zip(ranking.classes[row].tolist(), ranking.scores[row].tolist(), strict=True)
        said = [[class_names[found], round(score, 4)] for found, score in list(best)[:SAID]]
        label = class_names[int(labels[row])]
        samples.append({"kind": "look", "id": examples[row].id, "label": label, "said": said, **seen})
    return Details(tables={"examples": columns}, facts={"class_names": list(class_names)}, samples=samples)


def _show(looking: Looking, example: Example) -> dict[str, object]:
    """A picture, or some frames of a clip, as the model gets them, and the pooler's attention on them."""
    dataset, placed, reading = looking.dataset, looking.placed, looking.reading
    clips = dataset.media == "video"
    computing, _ = media_computing(placed, reading, clips=clips, border=dataset.border)
    pixels = computing.read(example)
    if clips:
        pixels = pixels[: reading.sampling.frames]  # the first look at it
    maps: NDArray[np.float32] | None = None
    if isinstance(placed.model, CoCa) and not looking.plain:
        found = attention_maps(
            placed, torch.from_numpy(pixels.copy())[None], looking.head, generative=looking.generative
        )
        maps = found[0].numpy()
    if not clips:
        pixels, maps = pixels[None], None if maps is None else maps[None]
    shown = spread(len(pixels), FRAMES)
    kept: dict[str, object] = {"pictures": [pixels_thumbnail(pixels[row]) for row in shown]}
    if maps is not None:
        kept["maps"] = [[[round(weight, 6) for weight in line] for line in maps[row].tolist()] for row in shown]
    return kept
