"""What a retrieval keeps and shows of single examples: texts evenly spread over the set, not the best ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import Tensor

from coca_cli.datasets.example import Example
from coca_cli.details import Details
from coca_cli.media.retrieval_grid import Query
from coca_cli.media.thumbnails import see_medium, thumbnail
from coca_cli.tasks.evenly_spread import spread
from coca_cli.tasks.retrieval import Ranks, ranks_by_name

QUERIES = 5
FOUND = 5


def sample_queries(
    examples: Sequence[Example],
    texts: Sequence[str],
    features: Tensor,
    embedded: Tensor,
    owner: Tensor,
    places: Tensor,
    *,
    clips: bool = False,
) -> list[Query]:
    """Five texts with the five pictures, or middle frames of clips, that are nearest to each.

    Args:
        examples: The n that were searched.
        texts: m texts.
        features: (n, D) of the examples.
        embedded: (m, D) of the texts.
        owner: (m,) the picture of each text.
        places: (m,) at which place it was found.
        clips: Whether they are clips.
    """
    queries = []
    for number in spread(len(texts), QUERIES):
        scores = features @ embedded[number]
        best = scores.topk(min(FOUND, len(examples))).indices.tolist()
        found = [see_medium(examples[row].media[0], clips=clips) for row in best]
        right = [row == int(owner[number]) for row in best]
        queries.append(Query(texts[number], found, right, int(places[number]), len(examples)))
    return queries


def retrieval_details(
    examples: Sequence[Example], texts: Sequence[str], owner: Tensor, ranks: Ranks, queries: Sequence[Query], noun: str
) -> Details:
    """What is kept of a retrieval: the place of everything that was looked for, and a few texts with what was found.

    Args:
        examples: The n pictures or clips.
        texts: m texts.
        owner: (m,) the picture of each text.
        ranks: Their places.
        queries: From `sample_queries`.
        noun: What the pictures are called: image or video.
    """
    ids = [example.id for example in examples]
    to_text, from_text = ranks_by_name(ranks, noun)
    of = [ids[row] for row in owner.tolist()]
    seen: Counter[str] = Counter()
    names = []
    for owner_id in of:
        names.append(f"{owner_id}#{seen[owner_id]}")
        seen[owner_id] += 1
    tables = {
        to_text: {"id": ids, "rank": ranks.image_to_text.tolist()},
        from_text: {"id": names, "of": of, "rank": ranks.text_to_image.tolist()},
    }
    samples = [
        {
            "kind": "retrieval",
            "text": query.text,
            "found": [None if picture is None else thumbnail(picture) for picture in query.found],
            "right": list(query.right),
            "place": query.place,
            "total": query.total,
        }
        for query in queries
    ]
    return Details(tables=tables, samples=samples)
