"""CLIP_benchmark's result files, in and out.

A file of its `eval` is one JSON object: dataset, model, pretrained, task, language and metrics, which are fractions.
Its `build` joins such files to one CSV with a column per metric.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from coca_cli.errors import BadExample, CocaError, MissingFile
from coca_cli.files import make_folder, written_whole
from coca_cli.json_text import parse_json
from coca_cli.results import Result

TASKS = {"zeroshot": "zeroshot_classification", "retrieval": "zeroshot_retrieval", "caption": "captioning"}
"""Our tasks that it has, too. Its linear probe is trained in another way."""

DATASETS = {
    "imagenet": "imagenet1k",
    "imagenet-v2": "imagenetv2",
    "imagenet-sketch": "imagenet_sketch",
    "coco": "mscoco_captions",
}
"""Our names of datasets -> its names, where they differ."""

METRICS = {
    "zeroshot": {"top-1": "acc1", "top-5": "acc5", "mean per-class recall": "mean_per_class_recall"},
    "caption": {
        **{f"BLEU-{order}": f"Bleu_{order}" for order in range(1, 5)},
        "METEOR": "METEOR",
        "ROUGE-L": "ROUGE_L",
        "CIDEr": "CIDEr",
        "SPICE": "SPICE",
    },
}
KNOWN = frozenset(theirs for names in METRICS.values() for theirs in names.values())
_RECALL = re.compile(r"(image|text|video)_retrieval_recall@(\d+)")
_OUR_RECALL = re.compile(r"(?:text-to-(image|video)|(?:image|video)-to-(text)) recall@(\d+)")

SPLITS = {"imagenet": "val", "nocaps": "val"}
PROTOCOLS = {"coco": "test 5k", "flickr30k": "test 1k", "flickr8k": "test 1k"}
"""Splits as our rows name them; CLIP_benchmark's files do not say which one was evaluated, and it takes these."""

UNKNOWN = "CLIP_benchmark"
FIRST = ("acc1", "acc5", "mean_per_class_recall", "dataset", "model", "pretrained", "task", "language")
LAST = ("model_fullname",)


def their_metric(row: Result) -> str | None:
    """CLIP_benchmark's name of a row's metric; None where it has none."""
    if row.task == "retrieval":
        found = _OUR_RECALL.fullmatch(row.metric)
        return f"{found[1] or found[2]}_retrieval_recall@{found[3]}" if found else None
    return METRICS.get(row.task, {}).get(row.metric)


def to_records(rows: Iterable[Result]) -> list[dict[str, Any]]:
    """One object per evaluation, as CLIP_benchmark writes them; rows of other tasks and metrics are left out."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        metric = their_metric(row)
        if metric is None:
            continue
        model, _, pretrained = row.model.partition(" ")
        key = (row.task, row.dataset, row.split, row.model, row.checkpoint, row.settings, str(row.seed), row.precision)
        record = found.setdefault(
            key,
            {
                "dataset": DATASETS.get(row.dataset, row.dataset),
                "model": model,
                "pretrained": pretrained or row.checkpoint,
                "task": TASKS[row.task],
                "metrics": {},
                "language": "en",
            },
        )
        record["metrics"][metric] = row.value / 100 if math.isfinite(row.value) else None
    return list(found.values())


def write_files(folder: Path, rows: Iterable[Result]) -> list[Path]:
    """Write one JSON file per evaluation and benchmark.csv, which joins them as `clip_benchmark build` does.

    Args:
        folder: Made if needed; files of the same evaluations are replaced.
        rows: Any rows.

    Returns:
        The JSON files.

    Raises:
        CocaError: There is nothing that CLIP_benchmark knows, or the folder cannot be written.
    """
    records = to_records(rows)
    if not records:
        raise CocaError("none of these results is one that CLIP_benchmark knows: zero-shot, retrieval or captioning")
    make_folder(folder)
    paths: list[Path] = []
    for record in records:
        words = [record[name] for name in ("dataset", "pretrained", "model", "language", "task")]
        name = "_".join(re.sub(r"[^\w.-]+", "-", str(word), flags=re.ASCII) for word in words)
        path, count = folder / f"{name}.json", 1
        while path in paths:  # the same with other settings
            count += 1
            path = folder / f"{name}-{count}.json"
        with written_whole(path) as file:
            file.write_text(json.dumps(record), encoding="utf-8")
        paths.append(path)
    with written_whole(folder / "benchmark.csv") as file:
        file.write_text(to_benchmark_csv(records), encoding="utf-8")
    return paths


def to_benchmark_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """The table of `clip_benchmark build`, its columns in one fixed order."""
    lines = []
    for record in records:
        rest = {name: value for name, value in record.items() if name != "metrics"}
        lines.append({**record["metrics"], **rest, "model_fullname": f"{record['model']} {record['pretrained']}"})
    seen = dict.fromkeys(name for line in lines for name in line)
    middle = [name for name in seen if name not in FIRST and name not in LAST]
    columns = [*(name for name in FIRST if name in seen), *middle, *LAST]
    return str(pd.DataFrame(lines, columns=columns).to_csv(index=False, lineterminator="\n"))


def read_files(path: Path) -> list[Result]:
    """Rows from a JSON file of `eval`, a CSV of `build`, or a folder of JSON files.

    What these files do not say stays open: n is 0, there are no intervals, and the split is the one that CLIP_benchmark
    takes.

    Raises:
        MissingFile: It is not there.
        BadExample: It is not one of them.
    """
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            raise MissingFile(f"no .json file of CLIP_benchmark in {path}")
        return [row for file in files for row in read_files(file)]
    if not path.is_file():
        raise MissingFile(f"no results of CLIP_benchmark at {path}: name a .json or .csv file, or a folder of them")
    try:
        text = path.read_text(encoding="utf-8")
        records = _csv_records(text) if path.suffix.lower() == ".csv" else [parse_json(text)]
        return [row for record in records for row in _rows(record)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadExample(
            f"{path} is not what CLIP_benchmark writes: it should have dataset, model, pretrained, task and metrics "
            f"({type(error).__name__}: {error})"
        ) from None


def _csv_records(text: str) -> list[dict[str, Any]]:
    told = ("dataset", "model", "pretrained", "task", "language")
    records = []
    for line in csv.DictReader(text.splitlines()):
        metrics = {name: float(value) for name, value in line.items() if value and _is_known(name)}
        records.append({name: line[name] for name in told if name in line} | {"metrics": metrics})
    return records


def _is_known(metric: str) -> bool:
    return metric in KNOWN or _RECALL.fullmatch(metric) is not None


def _rows(record: Mapping[str, Any]) -> list[Result]:
    task = next((ours for ours, theirs in TASKS.items() if theirs == record["task"]), None)
    if task is None:
        return []
    name = str(record["dataset"]).removeprefix("wds/").removeprefix("vtab/")
    dataset = next((ours for ours, theirs in DATASETS.items() if theirs == name), name)
    if task == "retrieval":
        split = PROTOCOLS.get(dataset, "test")
    else:
        split = SPLITS.get(dataset, "test")
    known = {theirs: ours for ours, theirs in METRICS.get(task, {}).items()}
    model, language = f"{record['model']} {record['pretrained']}", str(record.get("language") or "en")
    rows = []
    for theirs, value in record["metrics"].items():
        found = _RECALL.fullmatch(theirs)
        metric = _recall_name(found) if found else known.get(theirs)
        if metric is not None and value is not None:
            rows.append(_row(task, dataset, split, metric, 100 * float(value), model, language))
    return rows


def _recall_name(found: re.Match[str]) -> str:
    """Theirs says what is retrieved, ours what looks for what."""
    way = "image-to-text" if found[1] == "text" else f"text-to-{found[1]}"
    return f"{way} recall@{found[2]}"


def _row(task: str, dataset: str, split: str, metric: str, value: float, model: str, language: str) -> Result:
    return Result(
        task=task,
        dataset=dataset,
        dataset_version=0,
        split=split,
        metric=metric,
        value=value,
        low=math.nan,
        high=math.nan,
        n=0,
        skipped=0,
        model=model,
        checkpoint=UNKNOWN,
        settings="" if language == "en" else f"language {language}",
        seed=0,
        device="",
        precision="",
        seconds=0.0,
        coca="",
        torch="",
        when="",
    )
