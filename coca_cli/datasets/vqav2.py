"""VQA v2: questions about COCO's pictures of 2014, ten answers each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple

from coca_cli.datasets.example import Dataset, Example
from coca_cli.datasets.image_folder import check_split, find_beside, locate, missing
from coca_cli.datasets.listed_pictures import PictureIndex
from coca_cli.errors import BadExample, MissingFile
from coca_cli.json_text import parse_json


class Part(NamedTuple):
    """The files of one official part.

    Attributes:
        questions: Its questions.
        annotations: Their answers; "" where they are kept back.
        pictures: The folder of its pictures, as COCO calls it.
    """

    questions: str
    annotations: str
    pictures: str


def _part(name: str, pictures: str, *, answers: bool) -> Part:
    annotations = f"v2_mscoco_{name}_annotations.json" if answers else ""
    return Part(f"v2_OpenEnded_mscoco_{name}_questions.json", annotations, pictures)


PARTS = {
    "train": _part("train2014", "train2014", answers=True),
    "val": _part("val2014", "val2014", answers=True),
    "test-dev": _part("test-dev2015", "test2015", answers=False),
    "test-std": _part("test2015", "test2015", answers=False),
}
SPLITS = ("val", "minival", "test-dev", "test-std", "train", "trainval")
MINIVAL = ("minival.json", "minival.txt", "minival_ids.txt")
FOLDERS = ("", "questions", "annotations")
LAYOUT = f"""\
vqav2/{PARTS["train"].questions}, {PARTS["val"].questions}
vqav2/{PARTS["train"].annotations}, {PARTS["val"].annotations}
vqav2/{PARTS["test-dev"].questions}, {PARTS["test-std"].questions} (no answers: for the server)
vqav2/minival.json or .txt                (for the splits minival and trainval: ids of questions or pictures of val)
  (all of these here, or in questions/ and annotations/)
vqav2/train2014/*.jpg, val2014/*.jpg, test2015/*.jpg (here, in images/, or in coco/ beside vqav2/; names of 2014 as in
  COCO_val2014_000000262148.jpg, or of 2017 as in 000000262148.jpg)"""


def _read(root: Path, split: str) -> Iterator[Example]:
    check_split("vqav2", split, SPLITS)
    folder = locate(root, ("vqav2", "vqa", "vqa2", "vqa_v2"), _fits, LAYOUT)
    if split in PARTS:
        yield from _read_part(folder, PARTS[split])
        return
    val = list(_read_part(folder, PARTS["val"]))
    listed = _minival(folder, {example.id for example in val})
    if split == "trainval":
        yield from _read_part(folder, PARTS["train"])
    yield from (example for example in val if (example.id in listed) == (split == "minival"))


def _picture_of(question: str) -> str:
    """A question's number is that of its picture, times 1,000, and its own."""
    return question[:-3] or "0"


def _fits(folder: Path) -> bool:
    return any(find_beside(folder, FOLDERS, part.questions) is not None for part in PARTS.values())


def _minival(folder: Path, questions: AbstractSet[str]) -> AbstractSet[str]:
    """The ids of the questions of val that the list of minival names by themselves or by their pictures."""
    path = next((found for name in MINIVAL if (found := find_beside(folder, FOLDERS, name)) is not None), None)
    if path is None:
        raise missing(f"{folder} has no {MINIVAL[0]}, which says what of val is minival", LAYOUT)
    text = path.read_text(encoding="utf-8-sig")
    try:
        rows = parse_json(text) if path.suffix == ".json" else text.split()
        named = [_id_in(row) for row in rows]
    except (ValueError, KeyError, TypeError):
        raise BadExample(
            f'{path} is no list of minival: it must be a JSON list of ids or of objects with "question_id", or a '
            ".txt with one id a line"
        ) from None
    if not named:
        raise BadExample(f"the list of minival {path} is empty: write ids of questions or pictures of val into it")
    listed = {name for name, _ in named}
    pictures = {_picture_of(question) for question in questions}
    if any(kind == "image_id" for _, kind in named) or (listed <= pictures and not listed <= questions):
        unknown = listed - pictures
        chosen = {question for question in questions if _picture_of(question) in listed}
    else:
        unknown, chosen = listed - questions, listed
    if unknown:
        raise BadExample(
            f"{path} lists {len(unknown):,} ids that val does not have, such as {', '.join(sorted(unknown)[:3])}: list "
            "questions of val, or pictures of val, and nothing else"
        )
    return chosen


def _id_in(row: Any) -> tuple[str, str]:
    """A number, and what it is of: "question_id", "image_id" or "" where nobody says."""
    kind = ""
    if isinstance(row, Mapping):
        kind = "question_id" if "question_id" in row else "image_id"
        row = row[kind]
    return str(int(row)), kind


def _read_part(folder: Path, part: Part) -> Iterator[Example]:
    path = find_beside(folder, FOLDERS, part.questions)
    if path is None:
        raise missing(f"{folder} has no {part.questions}", LAYOUT)
    questions = _records(path, "questions")
    answers = _answers(folder, part)
    places = [folder / part.pictures, folder / "images" / part.pictures]
    places += [folder.parent / "coco" / name / part.pictures for name in ("", "images")]
    place = part.pictures[:-4]
    years = ("test2017",) if place == "test" else ("train2017", "val2017")  # most of val2014 is in train2017
    places += [base / year for year in years for base in (folder, folder / "images", folder.parent / "coco")]
    places.append(folder / "images")
    index = PictureIndex(places)
    for record in questions:
        name, number = str(record["question_id"]), f"{record['image_id']:012d}.jpg"
        file = index.place((f"COCO_{part.pictures}_{number}", number), folder / part.pictures)
        example = Example(id=name, media=(file,), question=record["question"])
        yield example if answers is None else _answered(example, answers.get(name), part)


def _answered(example: Example, annotation: Mapping[str, Any] | None, part: Part) -> Example:
    if annotation is None:
        raise BadExample(
            f"the question {example.id} ({example.question!r:.60}) has no answers in {part.annotations}: questions and "
            "annotations must be of the same release and part"
        )
    return Example(
        id=example.id,
        media=example.media,
        question=example.question,
        texts=tuple(answer["answer"] for answer in annotation["answers"]),
        answer=annotation.get("multiple_choice_answer", ""),
        group=annotation.get("answer_type", ""),
        kind=annotation.get("question_type", ""),
    )


def _answers(folder: Path, part: Part) -> dict[str, Mapping[str, Any]] | None:
    """Annotations by the question's id; None for a part whose answers are kept back."""
    if not part.annotations:
        return None
    path = find_beside(folder, FOLDERS, part.annotations)
    if path is None:
        raise missing(f"{folder} has {part.questions}, but no {part.annotations} with the answers", LAYOUT)
    found: dict[str, Mapping[str, Any]] = {}
    for number, record in enumerate(_records(path, "annotations")):
        answers = record.get("answers")
        if not isinstance(answers, list) or not answers or not all(_is_answer(answer) for answer in answers):
            raise BadExample(
                f'{path}, annotations[{number}] has no list of answers such as {{"answer": "yes"}}: fetch it again'
            )
        found[str(record["question_id"])] = record
    return found


def _is_answer(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("answer"), str)


_FIELDS: Mapping[str, Mapping[str, type]] = {
    "questions": {"question_id": int, "image_id": int, "question": str},
    "annotations": {"question_id": int, "multiple_choice_answer": str, "answer_type": str, "question_type": str},
}
_OPTIONAL = ("multiple_choice_answer", "answer_type", "question_type")


def _records(path: Path, key: str) -> list[dict[str, Any]]:
    """The list of that name in an official file, each record whole and no question twice."""
    try:
        content = parse_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise MissingFile(f"cannot read {path}: {error.strerror}; check that it is a file that may be read") from None
    except ValueError as error:
        raise BadExample(f"{path} is not valid JSON ({error}): fetch it again") from None
    records = content.get(key) if isinstance(content, dict) else None
    if not isinstance(records, list):
        raise BadExample(f'{path} is no official file of VQA v2: it must hold an object with a list "{key}"')
    seen: set[int] = set()
    for number, record in enumerate(records):
        for field, kind in _FIELDS[key].items():
            value = record.get(field, "" if field in _OPTIONAL else None) if isinstance(record, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                raise BadExample(f"{path}, {key}[{number}] has no {field} ({kind.__name__}): fetch the file again")
        if record["question_id"] in seen:
            raise BadExample(f"{path} has the question {record['question_id']} twice: each must be there once")
        seen.add(record["question_id"])
    return records


VQAV2 = Dataset(
    name="vqav2",
    task="questions",
    splits=SPLITS,
    source="Goyal et al. 2017, arXiv 1612.00837, https://visualqa.org; pictures of COCO",
    licence="CC BY 4.0 (pictures: see source)",
    layout=LAYOUT,
    read=_read,
    overlaps=(("val", "minival"), ("train", "trainval"), ("val", "trainval"), ("test-dev", "test-std")),
)
