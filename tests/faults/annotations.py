"""The annotation files that datasets are handed out with, each small and sound, to be spoiled by tests."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.changes import as_json, as_lines
from tests.faults.pictures import encoded, photograph

NAMES = ("one.jpg", "two.jpg", "three.jpg")
CAPTIONS = ("a dog on a beach", "two people eat", "an old red car")


class Format(NamedTuple):
    """A kind of annotation file.

    Attributes:
        name: For the test's name.
        file: Where the file lies below the data root.
        document: What stands in it.
        write: Makes bytes of it.
        dataset: What is given as --dataset; {file} stands for the file.
        split: Which is read.
        others: Further files, their contents by their place below the data root.
    """

    name: str
    file: str
    document: Any
    write: Callable[[Any], bytes]
    dataset: str
    split: str
    others: dict[str, bytes]


def as_table(separator: str) -> Callable[[Any], bytes]:
    """Records as a table; what is no record, or no text, as a script would write it without thinking."""

    def write(document: Any) -> bytes:
        text = io.StringIO()
        if not isinstance(document, list) or not document:
            return str(document).encode(errors="replace")
        titles = list(dict.fromkeys(k for record in document if isinstance(record, dict) for k in record))
        writer = csv.writer(text, delimiter=separator, lineterminator="\n")
        writer.writerow(titles)
        for record in document:
            if isinstance(record, dict):
                writer.writerow(["" if record.get(title) is None else record.get(title) for title in titles])
            else:
                writer.writerow([record])
        return text.getvalue().encode("utf-8", errors="replace")

    return write


def as_bare_table(document: Any) -> bytes:
    """Lists as a table without a header."""
    text = io.StringIO()
    rows = document if isinstance(document, list) else [document]
    csv.writer(text, lineterminator="\n").writerows(row if isinstance(row, list) else [row] for row in rows)
    return text.getvalue().encode("utf-8", errors="replace")


def _rows(**fields: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]


def _coco() -> dict[str, Any]:
    images = [{"id": number, "file_name": name} for number, name in enumerate(NAMES)]
    annotations = [{"image_id": number, "id": number, "caption": text} for number, text in enumerate(CAPTIONS)]
    return {"images": images, "annotations": annotations}


def _karpathy() -> dict[str, Any]:
    return {
        "images": [
            {"filename": name, "imgid": number, "split": "test", "sentences": [{"raw": caption}]}
            for number, (name, caption) in enumerate(zip(NAMES, CAPTIONS, strict=True))
        ]
    }


def _vqa_questions() -> dict[str, Any]:
    return {"questions": _rows(question_id=(1000, 2000, 3000), image_id=(1, 2, 3), question=("who?", "what?", "why?"))}


def _vqa_answers() -> dict[str, Any]:
    answers = [{"answer": "yes", "answer_id": number} for number in range(1, 11)]
    common = {"multiple_choice_answer": "yes", "answer_type": "yes/no", "question_type": "who", "answers": answers}
    return {"annotations": [{"question_id": 1000 * n, "image_id": n, **common} for n in (1, 2, 3)]}


def formats() -> list[Format]:
    """All of them, with the pictures that they name."""
    picture = encoded(photograph(), "JPEG")
    beside = {f"images/{name}": picture for name in NAMES}
    pairs = {f"nlvr2/images/dev-{n}-0-img{side}.png": encoded(photograph(), "PNG") for n in range(3) for side in "01"}
    coco_pictures = {f"vqav2/val2014/COCO_val2014_{n:012}.jpg": picture for n in (1, 2, 3)}
    clips = {f"msrvtt/videos/video{n}.mp4": b"" for n in range(3)}
    captions = _rows(image=NAMES, caption=CAPTIONS)
    asked = _rows(image=NAMES, question=("who is it?", "what is it?", "is it red?"), answer=("a dog", "people", "yes"))
    shown = _rows(video=("a.mp4", "b.mp4", "c.mp4"), caption=CAPTIONS, label=("run", "eat", "drive"))
    entailed = _rows(
        pairID=("1.jpg#0", "2.jpg#0", "3.jpg#0"),
        Flickr30K_ID=("1", "2", "3"),
        sentence2=CAPTIONS,
        gold_label=("entailment", "neutral", "contradiction"),
    )
    explained = _rows(
        pairID=("1.jpg#0", "2.jpg#0", "3.jpg#0"),
        Flickr30kID=("1.jpg", "2.jpg", "3.jpg"),
        hypothesis=CAPTIONS,
        gold_label=("entailment", "neutral", "contradiction"),
    )
    judged = _rows(
        identifier=("dev-0-0-0", "dev-1-0-0", "dev-2-0-0"), sentence=CAPTIONS, label=("True", "False", "True")
    )
    msrvtt = {
        "videos": [{"video_id": f"video{n}", "split": "test", "category": 1} for n in range(3)],
        "sentences": [{"video_id": f"video{n}", "caption": text, "sen_id": n} for n, text in enumerate(CAPTIONS)],
    }
    listed = _rows(key=("ret0", "ret1", "ret2"), video_id=("video0", "video1", "video2"), sentence=CAPTIONS)
    nocaps = _coco() | {"licenses": []}
    for entry in nocaps["images"]:
        entry["domain"] = "in-domain"
    kinetics = _rows(
        label=("archery", "abseiling", "yoga"),
        youtube_id=("aaa", "bbb", "ccc"),
        time_start=(1, 2, 3),
        time_end=(11, 12, 13),
        split=("validate",) * 3,
    )
    kinetics_clips = {f"kinetics-400/val/{name}.mp4": b"" for name in ("aaa", "bbb", "ccc")}
    moments = [["one.mp4", "barking", "3", "0"], ["two.mp4", "cooking", "3", "0"], ["three.mp4", "diving", "3", "0"]]
    moments_clips = {f"moments-in-time/validation/{name}.mp4": b"" for name in ("one", "two", "three")}
    flickr = {f"snli-ve/images/{n}.jpg": picture for n in (1, 2, 3)}
    corrected = {f"e-snli-ve/images/{n}.jpg": picture for n in (1, 2, 3)}
    places = {f"{name}.mp4": b"" for name in "abc"}
    val_questions = "vqav2/v2_OpenEnded_mscoco_val2014_questions.json"
    val_answers = "vqav2/v2_mscoco_val2014_annotations.json"
    own = "captions:{file}"
    return [
        Format("coco", "coco.json", _coco(), as_json, own, "all", beside),
        Format("karpathy", "karpathy.json", _karpathy(), as_json, own, "test", beside),
        Format("captions.csv", "t.csv", captions, as_table(","), own, "all", beside),
        Format("captions.tsv", "t.tsv", captions, as_table("\t"), own, "all", beside),
        Format("captions.jsonl", "t.jsonl", captions, as_lines, own, "all", beside),
        Format("questions.csv", "q.csv", asked, as_table(","), "questions:{file}", "all", beside),
        Format("questions.jsonl", "q.jsonl", asked, as_lines, "questions:{file}", "all", beside),
        Format("videos.csv", "v.csv", shown, as_table(","), "videos:{file}", "all", places),
        Format("videos.jsonl", "v.jsonl", shown, as_lines, "videos:{file}", "all", places),
        Format(
            "nocaps",
            "nocaps/nocaps_val_4500_captions.json",
            nocaps,
            as_json,
            "nocaps",
            "val",
            {f"nocaps/images/{name}": picture for name in NAMES},
        ),
        Format("kinetics", "kinetics-400/val.csv", kinetics, as_table(","), "kinetics-400", "val", kinetics_clips),
        Format(
            "moments",
            "moments-in-time/validationSet.csv",
            moments,
            as_bare_table,
            "moments-in-time",
            "val",
            moments_clips,
        ),
        Format("snli-ve", "snli-ve/snli_ve_dev.jsonl", entailed, as_lines, "snli-ve", "dev", flickr),
        Format("e-snli-ve", "e-snli-ve/esnlive_dev.csv", explained, as_table(","), "e-snli-ve", "dev", corrected),
        Format("nlvr2", "nlvr2/dev.json", judged, as_lines, "nlvr2", "dev", pairs),
        Format(
            "vqav2 questions",
            val_questions,
            _vqa_questions(),
            as_json,
            "vqav2",
            "val",
            {**coco_pictures, val_answers: as_json(_vqa_answers())},
        ),
        Format(
            "vqav2 answers",
            val_answers,
            _vqa_answers(),
            as_json,
            "vqav2",
            "val",
            {**coco_pictures, val_questions: as_json(_vqa_questions())},
        ),
        Format("msrvtt", "msrvtt/MSRVTT_data.json", msrvtt, as_json, "msrvtt", "test", clips),
        Format("1k-a", "msrvtt/MSRVTT_JSFUSION_test.csv", listed, as_table(","), "msrvtt", "test-1k-a", clips),
    ]


FORMATS_BY_NAME = {made.name: made for made in formats()}


def write_format(root: Path, made: Format, content: bytes) -> Path:
    """The file with this content, and all that it needs beside it."""
    for name, data in {**made.others, made.file: content}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root / made.file
