"""How time and memory grow with the number of rows, and what a second process brings.

What, each size in a process of its own so that its memory can be told:

- retrieval: `retrieval_ranks` both ways, five captions for each picture, 512 wide, at 10,000 and 100,000 captions; and
  1,000,000 captions of 20,000 pictures, since all 200,000 would take ten times as long (`--largest` takes them).
  The work is pictures x captions: seconds for 10^9 pairs should stay the same, and memory beyond the embeddings be
  that of a block and of the ranks. Before, 1,000 captions are ranked by the whole matrix in fp64, too: the ranks must
  be equal.
- store: 10,000, 100,000 and 1,000,000 rows of 512 bf16 numbers, a KiB each, are written to the store of features, read
  in order as `coca eval` does, and by random rows as `coca probe` does. All that is read must be what was written. The
  files are in the system's cache: it is the store that is measured, not the disk. Every row's example is a file on
  disk, the same for all, whose state is looked at as ever; memory is told beyond the list of examples.
- processes: `coca embed` on JPEG files with coca_ViT-B-32 (random weights) by one process on one core, one on all, and
  by torchrun with a process for each core; the same command on two pictures tells how long it takes to start, which is
  subtracted. With one thread in each process the embeddings must be equal to the last digit.

Run: python benchmarks/scaling.py [--only retrieval|store|processes] [--largest] [--rounds 3] [--data DIR]

Rows, and a last line of JSON. `--size smoke` does retrieval and store on a few rows, in this process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import Row, ask_side, figure, parser, peak_memory, report, timed, value_row
from retrieval import embeddings
from torch import Tensor

from coca_cli.datasets.example import Example
from coca_cli.media.batches import Skipped
from coca_cli.tasks.feature_store import PART, FeatureStore, Part, parts_of
from coca_cli.tasks.features import Computing, features_of
from coca_cli.tasks.retrieval import retrieval_ranks, retrieval_scores
from coca_cli.tasks.token_features import TokenSource

WIDTH = 512
MIB = 2**20
KINDS = ("retrieval", "store", "processes")
PAIRS = {"smoke": [(100, 500), (200, 1_000)], "regular": [(2_000, 10_000), (20_000, 100_000), (20_000, 1_000_000)]}
"""Pictures and captions."""
LARGEST = (200_000, 1_000_000)
CHECKED = (200, 1_000)
STORED = {"smoke": [600, 1_200], "regular": [10_000, 100_000, 1_000_000]}
TAKEN, BATCHES = 512, 100
"""Random rows of a batch, and how many batches are read."""
PICTURES, START = 4 * PART, 2


def measure_retrieval(pictures: int, captions: int) -> dict[str, Any]:
    """One run in this process: seconds, memory beyond the embeddings in MiB, recalls."""
    data = embeddings(pictures, captions)
    retrieval_ranks(*embeddings(64, 128))  # libraries are loaded and threads started
    before, start = peak_memory(), time.perf_counter()
    ranks = retrieval_ranks(*data)
    seconds, grown = time.perf_counter() - start, peak_memory() - before
    recalls = {name: round(100 * found.value, 2) for name, found in retrieval_scores(ranks).items()}
    return {"seconds": seconds, "memory": grown / MIB, "process": peak_memory() / MIB, "recalls": recalls}


def check_retrieval(pictures: int, captions: int) -> dict[str, Any]:
    """Compare the ranks with those of the whole matrix, summed in fp64 and rounded as the ranks' definition has it."""
    images, texts, owner = embeddings(pictures, captions)
    ranks = retrieval_ranks(images, texts, owner, block=128)
    scores = (images.double() @ texts.double().T).float()
    mine = owner == torch.arange(pictures)[:, None]
    best = scores.masked_fill(~mine, -torch.inf).amax(dim=1)
    own = scores[owner, torch.arange(captions)]
    foreign = scores.masked_fill(mine, -torch.inf)
    assert torch.equal(ranks.image_to_text, (foreign >= best[:, None]).sum(dim=1) + 1)
    assert torch.equal(ranks.text_to_image, (foreign >= own).sum(dim=0) + 1)
    return {}


def stored_features(number: int, count: int) -> Tensor:
    """(count, D) bf16 of a part, the same each time."""
    generator = torch.Generator().manual_seed(number)
    return torch.randn(count, WIDTH, generator=generator).bfloat16()


def stored_examples(rows: int, folder: Path) -> list[Example]:
    """So many examples, whose picture is the same file."""
    file = folder / "picture.jpg"
    if not file.exists():  # its time must stay as it was written down
        file.touch()
    media = (file,)
    return [Example(f"{number:07}", media, number % 1000) for number in range(rows)]


def _never(*_: object) -> Any:
    raise AssertionError("all rows are in the store")


NEVER = Computing(read=_never, compute=_never, batch_size=PART)


def open_store(rows: int, folder: Path) -> FeatureStore:
    """The store of so many rows; what it warns of ends the run."""
    return FeatureStore(folder, {"rows": rows}, _never)


def write_rows(rows: int, folder: Path) -> dict[str, Any]:
    """Write all parts; making the features is not counted."""
    examples, store = stored_examples(rows, folder), open_store(rows, folder)
    before, seconds = peak_memory(), 0.0
    for number, members in enumerate(parts_of(examples)):
        part = Part(list(range(len(members))), stored_features(number, len(members)), {})
        start = time.perf_counter()
        store.write(number, members, part)
        seconds += time.perf_counter() - start
    return {"seconds": seconds, "memory": (peak_memory() - before) / MIB, "rows": rows}


def read_rows(rows: int, folder: Path) -> dict[str, Any]:
    """Read all rows in order into one matrix."""
    examples, store = stored_examples(rows, folder), open_store(rows, folder)
    before, start = peak_memory(), time.perf_counter()
    found = features_of(examples, store, NEVER, Skipped()).features
    seconds, grown = time.perf_counter() - start, peak_memory() - before
    for number, part in enumerate(found.split(PART)):
        assert torch.equal(part, stored_features(number, len(part))), f"part {number} is not what was written"
    return {"seconds": seconds, "memory": grown / MIB, "rows": rows}


def take_rows(rows: int, folder: Path) -> dict[str, Any]:
    """Open the store as a probe does, then read batches of random rows."""
    examples, store = stored_examples(rows, folder), open_store(rows, folder)
    source, before, start = TokenSource(store, NEVER), peak_memory(), time.perf_counter()
    found = source.read(examples, Skipped())
    opened, held = time.perf_counter() - start, peak_memory() - before
    random = np.random.default_rng(0)
    batches = [random.integers(0, rows, TAKEN).tolist() for _ in range(BATCHES)]
    seconds = timed(lambda: [found.take(batch) for batch in batches])
    for row, features in zip(batches[0], found.take(batches[0]), strict=True):
        count = min(PART, rows - row // PART * PART)
        assert torch.equal(features, stored_features(row // PART, count)[row % PART]), f"row {row} is another one"
    return {"seconds": seconds, "memory": held / MIB, "rows": TAKEN * BATCHES, "opened": opened}


def write_model(folder: Path) -> None:
    """A model folder with random weights."""
    from models import REGULAR

    from coca_cli.model.architectures import architectures
    from coca_cli.model.checkpoint import save_folder
    from coca_cli.model.coca import CoCa
    from coca_cli.model.tokenizer import ClipTokenizer

    config = architectures()[REGULAR]
    torch.manual_seed(0)
    save_folder(folder, CoCa(config), ClipTokenizer(config.text.context), REGULAR)


def embed(processes: int, threads: int, pictures: Path, folder: Path) -> dict[str, Any]:
    """Run `coca embed` on a folder of pictures, as so many processes; memory is that of the largest."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    output = folder / f"{pictures.name}-{processes}-{threads}.npz"
    words = [sys.executable, *(launcher if processes > 1 else []), "-m", "coca_cli", "embed", str(pictures), "--quiet"]
    words += ["-m", str(folder / "model"), "-o", str(output), "--overwrite", "--no-cache"]
    if processes * threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # else pictures are decoded by another core
    start = time.perf_counter()
    done = subprocess.run(
        words, env=os.environ | {"OMP_NUM_THREADS": str(threads)}, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"coca embed: exit code {done.returncode}\n{done.stderr[-3000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return {"seconds": seconds, "memory": peak / MIB, "output": str(output)}


SIDES: dict[str, Callable[..., dict[str, Any]]] = {
    "check": lambda pictures, captions, _: check_retrieval(int(pictures), int(captions)),
    "retrieval": lambda pictures, captions, _: measure_retrieval(int(pictures), int(captions)),
    "write": lambda rows, folder: write_rows(int(rows), folder),
    "read": lambda rows, folder: read_rows(int(rows), folder),
    "take": lambda rows, folder: take_rows(int(rows), folder),
    "embed": lambda processes, threads, name, folder: embed(int(processes), int(threads), folder / name, folder),
}


def run_side(options: argparse.Namespace) -> dict[str, Any]:
    """One run of a side such as "retrieval 2000 10000", in this process."""
    name, *values = options.side.split()
    return SIDES[name](*values, options.folder)


def ask(words: str, options: argparse.Namespace) -> dict[str, Any]:
    """The same in a process of its own; where only the run matters, in this one."""
    return ask_side(__file__, words, options, run_side)


def retrieval_rows(options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Seconds for 10^9 pairs at each size."""
    ask("check {} {}".format(*CHECKED), options)
    sizes = [LARGEST] if options.largest else PAIRS[options.size]
    rows, told = [], {}
    for pictures, captions in sizes:
        rounds = 1 if captions >= 1_000_000 else options.rounds
        runs = [ask(f"retrieval {pictures} {captions}", options) for _ in range(rounds)]
        scale = 1e9 / (pictures * captions)
        seconds = statistics.median(run["seconds"] for run in runs)
        memory = max(run["memory"] for run in runs)
        rows.append(
            value_row(
                f"recall both ways, 10^9 pairs of {pictures:,} pictures and {captions:,} captions",
                "the same at other sizes",
                [run["seconds"] * scale for run in runs],
                unit="s",
                at_least=False,
                equal="ranks of 1,000 captions are those of the whole matrix in fp64",
                detail=f"{figure(seconds)} s in all, {memory:.0f} MiB beyond the embeddings",
            )
        )
        told[f"{pictures} x {captions}"] = runs
    return rows, told


WHAT = {"write": "rows written", "read": "rows read in order", "take": "random rows read"}


def store_rows(options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Rows in a second at each size: written, read in order, read at random."""
    rows, told = [], {}
    for size in STORED[options.size]:
        rounds = 1 if size >= 1_000_000 else options.rounds
        runs = [{side: ask(f"{side} {size}", options) for side in WHAT} for _ in range(rounds)]
        for side, what in WHAT.items():
            found = [run[side] for run in runs]
            opened = f", {figure(found[0]['opened'])} s to open" if side == "take" else ""
            memory = max(run["memory"] for run in found)
            rows.append(
                value_row(
                    f"{what}, a store of {size:,}",
                    "the same at other sizes",
                    [run["rows"] / run["seconds"] for run in found],
                    unit="rows",
                    equal="what is read is what was written",
                    detail=f"{memory:.0f} MiB beyond the examples{opened}",
                )
            )
        told[str(size)] = runs
    return rows, told


def processes_rows(options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Pictures in a second by one thread, by one process with all threads, by a process for each core."""
    from pictures import jpeg_files

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    write_model(options.folder / "model")
    jpeg_files(options.data, options.folder / "all", PICTURES)
    jpeg_files(options.data, options.folder / "start", START)
    ways = [(1, 1), (1, cores), (cores, 1)]
    runs: dict[tuple[int, int], list[dict[str, Any]]] = {way: [] for way in ways}
    starts: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way in ways:
            starts[way].append(ask("embed {} {} start".format(*way), options)["seconds"])
            runs[way].append(ask("embed {} {} all".format(*way), options))
    told = {f"{processes} x {threads}": runs[processes, threads] for processes, threads in ways}
    alone, threaded, together = (np.load(runs[way][0]["output"]) for way in ways)
    for key in ("ids", "embeddings"):
        assert np.array_equal(alone[key], together[key]), f"{cores} processes write other {key} than one"
    apart = float(np.abs(alone["embeddings"] - threaded["embeddings"]).max())
    rows = []
    for way in ways:
        start = statistics.median(starts[way])
        peak = max(run["memory"] for run in runs[way])
        whole = statistics.median(run["seconds"] for run in runs[way])
        same = f"{apart:.0e} at most from one thread" if way == (1, cores) else "equal with one thread in each process"
        rows.append(
            value_row(
                "coca embed, processes x threads: {} x {}".format(*way),
                "the same at other sizes",
                [(PICTURES - START) / (run["seconds"] - start) for run in runs[way]],
                unit="pictures",
                equal=same,
                detail=f"{figure(whole)} s in all, {figure(start)} s to start, {peak:.0f} MiB in the largest process",
            )
        )
    return rows, told


def main(arguments: Sequence[str] | None = None) -> None:
    found = parser(__doc__)
    found.add_argument("--only", choices=KINDS, help="one of the three")
    found.add_argument("--largest", action="store_true", help="200,000 pictures and 1,000,000 captions, alone")
    found.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = found.parse_args(arguments)
    if options.side:
        print(json.dumps(run_side(options)))
        return
    measures = {"retrieval": retrieval_rows, "store": store_rows, "processes": processes_rows}
    kinds = ["retrieval"] if options.largest else [options.only] if options.only else list(KINDS)
    if options.size == "smoke":
        kinds = [kind for kind in kinds if kind != "processes"]
    rows: list[Row] = []
    runs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        for kind in kinds:
            more, told = measures[kind](options)
            rows += more
            runs[kind] = told
    report("scaling", options, rows, runs=runs)


if __name__ == "__main__":
    main()
