"""How quickly a zero-shot evaluation runs, against CLIP_benchmark: its classifier, and the whole command.

What: coca_ViT-B-32 with the same random weights on both sides, ImageNet's 1,000 class names in 80 templates.

- The classifier: CLIP_benchmark's `zero_shot_classifier` under autocast (bf16), one class a batch, on every 25th class;
  its time for all follows, as every class is a batch of its own. coca's `build_classifier` on all classes.
- The whole run, in a process of its own from its start to its end: `clip_benchmark eval` and `coca eval zeroshot` on
  the same 1,000 photographs in the same shards; coca once with an empty cache and once again. CLIP_benchmark 1.6.2 ends
  in an error with NumPy 2.4 and needs an older one first on its path: --peers, see `make bench`. Without it this is
  left out.

First the outputs are compared. The classifiers must agree within 1e-4 in fp32, and stay near fp32 in bf16. Both
commands must give the same accuracies in fp32 on 64 of the photographs, 20 classes and 2 templates.

    python benchmarks/zeroshot.py [--data FOLDER] [--peers FOLDER] [--pictures 1000] [--rounds 3] [--whole-rounds 1]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
import webdataset
from measuring import Row, parser, ratio_row, report, timed
from models import model_name, our_model, their_model
from pictures import jpeg_files

from coca_cli.datasets.example import Prompts
from coca_cli.datasets.open_clip_metadata import imagenet_prompts
from coca_cli.tasks.zeroshot import build_classifier

EVERY, SHARDS = 25, 4
METRICS = {"top-1": "acc1", "top-5": "acc5", "mean per-class recall": "mean_per_class_recall"}


def classifier_row(options: argparse.Namespace, name: str, prompts: Prompts, every: int) -> Row:
    from clip_benchmark.metrics.zeroshot_classification import zero_shot_classifier

    theirs = their_model(name)
    ours = our_model(name, theirs)
    fast = ours("bf16")
    tokenizer = open_clip.get_tokenizer(name)
    sample = Prompts(prompts.class_names[::every], prompts.templates)

    def ask_peer(amp: bool) -> torch.Tensor:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            names, templates = map(list, sample)
            found: torch.Tensor = zero_shot_classifier(theirs, tokenizer, names, templates, "cpu", amp=amp)
        return found.T.float()

    exact = ask_peer(amp=False)
    difference = (build_classifier(ours("fp32"), sample) - exact).abs().max().item()
    assert difference < 1e-4, f"fp32 classifiers differ by {difference}"
    cosines = [
        F.cosine_similarity(found, exact).min().item() for found in (build_classifier(fast, sample), ask_peer(amp=True))
    ]
    assert min(cosines) > 0.999, cosines
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    for _ in range(options.rounds):
        part = len(sample.class_names) / len(prompts.class_names)
        seconds["theirs"].append(timed(lambda: ask_peer(amp=True)) / part)
        seconds["ours"].append(timed(lambda: build_classifier(fast, prompts)))
    return ratio_row(
        f"ImageNet's classifier, {len(prompts.templates)} templates x {len(prompts.class_names):,} classes, {name}",
        f"CLIP_benchmark with autocast ({len(sample.class_names)} of the classes, times {round(1 / part)})",
        seconds["theirs"],
        seconds["ours"],
        target=None if options.size == "smoke" else 12,
        equal=f"fp32 equal within {difference:.0e}; cosine to fp32 {cosines[0]:.5f} (coca bf16), {cosines[1]:.5f} "
        "(autocast)",
    )


def write_set(folder: Path, files: Sequence[Path], prompts: Prompts) -> Path:
    """The photographs as shards in CLIP_benchmark's layout, one for each of its workers; labels go round."""
    (folder / "test").mkdir(parents=True)
    (folder / "classnames.txt").write_text("\n".join(prompts.class_names))
    (folder / "zeroshot_classification_templates.txt").write_text("\n".join(prompts.templates))
    (folder / "test" / "nshards.txt").write_text(str(SHARDS))
    each = -(-len(files) // SHARDS)
    for shard_number in range(SHARDS):
        with webdataset.TarWriter(str(folder / "test" / f"{shard_number}.tar")) as shard:
            for number, file in list(enumerate(files))[shard_number * each : (shard_number + 1) * each]:
                label = str(number % len(prompts.class_names))
                shard.write({"__key__": f"{number:05}", "jpg": file.read_bytes(), "cls": label})
    return folder


def run_command(options: argparse.Namespace, side: str, words: Sequence[str]) -> float:
    """Seconds of a command in a process of its own."""
    environment = dict(os.environ)
    if side == "theirs":
        environment["PYTHONPATH"] = str(options.peers.resolve())
    command = [sys.executable, "-W", "ignore", __file__, "--side", side, "--size", options.size, *words]

    def run() -> None:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr[-3000:]}")

    return timed(run)


def run_side(side: str, size: str, words: list[str]) -> None:
    """The command of one side; a small model is made known to open_clip before."""
    if size == "smoke":
        model_name(size)
    if side == "theirs":
        from clip_benchmark.cli import main as their_main

        sys.argv = ["clip_benchmark", *words]
        their_main()
    else:
        from coca_cli.cli import main as our_main

        raise SystemExit(our_main(words))


def ask_both(
    options: argparse.Namespace, folder: Path, name: str, weights: Path, fp32: bool
) -> tuple[float, list[float], dict[str, dict[str, float]]]:
    """Theirs, then ours with an empty cache and again: seconds, and the metrics of both."""
    output, store = folder / "theirs.json", folder / "results"
    model = ["--model", name, "--pretrained", str(weights)]
    their_words = ["eval", "--dataset", "wds/photographs", "--dataset_root", str(folder), *model]
    their_words += ["--task", "zeroshot_classification", "--output", str(output), *(["--no_amp"] if fp32 else [])]
    our_words = ["eval", "zeroshot", "-d", f"wds:{folder}", *model, "--precision", "fp32" if fp32 else "auto"]
    our_words += ["--results", str(store), "--cache-dir", str(folder / "cache")]
    theirs = run_command(options, "theirs", their_words)
    ours = [run_command(options, "ours", our_words) for _ in range(2)]
    rows = [json.loads(line) for line in (store / "results.jsonl").read_text().splitlines()]
    mine = {row["metric"]: row["value"] / 100 for row in rows}
    known = json.loads(output.read_text())["metrics"]
    return theirs, ours, {"theirs": {m: known[t] for m, t in METRICS.items()}, "ours": {m: mine[m] for m in METRICS}}


def whole_rows(options: argparse.Namespace, name: str, prompts: Prompts, count: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        weights = folder / "weights.pt"
        torch.save(their_model(name).state_dict(), weights)
        files = jpeg_files(options.data, folder / "files", count)
        few = Prompts(prompts.class_names[:20], prompts.templates[:2])
        small = write_set(folder / "small", files[:64], few)
        _, _, found = ask_both(options, small, name, weights, fp32=True)
        for metric in METRICS:
            assert abs(found["theirs"][metric] - found["ours"][metric]) < 1e-6, (metric, found)
        theirs: list[float] = []
        cold: list[float] = []
        warm: list[float] = []
        for number in range(options.whole_rounds):
            full = write_set(folder / f"full-{number}", files, prompts)
            their_seconds, our_seconds, found = ask_both(options, full, name, weights, fp32=False)
            theirs.append(their_seconds)
            cold.append(our_seconds[0])
            warm.append(our_seconds[1])
    what = f"whole zero-shot run, {len(prompts.class_names):,} classes, {count:,} photographs, {name}"
    told = "fp32: top-1, top-5 and mean per-class recall equal on a small set; top-1 here " + " and ".join(
        f"{100 * found[side]['top-1']:.1f}" for side in ("ours", "theirs")
    )
    aims = (None, None) if options.size == "smoke" else (8.0, 30.0)
    return [
        ratio_row(f"{what}, {kind}", "clip_benchmark eval, autocast", theirs, seconds, target=aim, equal=told)
        for kind, seconds, aim in zip(("empty cache", "second run"), (cold, warm), aims, strict=True)
    ]


def main(arguments: list[str] | None = None) -> None:
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["--side"]:
        run_side(words[1], words[3], words[4:])
        return
    options_parser = parser(__doc__)
    options_parser.add_argument("--pictures", type=int, help="1,000 unless told otherwise")
    options_parser.add_argument("--whole-rounds", type=int, default=1, help="rounds of the whole run; 0 leaves it out")
    options = options_parser.parse_args(arguments)
    smoke = options.size == "smoke"
    name = model_name(options.size)
    names, templates = imagenet_prompts()
    prompts = Prompts(names[:30], templates[:4]) if smoke else Prompts(names, templates)
    rows = [classifier_row(options, name, prompts, 5 if smoke else EVERY)]
    if options.peers is None:
        print("the whole run is left out: it needs --peers, see `make bench`")
    elif options.whole_rounds:
        rows += whole_rows(options, name, prompts, options.pictures or (80 if smoke else 1000))
    report("zeroshot", options, rows)


if __name__ == "__main__":
    main()
