"""How quickly captions are written, against open_clip 3.3.0's default `generate`, and against no cache.

What: 16 photographs, coca_ViT-B-32 with the same random weights on both sides, 30 positions, open_clip's own search
(`--decoding open-clip-3.3` here). open_clip 3.3.0 needs transformers 4, which a current installation no longer has, so
it runs beside this environment with an older one:

    pip install --target theirs 'transformers==4.49.0'
    python benchmarks/captions.py --transformers theirs [--rounds 3] [--pictures FOLDER] [--count 16]
    python benchmarks/captions.py --beams 5

The second line runs our own beam search, with and without a cache. What a cache gains grows with the texts that a step
has (beams times pictures): products of few rows leave a CPU waiting for the weights.

First the captions are compared: in fp32 they must be the same, token by token; of bf16 the share of equal captions is
printed. Then each side runs in a process of its own, in turn, from pixels to tokens, so that its peak memory can be
told. Without --transformers only the search without a cache is run beside ours. The last line is JSON.

The weights are random, so a caption hardly ever ends before its 30 positions.
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
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

MODEL, SIZE = "coca_ViT-B-32", 224
SIDES = ("open_clip", "coca fp32", "coca bf16", "coca fp32, no cache")


def photographs(folder: Path | None, count: int) -> Tensor:
    """(count, 3, 224, 224) uint8: the first pictures of a folder, or crops of scikit-learn's two photographs."""
    if folder is not None:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))[:count]
        pictures = [Image.open(file).convert("RGB").resize((SIZE, SIZE)) for file in files]
    else:
        whole = [Image.fromarray(array) for array in load_sample_images().images]
        corners = [(x, y) for x in range(0, 416, 830 // count + 1) for y in (0, 200)]
        pictures = [picture.crop((x, y, x + SIZE, y + SIZE)) for x, y in corners for picture in whole][:count]
    assert len(pictures) == count, f"{len(pictures)} pictures, {count} are wanted"
    return torch.from_numpy(np.stack([np.asarray(p).transpose(2, 0, 1) for p in pictures]))


def their_model() -> Any:
    """open_clip's model with weights so large that every picture has captions of its own."""
    torch.manual_seed(0)
    model = open_clip.create_model(MODEL).eval()
    with torch.no_grad():
        model.text_decoder.text_projection.normal_(std=0.5)
        for name, parameter in model.named_parameters():
            if "cross_attn" in name and parameter.ndim > 1:
                parameter.mul_(4)
    return model


def normalised(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(v)[:, None, None] for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    return (pixels / 255 - mean) / std


def run_side(side: str, pictures: Path | None, count: int, beams: int | None) -> dict[str, Any]:
    """In a process of its own: a caption to warm up, then all; seconds, tokens and peak memory."""
    pixels = photographs(pictures, count)
    if side == "open_clip":
        model = their_model()

        def write(part: Tensor) -> list[list[int]]:
            tokens: list[list[int]] = model.generate(normalised(part)).tolist()
            return tokens
    else:
        write = our_writer(side, beams)
    write(pixels[:1])
    start = time.perf_counter()
    tokens = write(pixels)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "tokens": tokens, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def our_writer(side: str, beams: int | None) -> Any:
    from coca_cli.media.images import normalise
    from coca_cli.model.decoding import write_captions
    from coca_cli.model.decoding_cache import DecodingCache
    from coca_cli.model.decoding_terms import Decoding
    from coca_cli.model.loaded import LoadedCoCa
    from coca_cli.model.open_clip_config import open_clip_config
    from coca_cli.model.open_clip_weights import from_open_clip
    from coca_cli.model.placement import place
    from coca_cli.model.tokenizer import ClipTokenizer
    from coca_cli.model.weights import build_coca
    from coca_cli.options import DecodingMethod

    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.model.uncached import Uncached

    config = open_clip_config(open_clip.get_model_config(MODEL))
    model = build_coca(config, from_open_clip(their_model().state_dict(), config), None, MODEL)
    loaded = LoadedCoCa(model, ClipTokenizer(config.text.context), MODEL).ready()
    placed = place(loaded, "cpu", "bf16" if "bf16" in side else "fp32")
    build = Uncached if "no cache" in side else DecodingCache
    decoding = Decoding(beams=beams) if beams else Decoding(method=DecodingMethod.open_clip)
    tokenizer = loaded.tokenizer

    def write(part: Tensor) -> list[list[int]]:
        with torch.inference_mode():
            images = placed.model.encode_image(normalise(part, placed.image).to(placed.dtype)).tokens
        found = write_captions(placed.model, images, tokenizer, decoding, build=build)
        return [[tokenizer.bos_id, *captions[0].tokens] for captions in found]

    return write


def in_process(side: str, options: argparse.Namespace) -> dict[str, Any]:
    environment = dict(os.environ)
    if side == "open_clip":
        environment["PYTHONPATH"] = str(options.transformers.resolve())
    command = [sys.executable, "-W", "ignore", __file__, "--side", side, "--count", str(options.count)]
    command += ["--pictures", str(options.pictures)] if options.pictures else []
    command += ["--beams", str(options.beams)] if options.beams else []
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def same(ours: list[list[int]], theirs: list[list[int]], end: int = 49407) -> int:
    """How many captions are equal up to their end."""

    def cut(row: list[int]) -> list[int]:
        return row[: row.index(end)] if end in row else row

    return sum(cut(a) == cut(b) for a, b in zip(ours, theirs, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transformers", type=Path, help="a folder with transformers 4.49")
    parser.add_argument("--pictures", type=Path, help="a folder with so many pictures")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--beams", type=int, help="our own search in place of open_clip's; without --transformers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(run_side(options.side, options.pictures, options.count, options.beams)))
        return
    if options.beams and options.transformers:
        parser.error("--beams is another search than open_clip's: leave --transformers out")
    count = options.count
    sides = SIDES if options.transformers else SIDES[1:]
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(options.rounds):
        for side in sides:
            runs[side].append(in_process(side, options))
    tokens = {side: found[0]["tokens"] for side, found in runs.items()}
    wanted = tokens[sides[0]]
    assert same(tokens["coca fp32"], wanted) == count, "captions differ in fp32"
    assert same(tokens["coca fp32, no cache"], wanted) == count, "captions without a cache differ"
    different = len({tuple(row) for row in wanted})
    print(f"equal captions: fp32 {count} of {count}, bf16 {same(tokens['coca bf16'], wanted)}; {different} differ")
    medians = {side: statistics.median(run["seconds"] for run in found) for side, found in runs.items()}
    peaks = {side: max(run["peak"] for run in found) for side, found in runs.items()}
    for side, found in runs.items():
        listed = ", ".join(f"{run['seconds']:.2f}" for run in found)
        print(f"{side:20} {medians[side] / count:8.3f} s a caption  {peaks[side] / 2**30:5.2f} GiB  (s: {listed})")
    ratios = {f"{slow} / {fast}": medians[slow] / medians[fast] for slow in sides for fast in sides[:3] if slow != fast}
    for name, ratio in ratios.items():
        if name.startswith(("open_clip", "coca fp32, no cache / coca fp32")):
            print(f"{name:40} {ratio:8.1f}")
    print(
        json.dumps(
            {
                "benchmark": "captions",
                "model": MODEL,
                "pictures": count,
                "search": f"{options.beams} beams" if options.beams else "open-clip-3.3",
                "seconds": {side: [run["seconds"] for run in found] for side, found in runs.items()},
                "peak": peaks,
                "equal_bf16": same(tokens["coca bf16"], wanted),
                "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
                "cores": len(os.sched_getaffinity(0)),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "open_clip": open_clip.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
