"""Answers to questions in files: what a server takes, and tables to look into."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coca_cli.datasets.example import Example
from coca_cli.errors import BadExample, CocaError, MissingFile
from coca_cli.files import make_folder, written_whole
from coca_cli.json_text import parse_json

IDS = ("question_id", "id", "identifier", "pairID")
ANSWERS = ("answer", "prediction", "label")
SUFFIXES = (".json", ".jsonl", ".csv")
NAMED = 3
FORMS = (
    'VQA\'s results JSON, [{"question_id": 1, "answer": "yes"}], or .jsonl or .csv with question_id (or id, '
    "identifier, pairID) and answer (or prediction, label); a .csv of ids and answers needs no header"
)


class GivenAnswer(NamedTuple):
    """An answer to one example.

    Attributes:
        example: The question.
        answer: What was said.
        score: How sure, from 0 to 1.
        accuracy: How right, from 0 to 1; None where nobody knows.
    """

    example: Example
    answer: str
    score: float
    accuracy: float | None


def check_answers_path(path: Path) -> None:
    """See before the work that the file can be written.

    Raises:
        CocaError: Another ending, or a folder that cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise CocaError(f"--save {path}: answers are written as {', '.join(SUFFIXES)}; the ending says which")
    make_folder(path.parent)


def write_answers(path: Path, given: Sequence[GivenAnswer]) -> None:
    """Write answers as the file's ending says: .json as VQA's server takes it, .jsonl and .csv with all that is known.

    Args:
        path: Replaced if it is there.
        given: In the order of the set.
    """
    make_folder(path.parent)
    with written_whole(path) as temporary:
        temporary.write_text(_WRITERS[path.suffix.lower()](given), encoding="utf-8", errors="backslashreplace")


def _as_json(given: Sequence[GivenAnswer]) -> str:
    rows = [{"question_id": _number(given_answer.example.id), "answer": given_answer.answer} for given_answer in given]
    return json.dumps(rows, ensure_ascii=False, indent=0) + "\n"


def _number(name: str) -> int | str:
    """An id as VQA writes it; one that is no plain number stays a text."""
    return int(name) if name.isdecimal() and str(int(name)) == name else name


def _row(given: GivenAnswer) -> dict[str, Any]:
    row: dict[str, Any] = {"id": given.example.id, "question": given.example.question, "answer": given.answer}
    row["score"] = round(given.score, 6)
    if given.accuracy is not None:
        row["accuracy"] = round(given.accuracy, 4)
    return row


def _as_lines(given: Sequence[GivenAnswer]) -> str:
    return "".join(json.dumps(_row(g), ensure_ascii=False) + "\n" for g in given)


def _as_table(given: Sequence[GivenAnswer]) -> str:
    text = io.StringIO()
    rows = [_row(g) for g in given]
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["id", "question", "answer", "score"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


_WRITERS = {".json": _as_json, ".jsonl": _as_lines, ".csv": _as_table}


def read_answers(path: Path, examples: Sequence[Example]) -> dict[str, str]:
    """The answers of a file by the ids of the examples.

    Args:
        path: One of `FORMS`.
        examples: All of the split.

    Raises:
        MissingFile: It is not there.
        BadExample: It is of no form that is known, speaks of questions that the split has not, or of one twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _parse(path, text)
        pairs = [(_value(row, IDS), _value(row, ANSWERS)) for row in rows]
    except OSError as error:
        raise MissingFile(f"cannot read the answers {path}: {error.strerror}; check the path") from None
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise BadExample(f"{path} holds no answers that can be read ({error}). Give {FORMS}") from None
    known = {example.id for example in examples}
    found: dict[str, str] = {}
    for name, answer in pairs:
        if name in found:
            raise BadExample(f"{path} answers the question {name} twice: each must be answered once, drop the others")
        found[name] = answer
    unknown = [name for name in found if name not in known]
    if unknown:
        raise BadExample(
            f"{path} answers {len(unknown):,} questions that are not in this split, such as "
            f"{', '.join(unknown[:NAMED])} (the split has {', '.join(e.id for e in examples[:NAMED])} ...): give the "
            "answers of this split"
        )
    return found


def _parse(path: Path, text: str) -> list[Any]:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _parse_table(list(filter(None, csv.reader(io.StringIO(text), strict=True))))
    if suffix == ".jsonl":
        return [parse_json(line) for line in text.split("\n") if line.strip()]
    rows = parse_json(text)
    if not isinstance(rows, list):
        raise ValueError("it must be a list")
    return rows


def _parse_table(rows: list[list[str]]) -> list[dict[str, str]]:
    """The rows below a header; without one, as NLVR2's evaluator takes them, id and answer."""
    first = set(rows[0]) if rows else set()
    if first.isdisjoint(IDS) and first.isdisjoint(ANSWERS) and all(len(row) == 2 for row in rows):
        rows = [[IDS[0], ANSWERS[0]], *rows]
    return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]


def _value(row: Any, names: Sequence[str]) -> str:
    found = next((row[name] for name in names if name in row), None) if isinstance(row, dict) else None
    if not isinstance(found, str | int):
        raise ValueError(f"one of them has no {' or '.join(names)}: {str(row)[:60]}")
    return str(found)
