"""Questions and statements about coloured squares that a tiny model of random weights can be taught to answer."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from coca_cli.model.checkpoint import save_folder
from coca_cli.model.coca import CoCa
from coca_cli.model.config import tiny_config
from coca_cli.model.tokenizer import SentencePieceTokenizer, train_sentencepiece
from tests.commands.squares import CLASSES, picture


def save_questions(folder: Path) -> Path:
    """A table of two questions about each of 60 pictures for training and 12 for the score."""
    rows = []
    for split, count, first in (("train", 20, 0), ("test", 4, 1000)):
        for label, name in enumerate(CLASSES):
            for number in range(count):
                file = f"images/{split}-{name}-{number:02}.png"
                (folder / "images").mkdir(parents=True, exist_ok=True)
                picture(label, first + number).save(folder / file)
                red = "yes" if name == "red" else "no"
                rows.append({"image": file, "question": "what colour is it?", "answer": name, "split": split})
                rows.append({"image": file, "question": "is it a red square?", "answer": red, "split": split})
    (folder / "asked.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "asked.jsonl"


def save_pairs(folder: Path) -> Path:
    """NLVR2's files: one statement about pairs of squares, which is true of those of one colour."""
    (folder / "nlvr2/images").mkdir(parents=True)
    for name, count, first in (("train", 40, 0), ("dev", 12, 500)):
        lines = []
        for number in range(count):
            left = number % 3
            right = left if number % 2 else (left + 1) % 3
            for side, label in enumerate((left, right)):
                file = folder / f"nlvr2/images/{name}-{number // 2}-{number % 2}-img{side}.png"
                picture(label, first + 2 * number + side).save(file)
            identifier = f"{name}-{number // 2}-{number % 2}-0"
            record = {"identifier": identifier, "sentence": "both are of one colour.", "label": str(left == right)}
            lines.append(json.dumps(record))
        (folder / f"nlvr2/{name}.json").write_text("\n".join(lines))
    return folder


def save_entailment(folder: Path) -> Path:
    """SNLI-VE's files: sentences about squares."""
    (folder / "snli-ve/images").mkdir(parents=True)
    for name, count, first in (("train", 36, 0), ("test", 9, 500), ("dev", 9, 700)):
        lines = []
        for number in range(count):
            shown, said = number % 3, (number // 3) % 3
            picture(shown, first + number).save(folder / f"snli-ve/images/{first + number}.jpg", quality=95)
            label = "entailment" if shown == said else "contradiction"
            record = {
                "pairID": f"{first + number}#0",
                "Flickr30K_ID": str(first + number),
                "sentence2": f"it is a {CLASSES[said]} square." if number % 5 else "somebody likes it.",
                "gold_label": label if number % 5 else "neutral",
            }
            lines.append(json.dumps(record))
        (folder / f"snli-ve/snli_ve_{name}.jsonl").write_text("\n".join(lines))
    return folder


def save_answerless_model(folder: Path) -> Path:
    """A folder with a tiny CoCa of random weights whose words are those of the questions."""
    texts = [f"what colour is it? {name}" for name in CLASSES] + [
        "is it a red square? yes no",
        "both are of one colour.",
    ]
    words = train_sentencepiece([*texts, "somebody likes it."], 60)
    tokenizer = SentencePieceTokenizer(words, context=16)
    torch.manual_seed(0)
    config = tiny_config(tokenizer.vocab_size, image_size=32, context=16)
    save_folder(folder, CoCa(config), tokenizer, "tiny")
    return folder
