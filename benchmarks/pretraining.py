"""How quickly a CoCa learns and in how much memory, against open_clip's model and loss.

What: training steps of coca_ViT-B-32 (253M parameters) on real captions and pictures, batch 32, AdamW, both losses of
the paper with weights 1 and 2; both sides begin with the same weights and see the same batches. open_clip runs its CoCa
and CoCaLoss as its own training loop does (texts at their full 76 positions; autocast for bf16). coca runs the steps of
`coca pretrain`. Pictures are decoded before the clock starts, on both sides.

The outputs are compared: the losses of the first steps must be equal in fp32 (within 1e-3) and close in bf16. Each
side runs in a process of its own, in turn, so that its peak memory can be told: the resident set of the process at its
highest.

    python benchmarks/pretraining.py [--data FOLDER] [--shards 'SHARDS'] [--batch 32] [--steps 3] [--rounds 2]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import open_clip
import torch
from measuring import Row, ask_side, parser, peak_memory, ratio_row, report, value_row
from models import model_name, their_model
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
RSICD = "rsicd/train-{0000..0008}.tar"
CONTEXT = 76


def read_batches(options: argparse.Namespace, count: int) -> list[TrainingBatch]:
    settings = open_clip_config(open_clip.get_model_config(model_name(options.size))).image
    feed = Feed(find_source(options.shards, Path("data")), 0, 0, limit=options.batch * count)
    stream = training_batches(Mixture([feed], [1.0], 0), Augmentation().view(settings), batch_size=options.batch)
    return list(itertools.islice(stream, count))


def open_clip_steps(options: argparse.Namespace, weights: Path, batches: list[TrainingBatch]) -> list[list[float]]:
    """Seconds and total loss of each step."""
    model = open_clip.create_model(model_name(options.size))
    model.load_state_dict(load_file(weights))
    model.train()
    loss = CoCaLoss(caption_loss_weight=2.0, clip_loss_weight=1.0, pad_id=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.999), weight_decay=0.0)
    tokenizer = open_clip.get_tokenizer(model_name(options.size))
    settings = open_clip_config(open_clip.get_model_config(model_name(options.size))).image
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
    config = open_clip_config(open_clip.get_model_config(model_name(options.size)))
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


def run_side(options: argparse.Namespace) -> dict[str, Any]:
    """Steps, then the peak memory."""
    batches = read_batches(options, options.steps + 1)
    steps = SIDES[options.side](options, options.weights, batches)
    return {"seconds": [s for s, _ in steps], "losses": [x for _, x in steps], "peak": peak_memory()}


SIDES = {"open_clip": open_clip_steps, "coca": coca_steps}


def compare(options: argparse.Namespace) -> list[Row]:
    """Speed and memory in one precision."""
    precision, smoke = options.precision, options.size == "smoke"
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(options.rounds):
        for side, found in runs.items():
            found.append(ask_side(__file__, side, options, run_side))
    theirs, ours = (found[0]["losses"] for found in runs.values())
    difference = max(abs(a - b) for a, b in zip(theirs, ours, strict=True))
    allowed = 1e-3 if precision == "fp32" else 0.1
    assert difference < allowed, f"{precision} losses differ by {difference}"
    # The first step of each process warms up and does not count.
    seconds = [[statistics.median(run["seconds"][1:]) for run in found] for found in runs.values()]
    name = model_name(options.size)
    what = f"pretraining step, {options.batch} pairs, {name}, {precision}"
    peer = f"open_clip {open_clip.__version__}'s CoCa and loss, {'autocast' if precision == 'bf16' else 'fp32'}"
    medians = [statistics.median(side) for side in seconds]
    told = " against ".join(f"{options.batch / one:.1f}" for one in medians) + " pairs/s"
    equal = f"losses of {len(ours)} steps differ by at most {difference:.0e}"
    aims = (None, None) if smoke else (2.0, 50.0)
    rows = [ratio_row(what, peer, *seconds, target=aims[0], equal=equal, detail=told)]
    if not smoke:  # there all runs in one process
        large, small = ([run["peak"] for run in found] for found in runs.values())
        parts = [100 * mine / whole for mine, whole in zip(small, large, strict=True)]
        told = f"{max(large) / 2**30:.1f} GiB against {max(small) / 2**30:.1f} GiB"
        unit = "% of the memory of the process"
        rows.append(
            value_row(f"memory of it, {what}", peer, parts, unit=unit, target=aims[1], at_least=False, detail=told)
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    options_parser = parser(__doc__, rounds=2)
    options_parser.add_argument("--shards", help="training data as for coca pretrain; without it RSICD below --data")
    options_parser.add_argument("--batch", type=int, help="32 unless told otherwise")
    options_parser.add_argument("--steps", type=int, help="measured steps of each process; 3 unless told otherwise")
    options_parser.add_argument("--precision", choices=["fp32", "bf16"], help="without it both")
    options_parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    options = options_parser.parse_args(arguments)
    smoke = options.size == "smoke"
    options.batch = options.batch or (8 if smoke else 32)
    options.steps = options.steps or (1 if smoke else 3)
    if options.shards is None:
        options.shards = "scenes" if options.data is None else str(options.data / RSICD)
    if options.side:
        print(json.dumps(run_side(options)))
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        options.weights = Path(folder) / "start.safetensors"
        start = their_model(model_name(options.size)).state_dict()
        save_file({name: value.contiguous().clone() for name, value in start.items()}, options.weights)
        del start
        for precision in [options.precision] if options.precision else ["fp32", "bf16"]:
            options.precision = precision
            rows += compare(options)
    report("pretraining", options, rows)


if __name__ == "__main__":
    main()
