"""How quickly and in how much memory recall@k is counted, against CLIP_benchmark.

What: recall@1, 5 and 10 both ways from embeddings of the size of COCO's (5,000 pictures, 25,010 captions, 512 numbers
each): random unit vectors, each caption near its picture. CLIP_benchmark's part is what its zeroshot_retrieval does
after embedding: the whole matrix of scores, and recall_at_k in batches of 64 for each k and direction. coca's is
`retrieval_ranks`, block by block, from which all recalls follow.

First the recalls are compared: coca's must be those of products in fp64, to the last pair; CLIP_benchmark's too, but
for pairs whose scores differ by less than fp32 tells. Each side runs in a process of its own, in turn,
so that its peak memory beyond the embeddings can be told.

    python benchmarks/retrieval.py [--pictures 5000] [--captions 25010] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
from importlib import metadata
from typing import Any

import torch
from measuring import ask_side, parser, peak_memory, ratio_row, report, timed, value_row
from torch import Tensor

from coca_cli.tasks.retrieval import RECALL_AT, retrieval_ranks, retrieval_scores

WIDTH = 512
ROUNDING = 1e-6
"""What a cosine in fp32 can be off by."""
NOISE = 8.0
"""Length of what is added to a picture's embedding to make a caption's: recalls are then neither 0 nor 1."""
ROWS = 4096


def embeddings(pictures: int, captions: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (n, D), captions (m, D), and each caption's picture (m,); made in parts, to take little memory."""
    generator = torch.Generator().manual_seed(0)
    images, texts = torch.empty(pictures, WIDTH), torch.empty(captions, WIDTH)
    for part in images.split(ROWS):
        part.normal_(generator=generator)
        part /= part.norm(dim=1, keepdim=True)
    owner = torch.arange(captions) * pictures // captions
    for start in range(0, captions, ROWS):
        part = texts[start : start + ROWS]
        part.normal_(generator=generator)
        part *= NOISE / WIDTH**0.5
        part += images[owner[start : start + ROWS]]
        part /= part.norm(dim=1, keepdim=True)
    return images, texts, owner


def coca_recalls(images: Tensor, texts: Tensor, owner: Tensor) -> dict[str, float]:
    scores = retrieval_scores(retrieval_ranks(images, texts, owner))
    return {name: estimate.value for name, estimate in scores.items()}


def clip_benchmark_recalls(images: Tensor, texts: Tensor, owner: Tensor) -> dict[str, float]:
    """As in CLIP_benchmark's zeroshot_retrieval.evaluate, with its own functions."""
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

    scores = texts @ images.t()
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[torch.arange(len(scores)), owner] = True
    found = {}
    for k in RECALL_AT:
        for name, matrix, pairs in (
            ("text-to-image", scores, positive),
            ("image-to-text", scores.T, positive.T),
        ):
            hits = batchify(recall_at_k, matrix, pairs, 64, "cpu", k=k)
            found[f"{name} recall@{k}"] = (hits > 0).float().mean().item()
    return found


SIDES = {"CLIP_benchmark": clip_benchmark_recalls, "coca": coca_recalls}


def exact_hits(pictures: int, captions: int, slack: float) -> dict[str, int]:
    """How many rows have a right one among the best k, by products in fp64.

    Args:
        pictures: How many.
        captions: How many.
        slack: What a wrong one's score gets on top: above 0 fewer are hit, below 0 more, where rounding decides.
    """
    images, texts, owner = embeddings(pictures, captions)
    scores = texts.double() @ images.double().T  # (m, n)
    right = torch.zeros_like(scores, dtype=torch.bool)
    right[torch.arange(captions), owner] = True
    found = {}
    for name, matrix, positive in (("text-to-image", scores, right), ("image-to-text", scores.T, right.T)):
        best = matrix.masked_fill(~positive, -torch.inf).amax(dim=1, keepdim=True)
        ahead = ((matrix + slack >= best) & ~positive).sum(dim=1)
        found |= {f"{name} recall@{k}": int((ahead < k).sum()) for k in RECALL_AT}
    return found


def run_side(options: argparse.Namespace) -> dict[str, Any]:
    """Recalls, seconds, and peak memory beyond the embeddings in bytes."""
    data = embeddings(options.pictures, options.captions)
    SIDES[options.side](*embeddings(64, 128))  # libraries are loaded and threads started
    before = peak_memory()
    recalls: dict[str, float] = {}
    seconds = timed(lambda: recalls.update(SIDES[options.side](*data)))
    return {"recalls": recalls, "seconds": seconds, "memory": peak_memory() - before}


def main(arguments: list[str] | None = None) -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--pictures", type=int, help="5,000 unless told otherwise")
    options_parser.add_argument("--captions", type=int, help="25,010 unless told otherwise")
    options = options_parser.parse_args(arguments)
    smoke = options.size == "smoke"
    options.pictures = options.pictures or (300 if smoke else 5000)
    options.captions = options.captions or (1500 if smoke else 25010)
    if options.side:
        print(json.dumps(run_side(options)))
        return
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(options.rounds):
        for side, found in runs.items():
            found.append(ask_side(__file__, side, options, run_side))
    theirs, ours = (found[0]["recalls"] for found in runs.values())
    slacks = (0.0, ROUNDING, -ROUNDING)
    exact, least, most = (exact_hits(options.pictures, options.captions, slack) for slack in slacks)
    for name, value in ours.items():
        size = options.pictures if name.startswith("image") else options.captions
        assert round(value * size) == exact[name], (name, value * size, exact[name])
        assert least[name] <= round(theirs[name] * size) <= most[name], (name, theirs[name] * size, least, most)
    what = f"recall@1, 5, 10 both ways, {options.pictures:,} pictures, {options.captions:,} captions"
    peer = f"CLIP_benchmark {metadata.version('clip-benchmark')}"
    slow, fast = ([run["seconds"] for run in found] for found in runs.values())
    told = "recalls are those of fp64: " + ", ".join(f"{name} {100 * v:.2f}" for name, v in ours.items())
    rows = [ratio_row(what, peer, slow, fast, target=None if smoke else 10, equal=told)]
    if not smoke:  # there all runs in one process
        large, small = ([run["memory"] for run in found] for found in runs.values())
        aims = {"unit": "% of the memory beyond the embeddings", "target": 20, "at_least": False}
        told = f"{max(large) / 2**20:,.0f} MiB against {max(small) / 2**20:,.0f} MiB"
        parts = [100 * mine / whole for mine, whole in zip(small, large, strict=True)]
        rows.append(value_row(f"memory of it, {what}", peer, parts, detail=told, **aims))
    report("retrieval", options, rows)


if __name__ == "__main__":
    main()
