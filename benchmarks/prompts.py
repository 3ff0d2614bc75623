"""How quickly class prompts become text embeddings, against open_clip.

What: 2,000 prompts drawn from ImageNet's 80,000 (1,000 class names in 80 templates) through coca_ViT-B-32 with the
same random weights on both sides. open_clip runs its encode_text under CPU autocast (bf16), as CLIP_benchmark and
open_clip's own evaluation do; coca runs `embed_texts` with bf16 weights: texts of one length together, no padding
computed, the last block for [CLS] alone.

First the outputs are compared: in fp32 both sides must agree within 1e-4; in bf16 each must stay near fp32 (cosine at
least 0.999). Then both are timed in turn, and the medians and their ratio are printed. The last line is JSON.

Run: python benchmarks/prompts.py [--prompts 2000] [--rounds 3] [--batch 80]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from coca_cli.datasets.example import Prompts
from coca_cli.datasets.open_clip_metadata import imagenet_prompts
from coca_cli.model.loaded import LoadedCoCa
from coca_cli.model.open_clip_config import open_clip_config
from coca_cli.model.open_clip_weights import from_open_clip
from coca_cli.model.placement import Placed, place
from coca_cli.model.tokenizer import ClipTokenizer
from coca_cli.model.weights import build_coca
from coca_cli.tasks.embedding import embed_texts
from coca_cli.tasks.zeroshot import write_prompts

MODEL = "coca_ViT-B-32"


def build_both() -> tuple[torch.nn.Module, Callable[[str], Placed]]:
    torch.manual_seed(0)
    theirs = open_clip.create_model(MODEL).eval()
    with torch.no_grad():  # open_clip leaves the vocabulary head as uninitialised memory
        theirs.text_decoder.text_projection.normal_(std=0.02)
    config = open_clip_config(open_clip.get_model_config(MODEL))
    weights = from_open_clip(theirs.state_dict(), config)

    def ours(precision: str) -> Placed:
        model = build_coca(config, {name: value.clone() for name, value in weights.items()}, None, MODEL)
        return place(LoadedCoCa(model, ClipTokenizer(config.text.context), MODEL).ready(), "cpu", precision)

    return theirs, ours


def open_clip_embeddings(model: torch.nn.Module, tokens: Tensor, batch: int, autocast: bool) -> Tensor:
    with torch.no_grad(), torch.autocast("cpu", enabled=autocast):
        return torch.cat([F.normalize(model.encode_text(part), dim=-1).float() for part in tokens.split(batch)])


def timed(run: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=80, help="open_clip's batch: 80 is one class in all templates")
    options = parser.parse_args()

    names, templates = imagenet_prompts()
    everything = write_prompts(Prompts(names, templates))
    chosen = np.random.default_rng(0).permutation(len(everything))[: options.prompts]
    texts = [everything[i] for i in chosen]
    theirs, ours = build_both()
    tokenizer = open_clip.get_tokenizer(MODEL)

    few = texts[:200]
    exact = open_clip_embeddings(theirs, tokenizer(few), options.batch, autocast=False)
    difference = (embed_texts(ours("fp32"), few) - exact).abs().max().item()
    assert difference < 1e-4, f"fp32 embeddings differ by {difference}"
    fast = ours("bf16")
    ours_cosine = F.cosine_similarity(embed_texts(fast, few), exact).min().item()
    their_cosine = (
        F.cosine_similarity(open_clip_embeddings(theirs, tokenizer(few), options.batch, True), exact).min().item()
    )
    assert min(ours_cosine, their_cosine) > 0.999, (ours_cosine, their_cosine)
    print(
        f"equal outputs: fp32 differ by {difference:.1e}; cosine to fp32 {ours_cosine:.5f} (coca bf16), "
        f"{their_cosine:.5f} (open_clip autocast)"
    )

    seconds: dict[str, list[float]] = {"open_clip": [], "coca": []}
    for _ in range(options.rounds):
        seconds["open_clip"].append(timed(lambda: open_clip_embeddings(theirs, tokenizer(texts), options.batch, True)))
        seconds["coca"].append(timed(lambda: embed_texts(fast, texts)))
    medians = {side: statistics.median(times) for side, times in seconds.items()}
    ratio = medians["open_clip"] / medians["coca"]
    for side, times in seconds.items():
        listed = ", ".join(f"{t:.1f}" for t in times)
        print(f"{side:10} {options.prompts / medians[side]:8.1f} prompts/s   (seconds: {listed})")
    print(f"ratio      {ratio:8.1f}")
    print(
        json.dumps(
            {
                "benchmark": "prompts",
                "model": MODEL,
                "prompts": options.prompts,
                "open_clip_batch": options.batch,
                "open_clip_seconds": seconds["open_clip"],
                "coca_seconds": seconds["coca"],
                "ratio": round(ratio, 2),
                "cores": len(os.sched_getaffinity(0)),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "open_clip": open_clip.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
