"""What work of the paper's size would cost: arithmetic, nothing is measured.

What: operations of pretraining as the paper has it (arXiv 2205.01917, section 4.1: batches of 65,536 pairs, 500,000
steps at 288 px, then an epoch at 576 px) and of the suites of its evaluations, for coca_base, coca_large and coca_2b,
counted by `coca_cli.model.flops` on the meta device; what they take on GPUs, from the dense bf16 rates that their
vendor publishes and an assumed part of these; memory for weights and optimiser. The paper's own time is turned around
into the part of its chips' rate that it used, which checks the arithmetic. Equality: docs/scaling.md holds what this
prints, which a test asserts.

Run: python benchmarks/estimates.py [--write]

It prints Markdown; with --write it goes between the markers of docs/scaling.md.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from coca_cli.datasets.sizes import SIZES
from coca_cli.model.coca import CoCa
from coca_cli.model.config import PAPER_PRESETS, CoCaConfig
from coca_cli.model.flops import Cost, measure_cost
from coca_cli.suites.estimates import PICTURE_SECONDS, TEXT_POSITIONS, count_work
from coca_cli.suites.work import FRAMES, Survey
from coca_cli.tasks.feature_store import PART

DOCUMENT = Path(__file__).parents[1] / "docs" / "scaling.md"
MARKED = re.compile(r"(<!-- estimates -->\n).*(<!-- /estimates -->)", re.DOTALL)
MODELS = ("coca_base", "coca_large", "coca_2b")
GPUS = {"A100 80 GB SXM": 312e12, "H100 SXM": 989e12, "H200": 989e12, "B200": 2250e12}
"""Operations per second in bf16, dense, as NVIDIA publishes them."""
USED = (0.3, 0.4, 0.5)
"""Parts of that rate that training may reach; the middle one is the assumption."""
ASSUMED = USED[1]
COUNTS = (1, 8, 64)
DAY, GIB = 86_400, 2**30

# Section 4.1; the paper gives neither text length (64 in Google's later code) nor the data of the last epoch.
BATCH, STEPS, LARGE_SIZE = 65_536, 500_000, 576
EPOCHS = 5
"""Of JFT in 500,000 steps: one more epoch is taken as a fifth of the steps."""
BACKWARD, RECOMPUTED = 3, 4
"""A step is its forward pass three times; four times where activations are computed twice."""
TPU_RATE, TPU_CHIPS, TPU_DAYS = 275e12, 2048, 5
"""Of a TPU v4 chip in bf16, as Google publishes it; what the paper took for its largest model, about."""

CLIPS = {"kinetics-400": (246_535, 19_907), "kinetics-600": (392_622, 30_000), "kinetics-700": (545_317, 35_000)}
CLIPS |= {"moments-in-time": (802_264, 33_900)}
"""Clips of train and val by commonly given sizes, not checked; fewer are still on the web."""
OBJECTNET = 18_574
"""Pictures of the 113 classes that ObjectNet shares with ImageNet."""
PROMPTS = 80
"""Of CLIP for each class of ImageNet."""
BEAMS, LENGTH = 3, 30
"""The defaults of `coca eval caption`."""
QUESTIONS = 5.3
"""Questions on a picture of VQA v2: 214,354 on 40,504 of val."""
PROBE_STEPS, PROBE_BATCH = 200_000, 512
VIDEO_STEPS, VIDEO_BATCH = 120_000, 128


class Pretraining(NamedTuple):
    """Forward operations of a pair, and training operations of all pairs.

    Attributes:
        pair: At 288 px.
        large_pair: At 576 px.
        first: Of 500,000 steps at 288 px.
        last: Of the epoch at 576 px.
    """

    pair: int
    large_pair: int
    first: int
    last: int

    @property
    def total(self) -> int:
        """Both phases."""
        return self.first + self.last


@cache
def cost_of(model: str, size: int | None = None) -> Cost:
    """Operations of a preset, at another picture size than its own."""
    config = PAPER_PRESETS[model]
    return measure_cost(config if size is None else config.with_image_size(size))


def pretraining(model: str, times: int = BACKWARD) -> Pretraining:
    """What the paper's pretraining takes; a step is its forward pass so many times."""
    small, large = cost_of(model), cost_of(model, LARGE_SIZE)
    pair, large_pair = small.per_picture + small.per_caption, large.per_picture + large.per_caption
    pairs = BATCH * STEPS
    return Pretraining(pair, large_pair, times * pairs * pair, times * pairs // EPOCHS * large_pair)


def gpu_days(operations: float, rate: float, used: float = ASSUMED) -> float:
    """Days of one GPU."""
    return operations / (rate * used) / DAY


def paper_utilisation(operations: float) -> float:
    """The part of its chips' rate that the paper used, had it computed so much in its days."""
    return operations / (TPU_CHIPS * TPU_RATE * TPU_DAYS * DAY)


def training_bytes(model: str, optimizer: str) -> int:
    """Weights, gradients and the optimiser's numbers, all in fp32.

    Args:
        model: A preset.
        optimizer: adamw keeps two moments; adafactor the first, and the second of matrices by rows and columns.
    """
    with torch.device("meta"):
        parameters = list(CoCa(PAPER_PRESETS[model]).parameters())
    count = sum(p.numel() for p in parameters)
    if optimizer == "adamw":
        second = count
    else:
        second = sum(p.numel() // min(p.shape[-2:]) * 2 if p.ndim >= 2 else p.numel() for p in parameters)
    return 4 * (3 * count + second)


def zeroshot_survey(name: str, pictures: int, classes: int) -> tuple[str, Survey]:
    return f"zero-shot {name}", Survey("", pictures, pictures=pictures, texts=classes * PROMPTS)


def understanding_survey(name: str, split: str, pictures: float, each: int = 1) -> tuple[str, Survey]:
    examples = SIZES[name][split]
    passes = examples * each
    return f"{name} {split}", Survey(split, examples, pictures=round(pictures), passes=passes)


def caption_survey(name: str, split: str) -> tuple[str, Survey]:
    count = SIZES[name][split]
    return f"captions {name} {split}", Survey(split, count, pictures=count, words=count * BEAMS * LENGTH)


def evaluations() -> dict[str, Survey]:
    """What there is to do in the suites of the paper's tables, training of heads left out."""
    nlvr2 = [understanding_survey("nlvr2", split, 2 * SIZES["nlvr2"][split], 2) for split in ("dev", "test-p")]
    vqa = [
        understanding_survey("vqav2", split, SIZES["vqav2"][split] / QUESTIONS)
        for split in ("val", "test-dev", "test-std")
    ]
    return dict(
        [
            zeroshot_survey("imagenet", SIZES["imagenet"]["val"], 1000),
            zeroshot_survey("imagenet-a", SIZES["imagenet-a"]["test"], 200),
            zeroshot_survey("imagenet-r", SIZES["imagenet-r"]["test"], 200),
            zeroshot_survey("imagenet-v2", SIZES["imagenet-v2"]["test"], 0),  # imagenet's, kept
            zeroshot_survey("imagenet-sketch", SIZES["imagenet-sketch"]["test"], 0),
            zeroshot_survey("objectnet", OBJECTNET, 113),
            ("retrieval flickr30k", Survey("test", 1_000, pictures=1_000, texts=5_000)),
            ("retrieval coco", Survey("test", 5_000, pictures=5_000, texts=25_010)),
            ("retrieval msrvtt", Survey("test", 2_990, pictures=2_990 * FRAMES, texts=2_990 * 20)),
            *(caption_survey(*names) for names in (("coco", "test"), ("nocaps", "val"), ("nocaps", "test"))),
            *vqa,
            *(understanding_survey("snli-ve", split, 1_000) for split in ("dev", "test")),
            *nlvr2,
        ]
    )


def probes() -> dict[str, Survey]:
    """What there is to do for the frozen encoders of Table 2, one head each."""
    seen = PROBE_STEPS * PROBE_BATCH  # augmented, so that each goes through the encoder
    size = SIZES["imagenet"]["val"]
    found = {"frozen encoder imagenet": Survey("val", size, pictures=seen + size, looks=seen)}
    for name, clips in CLIPS.items():  # not augmented: each clip goes through the encoder once
        looks = VIDEO_STEPS * VIDEO_BATCH * FRAMES
        found[f"frozen encoder {name}"] = Survey("val", clips[1], pictures=sum(clips) * FRAMES, looks=looks)
    return found


def share(survey: Survey, gpus: int) -> float:
    """The part of a benchmark's pictures that the process with the most of them has.

    Pictures are shared in parts of 256 examples, questions in batches, and the steps of a head by rows of each batch.
    """
    if survey.passes or survey.looks:
        return 1 / gpus
    parts = -(-survey.examples // PART)
    return min(1.0, -(-parts // gpus) * PART / survey.examples)


def suite_seconds(config: CoCaConfig, surveys: Iterable[Survey], rate: float, gpus: int) -> float:
    """Seconds of the GPU that has the most to do: its pictures, and, if it is the first, all prompts and captions."""
    seconds = 0.0
    for survey in surveys:
        texts = count_work(config, Survey("", 0, texts=survey.texts))
        seconds += (texts + (count_work(config, survey) - texts) * share(survey, gpus)) / (rate * ASSUMED)
    return seconds


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; numbers stand at the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three digits at most where there is a point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """In the unit that people would choose."""
    for unit, size in (("days", DAY), ("h", 3_600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{number(seconds / size)} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "< 1 s"


def power(operations: float) -> str:
    """As 7.1e22."""
    return re.sub(r"e\+?0*", "e", f"{operations:.2e}")


def operations_table() -> str:
    rows = []
    for model in MODELS:
        cost, large, whole = cost_of(model), cost_of(model, LARGE_SIZE), pretraining(model)
        parts = (cost.per_picture, large.per_picture, cost.per_caption, cost.per_text)
        weights = f"{sum(cost.parameters.values()) / 1e6:,.0f}M"
        passes = [f"{number(part / 1e9)}" for part in parts]
        rows.append([model, weights, *passes, *(power(n) for n in (whole.first, whole.last, whole.total))])
    head = ["model", "weights", "picture, 288 px", "576 px", "caption", "text embedding"]
    return table([*head, "500,000 steps", "last epoch", "together"], rows)


def check_lines() -> str:
    first, whole = pretraining("coca_2b").first, pretraining("coca_2b").total
    whole_words = f"{100 * paper_utilisation(whole):.0f} % with it"
    budget = TPU_CHIPS * TPU_RATE * TPU_DAYS * DAY
    return (
        f"{TPU_CHIPS:,} TPU v4 chips x {TPU_RATE / 1e12:.0f} TFLOP/s x {TPU_DAYS} days are {power(budget)} operations: "
        f"coca_2b would have used {100 * paper_utilisation(first):.0f} % of them without the last epoch, {whole_words}."
    )


def training_table() -> str:
    rows = []
    for model in MODELS:
        for name, rate in GPUS.items():
            if name == "H200":
                continue  # the H100's rate
            whole, twice = pretraining(model).total, pretraining(model, RECOMPUTED).total
            label = f"{name}, H200" if name.startswith("H100") else name
            days = [number(gpu_days(whole, rate, used)) for used in USED]
            several = [number(gpu_days(operations, rate) / gpus) for gpus in (8, 64) for operations in (whole, twice)]
            rows.append([model, label, *days, *several])
    head = ["model", "GPU", *(f"GPU-days at {100 * used:.0f} %" for used in USED)]
    return table([*head, "days on 8", "computed twice", "days on 64", "computed twice"], rows)


def memory_table() -> str:
    rows = [
        [f"{model}, {optimizer}", *(number(training_bytes(model, optimizer) / gpus / GIB) for gpus in COUNTS)]
        for model in MODELS
        for optimizer in ("adafactor", "adamw")
    ]
    return table(["model and optimiser", *(f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in COUNTS)], rows)


def benchmarks_table(model: str, gpu: str) -> str:
    config, rows = PAPER_PRESETS[model], []
    for name, survey in (evaluations() | probes()).items():
        counts = [f"{count:,}" if count else "" for count in (survey.pictures, survey.texts)]
        counts.append(f"{survey.passes + survey.words:,}" if survey.passes + survey.words else "")
        times = [duration(suite_seconds(config, [survey], GPUS[gpu], gpus)) for gpus in COUNTS]
        rows.append([name, *counts, power(count_work(config, survey)), *times])
    head = ["benchmark", "pictures and frames", "texts", "questions or words", "operations"]
    return table([*head, *(f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in COUNTS)], rows)


def suites_table() -> str:
    rows = []
    for model in MODELS:
        config = PAPER_PRESETS[model]
        for name, rate in GPUS.items():
            if name == "H200":
                continue
            label = f"{name}, H200" if name.startswith("H100") else name
            times = [
                duration(suite_seconds(config, found.values(), rate, gpus))
                for found in (evaluations(), probes())
                for gpus in COUNTS
            ]
            pictures = rate * ASSUMED / cost_of(model).per_picture
            rows.append([model, label, *times, f"{pictures:,.0f}", f"{pictures * PICTURE_SECONDS:,.0f}"])
    kinds = [f"{kind} on {gpus}" for kind in ("evaluations", "frozen encoders") for gpus in COUNTS]
    return table(["model", "GPU", *kinds, "pictures/s of a GPU", "cores to read them"], rows)


def estimates() -> str:
    """All tables with what they say."""
    used = f"{100 * ASSUMED:.0f} %"
    return "\n\n".join(
        [
            "#### Operations",
            "Forward, in 10^9, a multiplication and an addition being two; a caption and a text have 64 positions. "
            f"Then all of pretraining, forward x {BACKWARD}:",
            operations_table(),
            check_lines(),
            "#### Pretraining",
            f"Both phases; days at {used}. Computed twice: `--checkpoint-activations`, forward x {RECOMPUTED}.",
            training_table(),
            "#### Memory of weights, gradients and optimiser",
            "GiB on each GPU with `--parallel fsdp`, in fp32, activations left out:",
            memory_table(),
            "#### Each benchmark",
            f"coca_2b on H100 SXM at {used}; a text is taken to have {TEXT_POSITIONS} positions:",
            benchmarks_table("coca_2b", "H100 SXM"),
            "#### All benchmarks",
            f"At {used}; the last columns are what a GPU encodes, and the cores that it takes to decode as many "
            f"pictures at {1000 * PICTURE_SECONDS:.0f} ms each:",
            suites_table(),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into docs/scaling.md")
    options = parser.parse_args(arguments)
    found = estimates()
    print(found)
    if options.write:
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(MARKED.sub(lambda old: f"{old[1]}\n{found}\n\n{old[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
