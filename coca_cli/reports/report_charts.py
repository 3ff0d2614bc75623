"""Which charts a report has: values with intervals, recall curves, training curves."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coca_cli.json_text import parse_json
from coca_cli.reports.charts import Chart, Curve, interval_chart, line_chart, recall_curve
from coca_cli.reports.run_scores import details_of, find_run
from coca_cli.results import Result
from coca_cli.store import RunFile, Store

LEADING = ("top-1", "accuracy", "CIDEr", "image-to-text recall@1", "text-to-image recall@1")
"""The metrics of which a chart shows all results side by side."""
LEADING_CLIPS = ("video-to-text recall@1", "text-to-video recall@1")
POINTS = 300
"""Of a training curve at most; longer ones are averaged."""
LOSSES = ("loss", "contrastive", "caption", "answers")
METRICS_FILE = "metrics.jsonl"
NO_RUN = RunFile(Path(), {})


def result_chart(rows: Sequence[Result]) -> Chart | None:
    """The leading metric of each set and split, models told apart by colour; None where there is none."""
    groups: dict[str, list[tuple[str, float, float, float]]] = {}
    for row in rows:
        if row.metric in (*LEADING, *LEADING_CLIPS) and not math.isnan(row.value):
            name = f"{row.task} {shorten(row.dataset)} {row.split}, {row.metric}"
            groups.setdefault(name, []).append((row.model, row.value, row.low, row.high))
    return interval_chart("results", "Results with 95 % intervals", groups) if groups else None


def recall_charts(store: Store, runs: list[RunFile], rows: Sequence[Result]) -> list[Chart]:
    """For each retrieval set recall@k over k, of all models and both ways."""
    curves: dict[tuple[str, str], list[Curve]] = {}
    seen = set()
    for row in rows:
        run = (row.dataset, row.split, row.model, row.checkpoint, row.settings, row.when)
        if row.task != "retrieval" or run in seen:
            continue
        seen.add(run)
        details = details_of(store, runs, row)
        ways = [] if details is None else [way for way in details.table_names() if "-to-" in way]
        sizes = {way: len((details.table(way) or {}).get("id", ())) for way in ways} if details else {}
        for way in ways:
            assert details is not None
            table = details.table(way)
            folds = int((find_run(runs, row) or NO_RUN).document.get("settings", {}).get("folds", 1))
            searched = next((count for other, count in sizes.items() if other != way), sizes[way]) // folds
            ranks = np.array(table["rank"] if table else [], dtype=np.int64)
            x, y = recall_curve(ranks, searched)
            dashed = way.startswith("text")
            curves.setdefault((row.dataset, row.split), []).append(Curve(f"{row.model}, {way}", x, y, dashed))
    return [
        line_chart(
            f"recall-{plain_name(dataset)}-{plain_name(split)}",
            f"Recall on {shorten(dataset)}, {split}",
            lines,
            x="k",
            y="recall@k, points",
            log_x=True,
        )
        for (dataset, split), lines in curves.items()
    ]


def training_charts(folders: Mapping[str, Path]) -> list[Chart]:
    """The course of each training run: its losses, and what was evaluated on the way.

    Args:
        folders: Name -> run folder with metrics.jsonl; folders without are passed over.
    """
    charts = []
    for name, folder in folders.items():
        lines = _read_lines(folder / METRICS_FILE)
        numbers = _series(lines)
        losses = [Curve(key, *numbers[key]) for key in numbers if key in LOSSES]
        plain = plain_name(name)
        if losses:
            charts.append(line_chart(f"training-{plain}", f"Training of {name}", losses, x="step", y="loss"))
        told = [Curve(key, *numbers[key]) for key in numbers if _is_evaluation(key)]
        if told:
            charts.append(line_chart(f"scores-{plain}", f"Scores while training {name}", told, x="step", y="points"))
    return charts


def model_folders(runs: Sequence[RunFile], rows: Sequence[Result]) -> dict[str, Path]:
    """The folders of the models behind the rows, where they were folders that are still there, by the models' names."""
    found: dict[str, Path] = {}
    for row in rows:
        for run in runs:
            folder = run.document.get("model_folder")
            if folder and run.made(row) and Path(folder).is_dir() and Path(folder) not in found.values():
                name = row.model if row.model not in found else f"{row.model} ({folder})"
                found[name] = Path(folder)
    return found


def with_folders(known: Mapping[str, Path], more: Sequence[Path]) -> dict[str, Path]:
    """The folders of models and those that the user named, each once, told apart where they are called alike."""
    found = dict(known)
    for folder in more:
        if folder.resolve() not in {other.resolve() for other in found.values()}:
            name = folder.resolve().name
            found[name if name not in found else f"{name} ({folder})"] = folder
    return found


def _read_lines(path: Path) -> list[dict[str, Any]]:
    found = []
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    for line in text.splitlines():
        try:
            record = parse_json(line)
        except ValueError:
            continue  # cut off by a kill
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            found.append(record)
    return found


def _series(lines: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """Every number over the steps, averaged where there are too many."""
    raw: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for key, value in line.items():
            if key != "step" and isinstance(value, int | float) and abs(value) < math.inf:
                raw.setdefault(key, []).append((line["step"], value))
    found = {}
    for key, points in raw.items():
        parts = np.array_split(np.array(points, dtype=np.float64), min(POINTS, len(points)))
        means = np.array([part.mean(axis=0) for part in parts])
        found[key] = (means[:, 0].tolist(), means[:, 1].tolist())
    return found


def _is_evaluation(key: str) -> bool:
    return any(word in key for word in ("top-1", "recall@", "CIDEr", "accuracy"))


def shorten(dataset: str) -> str:
    """A dataset's name, of a path its last two parts."""
    scheme, colon, path = dataset.partition(":")
    return f"{scheme}:{'/'.join(Path(path).parts[-2:])}" if colon else dataset


def plain_name(text: str) -> str:
    """The text as a part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII).strip("-")[-60:] or "chart"
