"""What a classifier said of each example, as CSV or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from torch import Tensor

from coca_cli.errors import CocaError
from coca_cli.files import make_folder, written_whole
from coca_cli.tasks.classification import Ranking

SUFFIXES = (".csv", ".jsonl")


def check_predictions_path(path: Path) -> None:
    """See before the work that the file can be written.

    Raises:
        CocaError: Another ending than .csv or .jsonl, or a folder that cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise CocaError(f"--predictions {path}: the file must end in .csv or .jsonl, which says its format")
    make_folder(path.parent)


def write_predictions(
    path: Path, ids: Sequence[str], labels: Tensor, ranking: Ranking, class_names: Sequence[str]
) -> None:
    """Write id, label, and the best classes with their scores (100 times the cosine) of every example.

    Args:
        path: A .csv or .jsonl file; replaced if it is there.
        ids: n example ids.
        labels: (n,) true classes.
        ranking: (n, k) best classes.
        class_names: One name per class.
    """
    with written_whole(path) as temporary, _opened(temporary) as file:
        rows = _rows(ids, labels, ranking, class_names)
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in rows)
            return
        k = ranking.classes.shape[1]
        writer = csv.writer(file)
        ranked = [f"{column}_{place + 1}" for column in ("class", "name", "score") for place in range(k)]
        writer.writerow(["id", "label", "label_name", *ranked])
        for row in rows:
            writer.writerow([row.id, row.label, row.label_name, *row.classes, *row.names, *row.scores])


def _opened(path: Path) -> IO[str]:
    # a file name that is not UTF-8 must not lose what was computed
    return path.open("w", newline="", encoding="utf-8", errors="backslashreplace")


class _Row(NamedTuple):
    id: str
    label: int
    label_name: str
    classes: list[int]
    names: list[str]
    scores: list[float]


def _rows(ids: Sequence[str], labels: Tensor, ranking: Ranking, class_names: Sequence[str]) -> Iterator[_Row]:
    columns = zip(ids, labels.tolist(), ranking.classes.tolist(), ranking.scores.tolist(), strict=True)
    for example, label, classes, scores in columns:
        names = [class_names[c] for c in classes]
        yield _Row(example, label, class_names[label], classes, names, [round(score, 6) for score in scores])
