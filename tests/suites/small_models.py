"""Tiny models of random weights for every task of a suite, and a suite that has every task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from coca_cli.datasets import find_dataset
from coca_cli.model.checkpoint import load, save_folder
from coca_cli.model.classifier_folder import describe_classifier, save_classifier
from coca_cli.model.understanding_folder import describe_understanding, save_understanding
from tests.tasks.writer import save_writer, word_tokenizer, writer_coca

ANSWERS = ("one", "two", "left", "right", "red", "blue", "yes", "no")

EVERY_TASK = """
[defaults]
limit = 12
precision = "fp32"
workers = 1

[[benchmark]]
task = "zeroshot"
dataset = "digits"

[[benchmark]]
task = "retrieval"
dataset = "scenes"
prompt = "a picture of {}"
captions-per-image = "first"

[[benchmark]]
task = "caption"
dataset = "scenes"
max-length = 6
beams = 2

[[benchmark]]
task = "probe"
dataset = "digits"
limit = 60
head-batch-size = 8
learning-rates = [1e-3, 0.01]
label-smoothing = 0.2
epochs = 1

[[benchmark]]
task = "classification"
dataset = "digits"

[[benchmark]]
task = "understanding"
dataset = "scene-questions"
question-types = true
"""
COMMANDS = {
    "zeroshot": "eval zeroshot -d digits --limit 12",
    "retrieval": "eval retrieval -d scenes --limit 12 --prompt 'a picture of {}' --captions-per-image first",
    "caption": "eval caption -d scenes --limit 12 --max-length 6 --beams 2",
    "probe": "probe -d digits --limit 60 --head-batch-size 8 --learning-rates 1e-3,0.01 --label-smoothing 0.2 "
    "--epochs 1",
    "classification": "eval classification -d digits --limit 12",
    "understanding": "eval understanding -d scene-questions --limit 12 --question-types",
}
"""The same benchmarks as the user would type them one by one."""


def save_heads(folder: Path) -> dict[str, Path]:
    """A model that writes, a classifier of digits on it, and one like it that answers questions about scenes."""
    writer = save_writer(folder / "writer")
    config, checkpoint = writer_coca().config, load(str(writer)).checkpoint
    torch.manual_seed(1)
    digits, questions = find_dataset("digits"), find_dataset("scene-questions")
    assert digits.prompts is not None
    described = describe_classifier(config, "patches", digits.prompts(folder).class_names)
    classifier = replace(described, name="judge", backbone=str(writer), checkpoint=checkpoint)
    save_classifier(folder / "judge", classifier, classifier.build())
    answers = folder / "answers"
    save_folder(answers, writer_coca(), word_tokenizer(), "answers")
    head = describe_understanding(config, "answers", questions, "train", ANSWERS, {"": "yes"})
    head = replace(head, checkpoint=checkpoint)
    save_understanding(answers, head, head.build())
    return {"writer": writer, "judge": folder / "judge", "answers": answers}
