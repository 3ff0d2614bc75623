"""The accuracy of VQA against what the official evaluator said of the same answers."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from coca_cli.tasks.vqa_accuracy import vqa_accuracy


def load(test_data: Path, name: str) -> Any:
    return json.loads((test_data / "vqav2" / f"{name}.json").read_text(encoding="utf-8"))


def test_every_question_and_every_mean_is_the_official_one(test_data: Path) -> None:
    annotations = load(test_data, "annotations")["annotations"]
    said = {row["question_id"]: row["answer"] for row in load(test_data, "results")}
    official = load(test_data, "official_scores")
    parts: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for record in annotations:
        found = vqa_accuracy(said[record["question_id"]], [answer["answer"] for answer in record["answers"]])
        assert round(100 * found, 2) == official["per_question"][str(record["question_id"])], record
        for part in (("", "overall"), ("type", record["answer_type"]), ("kind", record["question_type"])):
            parts[part].append(found)
    means = {part: round(100 * sum(rates) / len(rates), 2) for part, rates in parts.items()}
    assert len(annotations) == 600
    assert means["", "overall"] == official["accuracy"]["overall"]
    for name, by in (("type", "perAnswerType"), ("kind", "perQuestionType")):
        assert {key: mean for (group, key), mean in means.items() if group == name} == official["accuracy"][by]
