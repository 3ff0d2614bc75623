"""How quickly captions are written, against open_clip 3.3.0's default `generate`, and against no cache.

What: 16 photographs, coca_ViT-B-32 with the same random weights on both sides, 30 positions. The searches: open_clip's
own (`--decoding open-clip-3.3` here), and a true beam search with six beams of log-probabilities, which open_clip does
not have: its six beams are three equal groups of two. open_clip 3.3.0 needs transformers 4, which a new installation no
longer has, so it runs with an older one first on its path: --peers, see `make bench`. Without it only the searches
without a cache are run beside ours.

Both sides load the model from the same folder, as their users do.

First the captions are compared: open_clip's search must give its tokens, all of them, in fp32; searches without a cache
must give those with one; of bf16 the share of equal captions is told. Each side runs in a process of its own, in turn,
from pixels to tokens, so that its peak memory can be told.

    python benchmarks/captions.py [--data FOLDER] [--peers FOLDER] [--count 16] [--beams 3] [--rounds 3]

Where the processor has no products of bf16, `--precision auto` is fp32, and nothing is run in bf16.

What a cache gains grows with the texts that a step has (beams times pictures): --beams is the search that is run with
and without one. The weights are random, so a caption hardly ever ends before its 30 positions.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from measuring import Row, ask_side, has_bf16, parser, peak_memory, ratio_row, report, timed, value_row
from models import model_name, write_model
from pictures import jpeg_files
from PIL import Image
from torch import Tensor

from coca_cli.media.images import OPENAI_MEAN, OPENAI_STD, normalise
from coca_cli.model.checkpoint import load
from coca_cli.model.decoding import write_captions
from coca_cli.model.decoding_cache import DecodingCache
from coca_cli.model.decoding_terms import Decoding
from coca_cli.model.placement import place
from coca_cli.options import DecodingMethod

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.model.uncached import Uncached

COCO = "coco_mini"
END = 49407
THEIRS = "open_clip"
Write = Callable[[Tensor], list[list[int]]]


def photographs(data: Path | None, count: int, size: int) -> Tensor:
    """(count, 3, size, size) uint8."""
    with tempfile.TemporaryDirectory() as folder:
        files = jpeg_files(data, Path(folder), count, COCO)
        arrays = [np.asarray(Image.open(file).convert("RGB").resize((size, size))) for file in files]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def their_writer(folder: Path) -> Write:
    model: Any = open_clip.create_model(f"local-dir:{folder}").eval()
    mean, std = (torch.tensor(v)[:, None, None] for v in (OPENAI_MEAN, OPENAI_STD))

    def write(pixels: Tensor) -> list[list[int]]:
        tokens: list[list[int]] = model.generate((pixels / 255 - mean) / std).tolist()
        return tokens

    return write


def our_writer(folder: Path, side: str) -> Write:
    """Of a side such as `fp32`, `bf16 6-beams` or `fp32 3-beams no-cache`."""
    precision, *words = side.split()
    beams = [int(word.removesuffix("-beams")) for word in words if word.endswith("-beams")]
    decoding = Decoding(beams=beams[0]) if beams else Decoding(method=DecodingMethod.open_clip)
    placed = place(load(str(folder)), "cpu", precision)
    build = Uncached if "no-cache" in words else DecodingCache

    def write(pixels: Tensor) -> list[list[int]]:
        with torch.inference_mode():
            images = placed.model.encode_image(normalise(pixels, placed.image).to(placed.dtype)).tokens
        found = write_captions(placed.model, images, placed.tokenizer, decoding, build=build)
        return [[placed.tokenizer.bos_id, *captions[0].tokens] for captions in found]

    return write


def run_side(options: argparse.Namespace) -> dict[str, Any]:
    """A caption to warm up, then all; seconds, tokens and peak memory."""
    size = 64 if options.size == "smoke" else 224
    pixels = photographs(options.data, options.count, size)
    write = their_writer(options.model) if options.side == THEIRS else our_writer(options.model, options.side)
    write(pixels[:1])
    tokens: list[list[int]] = []
    seconds = timed(lambda: tokens.extend(write(pixels)))
    return {"seconds": seconds, "tokens": tokens, "peak": peak_memory()}


def equal_captions(ours: list[list[int]], theirs: list[list[int]]) -> int:
    """How many are equal up to their end."""

    def cut(row: list[int]) -> list[int]:
        return row[: row.index(END)] if END in row else row

    return sum(cut(a) == cut(b) for a, b in zip(ours, theirs, strict=True))


def main(arguments: list[str] | None = None) -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--count", type=int, help="photographs; 16 unless told otherwise")
    options_parser.add_argument("--beams", type=int, default=3, help="of the search with and without a cache")
    options_parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    options = options_parser.parse_args(arguments)
    smoke = options.size == "smoke"
    options.count = options.count or (4 if smoke else 16)
    if options.side:
        print(json.dumps(run_side(options)))
        return
    cached = f"fp32 {options.beams}-beams"
    sides = [THEIRS] if options.peers else []
    sides += ["bf16", "bf16 6-beams"] if smoke or has_bf16() else []
    sides += ["fp32", "fp32 6-beams", cached, "fp32 no-cache", f"{cached} no-cache"]
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        options.model = Path(folder) / "model"
        write_model(options.model, options.size, sharp=True)
        for _ in range(options.rounds):
            for side, found in runs.items():
                found.append(ask_side(__file__, side, options, run_side, peers=side == THEIRS))
    report("captions", options, caption_rows(options, runs), peaks={side: peak(found) for side, found in runs.items()})


def peak(found: list[dict[str, Any]]) -> int:
    return max(int(run["peak"]) for run in found)


def caption_rows(options: argparse.Namespace, runs: dict[str, list[dict[str, Any]]]) -> list[Row]:
    count, smoke = options.count, options.size == "smoke"
    tokens = {side: found[0]["tokens"] for side, found in runs.items()}
    seconds = {side: [run["seconds"] for run in found] for side, found in runs.items()}
    exact = tokens["fp32"]
    for side in ("fp32", f"fp32 {options.beams}-beams"):
        assert equal_captions(tokens[f"{side} no-cache"], tokens[side]) == count, f"{side}: captions without a cache"
    different = len({tuple(row) for row in exact})
    assert different > count / 2, f"{different} different captions: equal ones would show nothing"
    name = f"captions of {count} photographs, {model_name(options.size)}"
    rows = []
    if options.peers:
        assert equal_captions(exact, tokens[THEIRS]) == count, "captions differ from open_clip's in fp32"
        peer = f"open_clip {open_clip.__version__}'s generate (fp32, transformers 4.49)"
        rounded = (
            f"{equal_captions(tokens['bf16'], exact)} of {count} captions are those of fp32" if "bf16" in runs else ""
        )
        equal = f"all {count} captions are its, token by token"
        unlike = "another search: its captions are not open_clip's"
        for side, search, told, aim in (
            ("bf16", "its search", rounded, 60),
            ("bf16 6-beams", "6 true beams", unlike, 30),
            ("fp32", "its search", equal, 25),
            ("fp32 6-beams", "6 true beams", unlike, None),
        ):
            if side not in seconds:
                continue
            what = f"{name}, {search}, {side.split()[0]}"
            target = None if smoke else aim
            rows.append(ratio_row(what, peer, seconds[THEIRS], seconds[side], target=target, equal=told))
        most = peak(runs[THEIRS])
        rows += [
            value_row(
                f"memory of it, its search, {precision}",
                peer,
                [100 * peak(runs[precision]) / most],
                unit="% of the memory of the process",
                target=None if smoke else 100,
                at_least=False,
                detail=f"{most / 2**30:.1f} GiB against {peak(runs[precision]) / 2**30:.1f} GiB",
            )
            for precision in ("bf16", "fp32")
            if precision in runs
        ]
    for side, search in (("fp32", "open_clip's search"), (f"fp32 {options.beams}-beams", f"{options.beams} beams")):
        rows.append(
            ratio_row(
                f"{name}, {search}, fp32",
                "the same search without a cache",
                seconds[f"{side} no-cache"],
                seconds[side],
                target=None if smoke else 10,
                equal="all captions equal",
            )
        )
    return rows


if __name__ == "__main__":
    main()
