"""The user's own questions about pictures: `questions:FILE`."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from coca_cli.datasets.answer_cleaning import comparable
from coca_cli.datasets.caption_json import PICTURE_FOLDERS
from coca_cli.datasets.example import Dataset, Example, Scheme
from coca_cli.datasets.image_folder import check_split, is_there
from coca_cli.datasets.pairs import IMAGE_COLUMNS, SPLIT_COLUMNS, holds_pictures
from coca_cli.datasets.split_names import rank_split
from coca_cli.datasets.tables import TABLE_SUFFIXES, Row, Wanted, find_column, position_of, read_rows
from coca_cli.errors import BadExample, CocaError, MissingFile

IMAGE = Wanted("image", IMAGE_COLUMNS)
QUESTION = Wanted("question", ("question", "sentence", "statement"))
ANSWERS = ("answer", "answers")
KINDS = ("question_type", "type", "kind")
IDS = ("question_id", "id")
OPTIONAL = (*ANSWERS, *KINDS, *IDS, *SPLIT_COLUMNS)
ALL = "all"
TYPE_WORDS = 2
LAYOUT = f"""\
FILE.csv, .tsv, .jsonl, .parquet  (columns {IMAGE.columns[0]}, {QUESTION.columns[0]}, {ANSWERS[0]}; if you like \
{SPLIT_COLUMNS[0]}, {KINDS[0]}, {IDS[0]})
one question a line; several answers of people stand in a list (.jsonl, .parquet) or in several columns {ANSWERS[0]}
the pictures where FILE says, as seen from its folder, or in {PICTURE_FOLDERS[0]}/ beside it"""


def kind_of(question: str) -> str:
    """The type of a question that its set does not tell: its first words, as VQA's types are."""
    return " ".join(question.lower().split()[:TYPE_WORDS])


class _Question(NamedTuple):
    split: str
    example: Example
    place: str


def open_questions(name: str) -> Dataset:
    """The questions of a table.

    Raises:
        MissingFile: There is no such file.
        BadExample: A line cannot be read.
        CocaError: A column is missing, or the pictures are in the table.
    """
    path = Path(name).expanduser()
    if not path.is_file() or path.suffix.lower() not in TABLE_SUFFIXES:
        problem = "a file of another kind" if path.exists() else "nothing"
        raise MissingFile(f"{problem} lies at {path}, not questions that can be read. Give\n{LAYOUT}")
    if holds_pictures(path):
        raise CocaError(
            f"{path} has its pictures in it, which cannot be read one by one: write them to files and their paths into "
            "the table"
        )
    rows = list(_read_table(path))
    splits = tuple(sorted({row.split for row in rows}, key=rank_split)) or (ALL,)
    return Dataset(
        name=f"questions:{name}",
        task="questions",
        splits=splits,
        source="the user's own",
        licence="see source",
        layout=LAYOUT,
        read=partial(_read, f"questions:{name}", path, splits),
    )


def _read(name: str, path: Path, splits: Sequence[str], root: Path, split: str) -> Iterator[Example]:
    check_split(name, split, splits)
    found = [row for row in _read_table(path) if row.split == split]
    answered = sum(bool(row.example.texts) for row in found)
    if not found:
        raise MissingFile(f"{path} has no lines below its header: write questions into it. Give\n{LAYOUT}")
    bare = next((row for row in found if not row.example.texts), None)
    if bare is not None and answered:
        raise BadExample(
            f"{bare.place}: the question {bare.example.question!r} has no answer, and {answered:,} others of the split "
            f"{split} have one: fill it in, drop the line, or put all that are to be answered into a split of their own"
        )
    yield from (row.example for row in found)


def _read_table(path: Path) -> Iterator[_Question]:
    seen: set[tuple[str, str]] = set()
    for number, row in enumerate(read_rows(path, IMAGE, QUESTION, optional=OPTIONAL)):
        picture, question = (_text(row, find_column(row, wanted), wanted.noun) for wanted in (IMAGE, QUESTION))
        given, own_kind, split = (_optional(row, names) for names in (IDS, KINDS, SPLIT_COLUMNS))
        name = given or f"row-{number}"
        if (split, name) in seen:
            raise BadExample(f"{row.place}: the id {name} is there twice; every question needs one of its own")
        seen.add((split, name))
        answers = tuple(filter(None, map(comparable, _answers(row))))
        example = Example(
            id=name,
            media=(_place(path.parent, picture),),
            question=question,
            texts=answers,
            answer=Counter(answers).most_common(1)[0][0] if answers else "",
            kind=own_kind or kind_of(question),
        )
        yield _Question(split or ALL, example, row.place)


def _text(row: Row, column: int, noun: str) -> str:
    cell = row.cells[column]
    if not isinstance(cell, str) or not cell.strip():
        raise BadExample(f"{row.place}: the {noun} is {cell!r:.60}, not a text: fill it in or drop the line")
    return cell.strip()


def _optional(row: Row, names: tuple[str, ...]) -> str:
    column = position_of(row.columns, names)
    return "" if column is None else _plain(row.cells[column])


def _plain(cell: object) -> str:
    """A cell as a text: empty where it has no value, whole numbers without a point."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _answers(row: Row) -> Iterator[str]:
    for title, cell in zip(row.columns, row.cells, strict=True):
        if title.strip().lower() in ANSWERS and cell is not None:
            parts: list[Any] = cell if isinstance(cell, list) else [cell]
            for part in parts:
                if not isinstance(part, str | int | float):
                    raise BadExample(f"{row.place}: an answer is {part!r:.60}, not a text: correct it")
                yield _plain(part)


def _place(folder: Path, picture: str) -> Path:
    """Where the table says, else in the usual folder for pictures beside it."""
    file = folder / picture
    if not is_there(file) and not os.path.isabs(picture):  # noqa: PTH117 - a text, not yet a path
        return next((place for name in PICTURE_FOLDERS if is_there(place := folder / name / picture)), file)
    return file


QUESTIONS = Scheme(
    name="questions",
    argument="FILE",
    description="questions about pictures, with answers, in a table",
    layout=LAYOUT,
    open=open_questions,
)
