"""Writes the samples of sets with questions or statements."""

from __future__ import annotations

import json
from pathlib import Path

from tests.datasets.sample_files import SIDE, save_pictures, save_text

VQA_ASKED = {  # part: (picture, question, the ten answers)
    "train2014": (
        (9, "how many squares are there?", ("2", "2", "2", "2", "two", "2", "3", "2", "2", "2")),
        (9, "is it drawn?", ("yes",) * 10),
        (25, "what color is it?", ("red", "red", "dark red", "red", "red", "red", "red", "red", "red", "red")),
    ),
    "val2014": (
        (42, "is it drawn?", ("yes",) * 9 + ("no",)),
        (42, "what color is it?", ("blue",) * 7 + ("light blue",) * 3),
        (73, "is it a photo?", ("no",) * 10),
    ),
}
VQA_TYPES = {"how many": "number", "what color": "other", "is it": "yes/no"}


def save_vqav2(folder: Path) -> None:
    """VQA v2: questions and annotations of two parts, questions alone of two others, a list of minival."""
    for part, asked in VQA_ASKED.items():
        questions, annotations = [], []
        for number, (picture, question, answers) in enumerate(asked):
            name = {"question_id": picture * 1000 + number, "image_id": picture}
            kind = " ".join(question.split()[:2])
            questions.append(name | {"question": question})
            annotations.append(
                name
                | {
                    "question_type": kind,
                    "answer_type": VQA_TYPES[kind],
                    "multiple_choice_answer": answers[0],
                    "answers": [
                        {"answer": answer, "answer_confidence": "yes", "answer_id": place}
                        for place, answer in enumerate(answers, start=1)
                    ],
                }
            )
        form = {"task_type": "Open-Ended", "data_type": "mscoco", "data_subtype": part}
        save_text(
            folder / f"v2_OpenEnded_mscoco_{part}_questions.json", json.dumps(form | {"questions": questions}, indent=1)
        )
        answered = form | {"annotations": annotations}
        save_text(folder / f"v2_mscoco_{part}_annotations.json", json.dumps(answered, indent=1))
        pictures = dict.fromkeys(f"{part}/COCO_{part}_{picture:012d}.jpg" for picture, _, _ in asked)
        save_pictures(folder, tuple(pictures))
    asked_in_test = [
        {"question_id": 1_000_001, "image_id": 1000, "question": "is it drawn?"},
        {"question_id": 1_001_000, "image_id": 1001, "question": "what color is it?"},
    ]
    for part, count in (("test-dev2015", 1), ("test2015", 2)):
        content = {"task_type": "Open-Ended", "data_subtype": part, "questions": asked_in_test[:count]}
        save_text(folder / f"v2_OpenEnded_mscoco_{part}_questions.json", json.dumps(content, indent=1))
    save_pictures(folder, ("test2015/COCO_test2015_000000001000.jpg", "test2015/COCO_test2015_000000001001.jpg"))
    save_text(folder / "minival.txt", "73\n")


SNLI_VE = {  # picture: (split, sentence, label)
    "1007129816": (("test", "it is drawn.", "entailment"), ("test", "someone sleeps.", "neutral")),
    "1009434119": (("dev", "there is nothing.", "contradiction"), ("dev", "it is not clear.", "-")),
    "101362133": (("train", "a child drew it.", "neutral"), ("train", "it is a photo.", "contradiction")),
}


def save_snli_ve(folder: Path) -> None:
    """SNLI-VE: JSON lines by split, one of them of a pair without a label that the annotators agreed on."""
    for split in ("train", "dev", "test"):
        lines = [
            json.dumps(
                {
                    "Flickr30K_ID": picture,
                    "captionID": f"{picture}.jpg#0",
                    "gold_label": label,
                    "pairID": f"{picture}.jpg#0r{number}{label[0]}",
                    "sentence1": "drawn colours.",
                    "sentence2": sentence,
                }
            )
            for picture, pairs in SNLI_VE.items()
            for number, (part, sentence, label) in enumerate(pairs)
            if part == split
        ]
        save_text(folder / f"snli_ve_{split}.jsonl", "\n".join(lines))
    save_pictures(folder, tuple(f"flickr30k-images/{picture}.jpg" for picture in SNLI_VE))


def save_e_snli_ve(folder: Path) -> None:
    """e-SNLI-VE: tables by split, with explanations that may hold commas."""
    for split in ("train", "dev", "test"):
        rows = [
            f'{number},{picture}.jpg#0r{number}{label[0]},{picture}.jpg,{sentence},{label},"drawn, so it is."'
            for picture, pairs in SNLI_VE.items()
            for number, (part, sentence, label) in enumerate(pairs)
            if part == split and label != "-"
        ]
        save_text(
            folder / f"esnlive_{split}.csv", "\n".join((",pairID,Flickr30kID,hypothesis,gold_label,explanation", *rows))
        )
    save_pictures(folder, tuple(f"images/{picture}.jpg" for picture in SNLI_VE))


NLVR2 = {  # file, folder of its pictures -> (identifier, sentence, label)
    ("dev", "dev"): (
        ("dev-850-0-0", "The left picture is drawn.", "True"),
        ("dev-850-1-0", "The left picture is drawn.", "False"),
        ("dev-850-0-1", "Both pictures are alike.", "False"),
    ),
    ("test1", "test1"): (("test1-0-0-0", "One picture is darker.", "True"),),
    ("train", "train/7"): (("train-10171-0-0", "There are two squares.", "False"),),
}


def save_nlvr2(folder: Path) -> None:
    """NLVR2: JSON lines, two pictures each, those for training in numbered folders."""
    for (name, place), statements in NLVR2.items():
        lines = [
            json.dumps({"identifier": identifier, "sentence": sentence, "label": label, "synset": "square"})
            for identifier, sentence, label in statements
        ]
        save_text(folder / f"{name}.json", "\n".join(lines))
        pairs = dict.fromkeys(identifier.rpartition("-")[0] for identifier, _, _ in statements)
        save_pictures(folder / "images" / place, tuple(f"{pair}-img{side}.png" for pair in pairs for side in (0, 1)))


def save_easy_vqa(folder: Path) -> None:
    """easy-VQA: lists of triples."""
    for split, first in (("train", 0), ("test", 1)):
        asked = [["what color is the shape?", "blue", 0], ["is there a circle?", "no", first]]
        save_text(folder / split / "questions.json", json.dumps(asked))
        save_pictures(folder / split, tuple(f"images/{number}.png" for number in {0, first}), SIDE + first)


def save_question_sets(samples: Path) -> None:
    """Write all of them below the folder."""
    save_vqav2(samples / "vqav2/vqav2")
    save_snli_ve(samples / "snli-ve/snli-ve")
    save_e_snli_ve(samples / "e-snli-ve/e-snli-ve")
    save_nlvr2(samples / "nlvr2/nlvr2")
    save_easy_vqa(samples / "easy-vqa/easy-vqa")
