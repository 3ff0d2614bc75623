"""How quickly and in how much memory recall@k is counted, against CLIP_benchmark.

What: recall@1, 5 and 10 both ways from embeddings of the size of COCO's (5,000 pictures, 25,010 captions, 512 numbers
each): random unit vectors, each caption near its picture. CLIP_benchmark's part is what its zeroshot_retrieval does
after embedding: the whole matrix of scores, and recall_at_k in batches of 64 for each k and direction. coca's is
`retrieval_ranks`, block by block, from which all recalls follow.

First the recalls are compared: both sides must agree to the last pair. Then each side runs in a process of its own, in
turn, so that its peak memory beyond the embeddings can be told. Medians and ratios are printed; the last line is JSON.

With --large the same is counted for 200,000 pictures and 1,000,000 captions by coca alone (CLIP_benchmark would need
800 GB), and the peak memory of the whole process is printed.

Run: python benchmarks/retrieval.py [--pictures 5000] [--captions 25010] [--rounds 3] [--large]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from importlib import metadata

import torch
from torch import Tensor

from coca_cli.tasks.retrieval import RECALL_AT, retrieval_ranks, retrieval_scores

WIDTH = 512
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


def measured(side: str, pictures: int, captions: int) -> dict[str, object]:
    """One run in this process: recalls, seconds, peak memory in MiB beyond the embeddings and of the process."""
    data = embeddings(pictures, captions)
    SIDES[side](*embeddings(64, 128))  # libraries are loaded and threads started
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    recalls = SIDES[side](*data)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"recalls": recalls, "seconds": seconds, "memory": (peak - before) / 1024, "process": peak / 1024}


def in_a_process(side: str, options: argparse.Namespace) -> dict[str, object]:
    words = ["--side", side, "--pictures", str(options.pictures), "--captions", str(options.captions)]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--captions", type=int, default=25010)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="200,000 pictures and 1,000,000 captions, coca alone")
    parser.add_argument("--side", choices=SIDES, help="one run of one side in this process")
    options = parser.parse_args()
    if options.large:
        options.pictures, options.captions, options.side = 200_000, 1_000_000, "coca"
    if options.side:
        print(json.dumps(measured(options.side, options.pictures, options.captions)))
        return

    runs: dict[str, list[dict[str, object]]] = {side: [] for side in SIDES}
    for _ in range(options.rounds):
        for side in SIDES:
            runs[side].append(in_a_process(side, options))
    theirs, ours = (runs[side][0]["recalls"] for side in SIDES)
    assert isinstance(theirs, dict)
    assert isinstance(ours, dict)
    for name, value in ours.items():
        rows = options.pictures if name.startswith("image") else options.captions
        assert round(value * rows) == round(theirs[name] * rows), (name, value, theirs[name])
    print("equal recalls: " + ", ".join(f"{name} {100 * value:.2f}" for name, value in ours.items()))
    medians = {
        side: {key: statistics.median(float(str(run[key])) for run in found) for key in ("seconds", "memory")}
        for side, found in runs.items()
    }
    for side, found in runs.items():
        listed = ", ".join(f"{run['seconds']:.1f}" for run in found)
        print(f"{side:15} {medians[side]['memory']:8.0f} MiB beyond the embeddings   (seconds: {listed})")
    speed = medians["CLIP_benchmark"]["seconds"] / medians["coca"]["seconds"]
    memory = medians["coca"]["memory"] / medians["CLIP_benchmark"]["memory"]
    print(f"{speed:.1f} times as fast, {100 * memory:.0f} % of the memory")
    print(
        json.dumps(
            {
                "benchmark": "retrieval",
                "pictures": options.pictures,
                "captions": options.captions,
                "width": WIDTH,
                "runs": {
                    side: [{k: run[k] for k in ("seconds", "memory")} for run in found] for side, found in runs.items()
                },
                "speed_ratio": round(speed, 2),
                "memory_part": round(memory, 3),
                "cores": len(os.sched_getaffinity(0)),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "clip_benchmark": metadata.version("clip_benchmark"),
            }
        )
    )


if __name__ == "__main__":
    main()
