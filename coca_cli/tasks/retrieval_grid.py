"""Which texts and pictures are shown of a retrieval: texts evenly spread over the set, not the best ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from coca_cli.datasets.example import Example, Pixels
from coca_cli.errors import BadExample
from coca_cli.media.images import ImageSettings, read_image
from coca_cli.media.retrieval_grid import SIDE, Query, write_retrieval_grid
from coca_cli.media.video import Sampling, read_frames

QUERIES = 5
FOUND = 5


def show_retrieval(
    path: Path,
    examples: Sequence[Example],
    texts: Sequence[str],
    features: Tensor,
    embedded: Tensor,
    owner: Tensor,
    places: Tensor,
    *,
    clips: bool = False,
) -> None:
    """Write a picture of five texts with the five pictures, or middle frames of clips, that are nearest to each.

    Args:
        path: A .png or .jpg file.
        examples: The n that were searched.
        texts: m texts.
        features: (n, D) of the examples.
        embedded: (m, D) of the texts.
        owner: (m,) the picture of each text.
        places: (m,) at which place it was found.
        clips: Whether they are clips.
    """
    queries = []
    for number in torch.linspace(0, len(texts) - 1, min(QUERIES, len(texts))).round().long().tolist():
        scores = features @ embedded[number]
        best = scores.topk(min(FOUND, len(examples))).indices.tolist()
        found = [_thumbnail(examples[row], clips) for row in best]
        right = [row == int(owner[number]) for row in best]
        queries.append(Query(texts[number], found, right, int(places[number]), len(examples)))
    write_retrieval_grid(path, queries)


def _thumbnail(example: Example, clips: bool) -> Image.Image | None:
    (medium,) = example.media
    try:
        if clips and not isinstance(medium, Pixels):
            frames = read_frames(medium, ImageSettings(size=SIDE), Sampling(frames=1, kind="segments"))
            return Image.fromarray(frames[0].transpose(1, 2, 0).copy())
        return read_image(medium)
    except BadExample:
        return None
