"""The questions or statements of a finetuning run, and the answers that its classifier learns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from coca_cli.datasets.example import Example
from coca_cli.datasets.held_out import choose_training_splits, hold_out_pictures
from coca_cli.datasets.selection import is_answered, select_questions
from coca_cli.errors import BadExample, CocaError, MissingFile
from coca_cli.json_text import parse_json
from coca_cli.tasks.vqa_accuracy import AnswerList, as_spelled, frequent_answers, usual_answers
from coca_cli.training.understanding_request import UnderstandingRequest


class UnderstandingData(NamedTuple):
    """What is trained on and scored on.

    Attributes:
        train: Training examples.
        val: Others, that the model is scored on while it is trained.
        splits: Where both come from, for the run file.
        split: What is trained on.
        answers: C answers.
        usual: Most frequent training answer by type of question, see `usual_answers`.
        unknown: How many training questions have no right answer among the C.
    """

    train: list[Example]
    val: list[Example]
    splits: dict[str, object]
    split: str
    answers: AnswerList
    usual: dict[str, str]
    unknown: int


def select_data(request: UnderstandingRequest) -> UnderstandingData:
    """Find the examples and the answers; the same on every process.

    Raises:
        CocaError: Data are missing, or lack answers.
    """
    dataset = request.dataset
    names = choose_training_splits(dataset, request.train_split, request.val_split)
    train = _answered(request, names.train)
    splits: dict[str, object] = {"train": names.train, "val": names.val or {"part of train": request.val_part}}
    if names.val:
        val = _answered(request, names.val)
    else:
        kept, held = hold_out_pictures(train, request.val_part, request.schedule.seed)
        train, val = [train[row] for row in kept], [train[row] for row in held]
    if not train or not val:
        raise CocaError(
            f"{dataset.name} {names.train} asks about one picture alone, so none can be held out to score the model "
            "on: name a --val-split, or give more data"
        )
    _refuse_common(dataset.name, train, val)
    if dataset.answers:
        answers, said = AnswerList(dataset.answers), [(e.kind, dataset.answers[e.label or 0]) for e in train]
        return UnderstandingData(train, val, splits, names.train, answers, _usual(said, pooled=True), 0)
    if isinstance(request.answers, Path):
        answers = as_spelled(read_answer_list(request.answers), train)
    else:
        answers = frequent_answers(train, request.answers)
    unknown = sum(not answers.knows(example.texts) for example in train)
    if unknown == len(train):
        raise BadExample(
            f"none of the {len(answers):,} answers, such as {answers.words[0]!r}, is right for any of {len(train):,} "
            f"training questions of {dataset.name}, such as {train[0].texts[0]!r}: give the list that belongs to them"
        )
    said = [(example.kind, example.answer) for example in train]
    return UnderstandingData(train, val, splits, names.train, answers, _usual(said, pooled=False), unknown)


def _refuse_common(dataset: str, train: Sequence[Example], val: Sequence[Example]) -> None:
    """The same question about the same pictures must not be trained on and scored."""

    def keys(examples: Sequence[Example]) -> Iterator[tuple[object, ...]]:
        return ((tuple(map(str, example.media)), example.question) for example in examples)

    trained = set(keys(train))
    common = [example for example, key in zip(val, keys(val), strict=True) if key in trained]
    if common:
        raise BadExample(
            f"{len(common):,} of {len(val):,} validation examples of {dataset} are trained on as well, such as "
            f"{common[0].id} ({common[0].question!r}): take them out of one of the splits"
        )


def _usual(said: Sequence[tuple[str, str]], *, pooled: bool) -> dict[str, str]:
    """By type of question; of statements, whose kinds are no types, over all."""
    return usual_answers(("", answer) if pooled else (kind, answer) for kind, answer in said)


def _answered(request: UnderstandingRequest, split: str) -> list[Example]:
    examples = select_questions(request.dataset, request.root, split, request.limit)
    bare = [example for example in examples if not is_answered(example)]
    if bare:
        raise BadExample(
            f"{len(bare):,} of {len(examples):,} questions of {request.dataset.name} {split} have no answers, such as "
            f"{bare[0].id} ({bare[0].question!r}): nothing can be learnt or scored with them; name another split"
        )
    return examples


def read_answer_list(path: Path) -> AnswerList:
    """The answers that a file lists, one a line or as a JSON list.

    Raises:
        MissingFile: It cannot be read.
        BadExample: It is no text, empty, or has an answer twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise MissingFile(f"cannot read the list of answers {path}: {error.strerror}; check the path") from None
    except UnicodeDecodeError as error:
        raise BadExample(f"the list of answers {path} is not UTF-8 text ({error.reason}): save it so") from None
    words = [line.strip() for line in lines if line.strip()]
    if path.suffix.lower() == ".json":
        try:
            words = [word for word in parse_json("\n".join(lines)) if isinstance(word, str) and word.strip()]
        except (ValueError, TypeError, RecursionError) as error:
            raise BadExample(f"the list of answers {path} is no JSON list of texts ({error}): write one") from None
    if len(words) < 2:
        raise BadExample(f"the list of answers {path} has {len(words)} of them: write at least two, one a line")
    try:
        return AnswerList(words)
    except BadExample as error:
        raise BadExample(f"the list of answers {path} cannot be used: {error}") from None
