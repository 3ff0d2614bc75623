"""What an evaluation of captions keeps of single pictures: what each caption got, and a few with their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coca_cli.datasets.example import Dataset, Example
from coca_cli.details import Details
from coca_cli.media.thumbnails import thumbnails_of
from coca_cli.tasks.evenly_spread import spread

SHOWN = 12
REFERENCES = 3
MEANS = ("CIDEr", "ROUGE-L", "SPICE")
"""The scores of a set that are means of its captions' scores; BLEU and METEOR add up what is found in all of them."""


class EachCaption(NamedTuple):
    """What each caption got.

    Attributes:
        ids: n pictures.
        scores: Metric -> (n,).
    """

    ids: Sequence[str]
    scores: Mapping[str, NDArray[np.float64]]


def caption_details(
    dataset: Dataset, examples: Sequence[Example], captions: Mapping[str, str], each: EachCaption
) -> Details:
    """What is kept.

    Args:
        dataset: Where the pictures come from.
        examples: All of them.
        captions: id -> what was written.
        each: What the captions got that were scored.
    """
    scores = {metric: np.nan_to_num(each.scores[metric]) for metric in MEANS if metric in each.scores}
    columns: dict[str, Sequence[object]] = {
        "id": list(each.ids),
        "caption": [captions[name] for name in each.ids],
        **{metric: values.round(6).tolist() for metric, values in scores.items()},
    }
    by_id = {example.id: example for example in examples}
    samples = []
    for row in spread(len(each.ids), SHOWN):
        example = by_id[each.ids[row]]
        samples.append(
            {
                "kind": "caption",
                "id": example.id,
                "pictures": thumbnails_of(example, clips=dataset.media == "video", border=dataset.border),
                "caption": captions[example.id],
                "references": list(example.texts[:REFERENCES]),
                "CIDEr": round(100 * float(scores["CIDEr"][row]), 1),
            }
        )
    return Details(tables={"examples": columns}, samples=samples)
