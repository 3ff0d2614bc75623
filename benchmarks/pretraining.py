"""How quickly a CoCa learns and in how much memory, against open_clip's model and loss.

What: training steps of coca_ViT-B-32 (253M parameters) on real captions and pictures, batch 32, AdamW, both losses of
the paper with weights 1 and 2; both sides begin with the same weights and see the same batches. open_clip runs its CoCa
and CoCaLoss as its own training loop does (texts at their full 76 positions; autocast for bf16). coca runs the steps of
`coca pretrain`. Pictures are decoded before the clock starts, on both sides.

First the outputs are compared: the losses of the first steps must be equal in fp32 (within 1e-3) and close in bf16.
Each side then runs in a process of its own, in turn, so that its peak memory can be told: the resident set of the
process at its highest. Medians, their ratio and the memory are printed; the last line is JSON.

Run: python benchmarks/pretraining.py --data 'SHARDS' [--model coca_ViT-B-32] [--batch 32] [--steps 3] [--rounds 2]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import open_clip
import torch
from open_clip.loss import CoCaLoss
from safetensors.torch import load_file, save_file

from coca_cli.datasets.sources import find_source
from coca_cli.media.images import normalise
from coca_cli.model.coca import CoCa
from coca_cli.model.open_clip_config import open_clip_config
from coca_cli.model.open_clip_weights import from_open_clip
from coca_cli.model.tokenizer import ClipTokenizer
from coca_cli.options import OptimizerChoice
from coca_cli.training.augment import Augmentation
from coca_cli.training.batches import TrainingBatch, training_batches
from coca_cli.training.heap import choose_heap
from coca_cli.training.mixture import Feed, Mixture
from coca_cli.training.objective import Objective, Part, Weights, backward, pack_texts
from coca_cli.training.optim import build_optimizer, clip_gradients
from coca_cli.world import SINGLE

RATE = 1e-4
CONTEXT = 76


def read_batches(options: argparse.Namespace, count: int) -> list[TrainingBatch]:
    settings = open_clip_config(open_clip.get_model_config(options.model)).image
    feed = Feed(find_source(options.data, Path("data")), 0, 0, limit=options.batch * count)
    stream = training_batches(Mixture([feed], [1.0], 0), Augmentation().view(settings), batch_size=options.batch)
    return list(itertools.islice(stream, count))


def open_clip_steps(options: argparse.Namespace, weights: Path, batches: list[TrainingBatch]) -> list[list[float]]:
    """Seconds and total loss of each step."""
    model = open_clip.create_model(options.model)
    model.load_state_dict(load_file(weights))
    model.train()
    loss = CoCaLoss(caption_loss_weight=2.0, clip_loss_weight=1.0, pad_id=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.999), weight_decay=0.0)
    tokenizer = open_clip.get_tokenizer(options.model)
    settings = open_clip_config(open_clip.get_model_config(options.model)).image
    found = []
    for batch in batches:
        start = time.perf_counter()
        tokens = tokenizer(batch.captions)[:, :CONTEXT]
        images = normalise(batch.pixels, settings)
        optimizer.zero_grad()
        with torch.autocast("cpu", enabled=options.precision == "bf16"):
            losses = loss(**model(images, tokens), output_dict=True)
            total = sum(losses.values())
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        found.append([time.perf_counter() - start, total.item()])
    return found


def coca_steps(options: argparse.Namespace, weights: Path, batches: list[TrainingBatch]) -> list[list[float]]:
    """Seconds and total loss of each step."""
    config = open_clip_config(open_clip.get_model_config(options.model))
    model = CoCa(config)
    choose_heap(sum(parameter.numel() for parameter in model.parameters()))  # as `coca pretrain` begins
    model.load_state_dict(from_open_clip(load_file(weights), config))
    model.train()
    objective = Objective(model, mixed=options.precision == "bf16")
    optimizer = build_optimizer(model, OptimizerChoice.adamw, RATE, 0.0)
    tokenizer = ClipTokenizer(CONTEXT)
    found = []
    for batch in batches:
        start = time.perf_counter()
        part = Part(batch.pixels, pack_texts(model, tokenizer.encode(batch.captions)))
        optimizer.zero_grad(set_to_none=True)
        losses = backward(objective, [part], model.pad_id, Weights(), SINGLE)
        clip_gradients(model, 1.0)
        optimizer.step()
        found.append([time.perf_counter() - start, losses.total])
    return found


def run_side(options: argparse.Namespace) -> None:
    """In a process of its own: steps, then its peak memory; JSON on stdout."""
    batches = read_batches(options, options.steps + 1)
    steps = {"open_clip": open_clip_steps, "coca": coca_steps}[options.side](options, Path(options.weights), batches)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": [s for s, _ in steps], "losses": [x for _, x in steps], "peak": peak}))


def ask_side(options: argparse.Namespace, side: str, precision: str, weights: Path) -> dict[str, list[float]]:
    words = ["--side", side, "--precision", precision, "--weights", str(weights), "--data", options.data]
    words += ["--model", options.model, "--batch", str(options.batch), "--steps", str(options.steps)]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(options: argparse.Namespace, precision: str, weights: Path) -> dict[str, object]:
    sides: dict[str, list[dict[str, list[float]]]] = {"open_clip": [], "coca": []}
    for _ in range(options.rounds):
        for side, runs in sides.items():
            runs.append(ask_side(options, side, precision, weights))
    differences = [abs(a - b) for a, b in zip(sides["open_clip"][0]["losses"], sides["coca"][0]["losses"], strict=True)]
    allowed = 1e-3 if precision == "fp32" else 0.1
    assert max(differences) < allowed, f"{precision} losses differ by {max(differences)}"
    print(f"{precision}: losses of {len(differences)} steps differ by at most {max(differences):.1e}")
    # The first step of each process warms up and does not count.
    seconds = {side: [s for run in runs for s in run["seconds"][1:]] for side, runs in sides.items()}
    medians = {side: statistics.median(times) for side, times in seconds.items()}
    peaks = {side: max(run["peak"] for run in runs) for side, runs in sides.items()}
    for side, times in seconds.items():
        listed = ", ".join(f"{t:.1f}" for t in times)
        print(f"{side:10} {options.batch / medians[side]:8.2f} pairs/s  {peaks[side] / 2**30:6.2f} GiB  (s: {listed})")
    ratio, memory = medians["open_clip"] / medians["coca"], peaks["coca"] / peaks["open_clip"]
    print(f"ratio      {ratio:8.2f}          {memory:6.0%}")
    return {
        "ratio": round(ratio, 2),
        "memory": round(memory, 3),
        "open_clip_seconds": seconds["open_clip"],
        "coca_seconds": seconds["coca"],
        "open_clip_peak": peaks["open_clip"],
        "coca_peak": peaks["coca"],
        "largest_difference": max(differences),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="scenes", help="training data as for coca pretrain")
    parser.add_argument("--model", default="coca_ViT-B-32")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3, help="measured steps of each process")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="without it both")
    parser.add_argument("--side", choices=["open_clip", "coca"], help=argparse.SUPPRESS)
    parser.add_argument("--weights", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options)
        return

    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "start.safetensors"
        torch.manual_seed(0)
        start = open_clip.create_model(options.model).state_dict()
        start["text_decoder.text_projection"].normal_(std=0.02)  # open_clip leaves it as uninitialised memory
        save_file({name: value.contiguous().clone() for name, value in start.items()}, weights)
        del start
        precisions = [options.precision] if options.precision else ["fp32", "bf16"]
        found = {precision: compare(options, precision, weights) for precision in precisions}
    print(
        json.dumps(
            {
                "benchmark": "pretraining",
                "model": options.model,
                "batch": options.batch,
                "cores": len(os.sched_getaffinity(0)),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "open_clip": open_clip.__version__,
                **found,
            }
        )
    )


if __name__ == "__main__":
    main()
