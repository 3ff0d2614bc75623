"""How soon the program is at work: `coca --help`, and `coca eval zeroshot` up to its first batch of pictures.

What: `coca --help` and `clip_benchmark --help` as commands of their own; then `coca eval zeroshot --no-cache` and
`clip_benchmark eval` on the same webdataset (CIFAR-10's, or drawn pictures) with the same folder, in which open_clip's
configuration and weights of coca_ViT-B-32 lie (random ones; 1 GB). Two moments are told, in seconds after the process
was started: when the first encoder begins, that is, the model is there; and when the first 64 pictures are through the
ViT. CLIP_benchmark embeds its class prompts before that, coca after it. Both sides run with their own defaults, but for
CLIP_benchmark's number of workers: with more than its shards it stops.

A `sitecustomize` on the path of both sides wraps the encoders' forward methods when their modules are loaded. It writes
the times down and ends the process after the first pictures.

First the pixels of that batch are compared: they are the same up to the rounding of coca's number format.

Run: python benchmarks/starting.py [--rounds 5]
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import in_turn, parser, ratio_row, report, value_row
from models import write_model
from PIL import Image

BATCH = 64
ROUNDING = 2**-7
"""Of bf16, relative to the largest pixel value."""

WATCH = '''
"""Wraps encoders when their modules are loaded, and ends the process after the first pictures."""
import functools, importlib.machinery, json, os, sys, threading, time

WATCHED = {
    "open_clip.transformer": {"VisionTransformer": True, "TextTransformer": False},
    "coca_cli.model.vision": {"VisionTransformer": True},
    "coca_cli.model.text": {"UnimodalDecoder": False},
}
moments = {}
seen = []
lock = threading.Lock()


def wrap(kind, pictures):
    forward = kind.forward

    @functools.wraps(forward)
    def watched(self, x, *others, **named):
        moments.setdefault("ready", time.time())
        out = forward(self, x, *others, **named)
        if pictures:
            with lock:  # coca computes the halves of a batch beside each other
                seen.append(x)
                if sum(map(len, seen)) >= int(os.environ["COCA_PICTURES"]):
                    moments["batch"] = time.time()
                    end()
        return out

    kind.forward = watched


def end():
    if "COCA_KEEP" in os.environ:
        import numpy

        numpy.save(os.environ["COCA_KEEP"], numpy.concatenate([pixels.float().numpy() for pixels in seen]))
    with open(os.environ["COCA_MOMENTS"], "w") as file:
        json.dump(moments, file)
    os._exit(0)


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in WATCHED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            for kind, pictures in WATCHED[name].items():
                wrap(getattr(module, kind), pictures)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder)
'''


def draw_pictures(folder: Path, count: int = BATCH) -> Path:
    """A webdataset of noise in ten classes, in CLIP_benchmark's layout."""
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "nshards.txt").write_text("1\n")
    (folder / "classnames.txt").write_text("".join(f"thing {number}\n" for number in range(10)))
    (folder / "zeroshot_classification_templates.txt").write_text("a photo of a {c}.\n")
    random = np.random.default_rng(0)
    with tarfile.open(folder / "test" / "0.tar", "w") as shard:
        for number in range(count):
            file = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(file, "PNG")
            for kind, content in (("png", file.getvalue()), ("cls", str(number % 10).encode())):
                member = tarfile.TarInfo(f"s{number:04}.{kind}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    return folder


def evaluations(model: Path, pictures: Path, folder: Path) -> dict[str, list[str]]:
    """The two commands. CLIP_benchmark takes no more workers than there are shards."""
    shards = int((pictures / "test" / "nshards.txt").read_text())
    theirs = ["clip_benchmark", "eval", "--dataset", "wds/cifar10", "--dataset_root", str(pictures)]
    theirs += ["--model", f"local-dir:{model}", "--pretrained", "", "--num_workers", str(min(4, shards))]
    theirs += ["--batch_size", str(BATCH), "--output", str(folder / "theirs.json")]
    ours = ["coca", "eval", "zeroshot", "-d", f"wds:{pictures}", "-m", str(model), "--split", "test", "--no-cache"]
    ours += ["--batch-size", str(BATCH), "--results", str(folder / "results")]
    return {"clip_benchmark": theirs, "coca": ours}


def run_until_pictures(words: Sequence[str], folder: Path, keep: Path | None = None) -> dict[str, float]:
    """Seconds from the start of the process to each moment.

    Args:
        words: The command.
        folder: With the `sitecustomize`; takes what it writes.
        keep: Where the first batch of pixels is written to; those runs are not for timing.
    """
    moments = folder / "moments.json"
    moments.unlink(missing_ok=True)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "COCA_MOMENTS": str(moments), "COCA_PICTURES": str(BATCH)}
    if keep is not None:
        environment |= {"COCA_KEEP": str(keep), "OMP_NUM_THREADS": "1"}  # so that halves come in their order
    start = time.time()
    done = subprocess.run(command(words), env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if not moments.exists():
        raise SystemExit(f"{words[0]} did not come to its first pictures\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(moments.read_text())
    return {what: moment - start for what, moment in found.items()}


def command(words: Sequence[str]) -> list[str]:
    """The program beside this Python."""
    return [str(Path(sys.executable).parent / words[0]), *words[1:]]


def check_pixels(commands: dict[str, list[str]], folder: Path) -> float:
    """The largest difference of the first batches, relative to the largest value; asserts that it is rounding."""
    found = []
    for side, words in commands.items():
        run_until_pictures(words, folder, folder / f"{side}.npy")
        found.append(np.load(folder / f"{side}.npy"))
    theirs, ours = found
    assert theirs.shape == ours.shape, (theirs.shape, ours.shape)
    assert len(ours) == BATCH, len(ours)
    difference = float(np.abs(theirs - ours).max() / np.abs(theirs).max())
    assert difference < ROUNDING, f"pixels differ by {difference}"
    return difference


def measure_help(rounds: int, smoke: bool) -> dict[str, list[float]]:
    """Seconds of both commands' help; in a smoke run of ours alone, since theirs takes as long as all the rest."""

    def show(program: str) -> None:
        subprocess.run(command([program, "--help"]), capture_output=True, check=True)

    programs = ["coca"] if smoke else ["clip_benchmark", "coca"]
    return in_turn({program: lambda program=program: show(program) for program in programs}, rounds)  # type: ignore[misc]


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__, rounds=5).parse_args(arguments)
    smoke = options.size == "smoke"
    rounds = 1 if smoke else options.rounds
    helps = measure_help(rounds, smoke)
    times: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(WATCH)
        write_model(folder / "model", options.size)
        given = None if options.data is None else options.data / "wds_cifar10"
        pictures = given.resolve() if given is not None and given.is_dir() else draw_pictures(folder / "pictures")
        commands = evaluations(folder / "model", pictures, folder)
        difference = check_pixels(commands, folder)  # files and compiled modules are in memory from here on
        for _ in range(rounds):
            for side, words in commands.items():
                times.setdefault(side, []).append(run_until_pictures(words, folder))
    rows: list[Any] = [
        value_row(
            "coca --help",
            "nothing",
            helps["coca"],
            unit="seconds",
            target=None if smoke else 0.3,
            at_least=False,
        )
    ]
    if not smoke:
        rows.append(ratio_row("--help", "clip_benchmark --help", helps["clip_benchmark"], helps["coca"]))
    moments = (("batch", "the first 64 pictures are encoded", 2), ("ready", "the first encoder begins", None))
    for moment, words, target in moments:
        seconds = {side: [one[moment] for one in found] for side, found in times.items()}
        rows.append(
            ratio_row(
                f"from the start of eval zeroshot until {words}",
                "clip_benchmark eval",
                seconds["clip_benchmark"],
                seconds["coca"],
                target=None if smoke else target,
                equal=f"pixels of the first batch equal within {difference:.0e} of the largest",
            )
        )
    report("starting", options, rows, help_seconds=helps, seconds=times)


if __name__ == "__main__":
    main()
