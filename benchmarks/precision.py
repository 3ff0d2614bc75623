"""What the default precision costs: every metric in bf16 beside fp32, of a trained model on real data.

What: a CoCa of `coca pretrain --recipe small`, trained on RSICD for `--steps` steps unless --model names one, then
`coca eval zeroshot`, `retrieval` and `caption` and `coca probe` (attentional heads and a linear one) on the 1,094
pictures of RSICD's validation part and on CIFAR-10, each in fp32 and in bf16. Nothing is timed: a row is the difference
of the two in points.

    python benchmarks/precision.py --data FOLDER [--model DIR] [--steps 150]

Without real data there is nothing to measure; the smoke size takes 60 pictures and two steps.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import Row, parser, report

TRAIN = "rsicd/train-{0000..0008}.tar"
EVALUATIONS = {
    "zero-shot": ["eval", "zeroshot", "-d", "wds:{data}/rsicd"],
    "retrieval": ["eval", "retrieval", "-d", "wds:{data}/rsicd"],
    "captions": ["eval", "caption", "-d", "wds:{data}/rsicd"],
    "attentional probe": ["probe", "-d", "wds:{data}/wds_cifar10", "--steps", "200"],
    "linear probe": ["probe", "--head", "linear", "-d", "wds:{data}/wds_cifar10"],
}
PROBES = ("attentional probe", "linear probe")
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


def scores(model: Path, data: Path, folder: Path, precision: str, *, smoke: bool) -> dict[tuple[str, str], float]:
    """(evaluation, metric) -> points."""
    found = {}
    for name, words in EVALUATIONS.items():
        if smoke and name in PROBES:
            continue
        results = folder / f"{precision}-{name.replace(' ', '-')}"
        given = [word.format(data=data) for word in words]
        given += ["-m", str(model), "--precision", precision, "--no-cache", "--results", str(results)]
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
        exact, fast = (scores(model, data, folder, precision, smoke=smoke) for precision in ("fp32", "bf16"))
    assert exact.keys() == fast.keys()
    rows = []
    for (name, metric), value in exact.items():
        moved = fast[name, metric] - value
        rows.append(
            Row(
                what=f"bf16 in place of fp32: {name}, {metric}",
                against="fp32",
                value=abs(moved),
                low=abs(moved),
                high=abs(moved),
                unit="points of difference",
                target=None if smoke else ALLOWED,
                at_least=False,
                detail=f"{value:.2f} in fp32, {fast[name, metric]:.2f} in bf16",
            )
        )
    report("precision", options, rows)


if __name__ == "__main__":
    main()
