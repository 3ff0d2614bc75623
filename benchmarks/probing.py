"""What features that are kept save a probe: a sweep of heads on them, against each head with the encoder in the loop.

What: coca_ViT-B-32 (random weights), crops of scikit-learn's two photographs with made-up classes, attentional heads.
Kept: the tokens of all pictures are computed once, then 8 heads are trained side by side for 20 epochs. In the loop:
each batch goes through the encoder, and heads are trained one after the other. That would take 160 passes over the
pictures; `--measured` of them are run, and the time of all follows from theirs. First one epoch of one head is trained
both ways: the weights must be the same within 1e-4.

    python benchmarks/probing.py [--pictures 512] [--epochs 20] [--rounds 2] [--measured 1]

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterable, Iterator

import numpy as np
import open_clip
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from coca_cli.datasets.example import Example, Pixels
from coca_cli.model.coca import CoCa
from coca_cli.model.loaded import Loaded
from coca_cli.model.open_clip_config import open_clip_config
from coca_cli.model.placement import Placed, place
from coca_cli.model.task_head import TaskHead
from coca_cli.model.tokenizer import ClipTokenizer
from coca_cli.options import FeatureChoice
from coca_cli.progress import Reporter
from coca_cli.tasks.token_features import FeatureSet, encode_tokens
from coca_cli.training.head_sweep import HeadBatch, HeadRecipe, Setting, train_heads
from coca_cli.training.mixture import mix_task
from coca_cli.training.probe_data import KeptTokens
from coca_cli.world import SINGLE

MODEL, CLASSES, BATCH = "coca_ViT-B-32", 10, 64
SETTINGS = [Setting(rate, decay) for rate in (5e-4, 1e-3, 2e-3, 5e-3) for decay in (0.0, 0.01)]
QUIET = Reporter(quiet=True)


def crops(count: int, size: int) -> Tensor:
    """(count, 3, size, size) uint8: random crops of the two photographs."""
    whole = [Image.fromarray(array) for array in load_sample_images().images]
    random = np.random.default_rng(0)
    found = []
    for number in range(count):
        picture = whole[number % 2]
        side = int(random.integers(120, 400))
        left, top = int(random.integers(0, picture.width - side)), int(random.integers(0, picture.height - side))
        crop = picture.crop((left, top, left + side, top + side)).resize((size, size))
        found.append(np.asarray(crop).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(found))


def placed_model(precision: str) -> Placed:
    config = open_clip_config(open_clip.get_model_config(MODEL))
    torch.manual_seed(0)
    model = CoCa(config)
    return place(Loaded(model, ClipTokenizer(config.text.context), config.image, MODEL, ""), "cpu", precision)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--measured", type=int, default=1, help="passes with the encoder in the loop that are run")
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    placed = placed_model(options.precision)
    assert isinstance(placed.model, CoCa)
    pixels = crops(options.pictures, placed.image.size)
    labels = torch.arange(options.pictures) % CLASSES
    vision = placed.model.config.vision

    def build() -> TaskHead:
        return TaskHead(vision.width, vision.heads, CLASSES, norm_inputs=True)

    def encode(rows: Iterable[int]) -> Tensor:
        return encode_tokens(placed, FeatureChoice.patches, pixels[torch.tensor(list(rows))])

    nothing = Pixels(np.zeros((1, 1, 3), np.uint8), "a crop")
    examples = [Example(str(number), (nothing,), int(label)) for number, label in enumerate(labels)]

    def kept() -> Iterator[HeadBatch]:
        parts = [range(start, min(start + BATCH, len(labels))) for start in range(0, len(labels), BATCH)]
        return KeptTokens("crops", FeatureSet(examples, [encode(part) for part in parts])).batches(BATCH, 0, SINGLE)

    def fresh() -> Iterator[HeadBatch]:
        mixture = mix_task("crops", examples, 0)
        while True:
            rows = [row.feed.index(row.number) for row in mixture.next_batch(BATCH)]
            yield HeadBatch(encode(rows), labels[torch.tensor(rows)])

    def train(batches: Iterator[HeadBatch], settings: list[Setting], epochs: int) -> list[TaskHead]:
        recipe = HeadRecipe(steps=max(1, epochs * options.pictures // BATCH), batch_size=BATCH)
        return train_heads(build, settings, batches, recipe, QUIET)

    (one,), (other,) = train(kept(), SETTINGS[:1], 1), train(fresh(), SETTINGS[:1], 1)
    worst = max((a - b).abs().max().item() for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert worst < 1e-4, f"heads differ by {worst:.1e}"
    print(f"heads from kept and from fresh features differ by {worst:.1e} at most")
    passes = options.epochs * len(SETTINGS)
    sweeps: list[float] = []
    loops: list[float] = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        train(kept(), SETTINGS, options.epochs)
        sweeps.append(time.perf_counter() - start)
        start = time.perf_counter()
        train(fresh(), SETTINGS[:1], options.measured)
        loops.append((time.perf_counter() - start) * passes / options.measured)
    sweep, loop = statistics.median(sweeps), statistics.median(loops)
    print(f"kept: {sweep:8.1f} s for features and {len(SETTINGS)} heads of {options.epochs} epochs")
    print(f"in the loop: {loop:8.1f} s, from {options.measured} of {passes} passes")
    print(f"ratio {loop / sweep:.1f}")
    print(
        json.dumps(
            {
                "benchmark": "probing",
                "model": MODEL,
                "precision": placed.precision,
                "pictures": options.pictures,
                "epochs": options.epochs,
                "heads": len(SETTINGS),
                "seconds": {"kept": sweeps, "in the loop": loops},
                "ratio": round(loop / sweep, 2),
                "difference": worst,
                "cores": len(os.sched_getaffinity(0)),
                "python": platform.python_version(),
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
