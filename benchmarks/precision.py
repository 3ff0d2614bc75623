"""What the default precision costs: every metric in bf16 beside fp32, of a trained model on real data.

What: a CoCa of `coca pretrain --recipe small`, trained on RSICD for `--steps` steps unless --model names one, then
`coca eval zeroshot`, `retrieval` and `caption` and `coca probe` (attentional heads and a linear one) on the 1,094
pictures of RSICD's validation part and on CIFAR-10; `coca eval understanding` with three heads that were trained on top
of it, for open questions, entailment and pairs of RSICD's pictures (see aerial_questions.py); and zero-shot and
retrieval on 32 clips, of which such a model knows nothing, so that near decisions are frequent. Each in fp32 and in
bf16. Nothing is timed: a row is the difference of the two in points.

    python benchmarks/precision.py --data FOLDER [--model DIR] [--steps 150]

Without real data there is nothing to measure; the smoke size takes 60 pictures and two steps.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from aerial_questions import SHARDS, read_photographs, write_entailment, write_pairs, write_questions
from measuring import Row, parser, report

TRAIN = "rsicd/train-{0000..0008}.tar"
CLIPS = "videos:{data}/videos/videos.csv"
EVALUATIONS = {
    "zero-shot": ["eval", "zeroshot", "-d", "wds:{data}/rsicd"],
    "retrieval": ["eval", "retrieval", "-d", "wds:{data}/rsicd"],
    "captions": ["eval", "caption", "-d", "wds:{data}/rsicd"],
    "attentional probe": ["probe", "-d", "wds:{data}/wds_cifar10", "--steps", "200"],
    "linear probe": ["probe", "--head", "linear", "-d", "wds:{data}/wds_cifar10"],
    "clips": ["eval", "zeroshot", "-d", CLIPS],
    "clip retrieval": ["eval", "retrieval", "-d", CLIPS],
}
PROBES = ("attentional probe", "linear probe")
TASKS = {"vqa": "questions:{questions}", "snli-ve": "snli-ve", "nlvr2": "nlvr2"}
"""What heads are trained for, and the set of each."""
HEAD = ["--frozen", "--optimizer", "adamw", "--head-learning-rate", "2e-3", "--steps", "900", "--val-split", "dev"]
ALLOWED = 0.1
"""Points that bf16 may move a metric by."""


def coca(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "coca_cli", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"coca {' '.join(words)}: exit code {done.returncode}\n{done.stderr[-3000:]}")


def train(data: Path, folder: Path, steps: int, *, smoke: bool) -> Path:
    """A small CoCa that has seen aerial photographs and their captions."""
    shards = str(data / TRAIN)
    words = ["--recipe", "small", "--turn", "--data", shards, "--data", f"labels:{shards}", "--weights", "8,1"]
    words += ["--steps", str(steps), "--output", str(folder / "model")]
    words += ["--batch-size", "32", "--limit", "64"] if smoke else []
    coca("pretrain", *words)
    return folder / "model"


def train_heads(model: Path, data: Path, folder: Path, *, smoke: bool) -> dict[str, list[str]]:
    """Heads for questions about RSICD's pictures; what evaluates each, by its name."""
    pictures = {split: read_photographs(data, split, 30 if smoke else None) for split in SHARDS}
    sets = folder / "sets"
    questions = write_questions(sets, pictures)
    write_entailment(sets, pictures)
    write_pairs(sets, pictures)
    evaluations = {}
    for task, named in TASKS.items():
        dataset = ["-d", named.format(questions=questions), "--data-root", str(sets)]
        words = ["finetune", task, "-m", str(model), *dataset, *HEAD, "--output", str(folder / task)]
        coca(*words, *(["--steps", "2", "--batch-size", "8"] if smoke else []))
        evaluations[task] = ["eval", "understanding", "-m", str(folder / task), *dataset, "--split", "dev"]
    return evaluations


def scores(
    evaluations: dict[str, list[str]], folder: Path, precision: str, *, smoke: bool
) -> dict[tuple[str, str], float]:
    """(evaluation, metric) -> points."""
    found = {}
    for name, words in evaluations.items():
        if smoke and name in PROBES:
            continue
        results = folder / f"{precision}-{name.replace(' ', '-')}"
        given = [*words, "--precision", precision, "--results", str(results)]
        given += ["--limit", "60"] if smoke else []
        given += ["--output", str(results / "head")] if name == "attentional probe" else []
        coca(*given)
        for line in (results / "results.jsonl").read_text().splitlines():
            row = json.loads(line)
            found[name, row["metric"]] = row["value"]
    return found


def main(arguments: list[str] | None = None) -> None:
    options_parser = parser(__doc__, rounds=1)
    options_parser.add_argument("--model", type=Path, help="a folder that coca wrote; without it one is trained")
    options_parser.add_argument("--steps", type=int, help="of that training; 150 unless told otherwise")
    options = options_parser.parse_args(arguments)
    smoke = options.size == "smoke"
    if options.data is None:
        print("left out: there is no real data; give --data")
        report("precision", options, [])
        return
    data = options.data.resolve()
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        model = options.model or train(data, folder, options.steps or (2 if smoke else 150), smoke=smoke)
        evaluations = {
            name: [*(word.format(data=data) for word in words), "-m", str(model), "--no-cache"]
            for name, words in EVALUATIONS.items()
        } | train_heads(model, data, folder, smoke=smoke)
        exact, fast = (scores(evaluations, folder, precision, smoke=smoke) for precision in ("fp32", "bf16"))
    assert exact.keys() == fast.keys()
    rows = []
    for (name, metric), value in exact.items():
        moved = round(abs(fast[name, metric] - value), 9)  # 40.0 - 39.9 is a little more than 0.1 otherwise
        rows.append(
            Row(
                what=f"bf16 in place of fp32: {name}, {metric}",
                against="fp32",
                value=moved,
                low=moved,
                high=moved,
                unit="points of difference",
                target=None if smoke else ALLOWED,
                at_least=False,
                detail=f"{value:.2f} in fp32, {fast[name, metric]:.2f} in bf16",
            )
        )
    report("precision", options, rows)


if __name__ == "__main__":
    main()
