"""The straight path of `coca eval understanding`: answers from a model or a file, their scores, rows in the store."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coca_cli.datasets.example import Dataset, Example
from coca_cli.datasets.held_out import share_examples
from coca_cli.datasets.selection import hash_questions, is_answered, select_questions
from coca_cli.errors import BadCheckpoint, BadExample, CocaError, MissingFile
from coca_cli.media.batches import Skipped
from coca_cli.media.contact_sheet import check_sheet_path
from coca_cli.model.coca import CoCa
from coca_cli.model.placement import Origin, Placed
from coca_cli.model.understanding_folder import SavedUnderstanding
from coca_cli.model.weights import hash_weights
from coca_cli.progress import Reporter
from coca_cli.results import Result, settings_hash
from coca_cli.store import Store
from coca_cli.tasks.answer_files import GivenAnswer, check_answers_path, read_answers, write_answers
from coca_cli.tasks.answering import Answerer, Outcome, answer_questions, number_pictures
from coca_cli.tasks.recording import Evaluation
from coca_cli.tasks.shown_answers import answer_details, show_answers
from coca_cli.tasks.understanding_scores import Scores, question_scores, rate_answers, statement_scores, usual_accuracy
from coca_cli.tasks.vqa_accuracy import AnswerList
from coca_cli.world import SINGLE, World

NAMED = 3
ANSWERS_FOLDER = "answers"
SHUFFLED = "pictures shuffled"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderstandingEvalRequest:
    """What to score, and how.

    Attributes:
        dataset: A dataset with questions or statements.
        root: The data root.
        split: None for the one that is evaluated by default.
        answers: A file of answers to score; None where a model answers.
        shuffle_pictures: Give each question the pictures of another.
        by_kind: A row for each type of question, too.
        save: Where the model's answers go; None for a place in the store.
        show: A picture of some questions and their answers.
        batch_size: Pictures, or texts, in one forward pass.
        workers: Decoding threads; None for as many as fit the machine.
        limit: The first so many examples.
        strict: Stop at the first unreadable picture.
        seed: Of the bootstrap, and of the shuffling.
    """

    dataset: Dataset
    root: Path
    split: str | None = None
    answers: Path | None = None
    shuffle_pictures: bool = False
    by_kind: bool = False
    save: Path | None = None
    show: Path | None = None
    batch_size: int = 64
    workers: int | None = None
    limit: int | None = None
    strict: bool = False
    seed: int = 0


class ChosenQuestions(NamedTuple):
    """What is scored.

    Attributes:
        split: Which part of the dataset.
        examples: Its questions or statements.
        given: id -> answer, from a file; None where a model answers.
        origin: Where the answers of the file come from.
    """

    split: str
    examples: list[Example]
    given: dict[str, str] | None
    origin: Origin | None


class UnderstandingScored(NamedTuple):
    """How an evaluation ended.

    Attributes:
        rows: Appended to the store; none where answers are kept back, and on other processes than the first.
        saved: Where the model's answers lie; None where they came from a file.
        usual: What the most frequent training answers would reach, in [0, 1]; None where nobody knows.
        answers: What was answered.
    """

    rows: list[Result]
    saved: Path | None = None
    usual: float | None = None
    answers: Sequence[GivenAnswer] = ()


def check_request(request: UnderstandingEvalRequest, saved: SavedUnderstanding | None, store: Store) -> ChosenQuestions:
    """Find the mistakes that can be found before a model is loaded, and what is to be scored.

    Args:
        request: What the user asked.
        saved: The head that answers; None where a file does.
        store: Where rows go.

    Raises:
        CocaError: Data are missing, or answers, head and data do not fit each other.
    """
    store.check_writable()
    if request.save is not None:
        check_answers_path(request.save)
    if request.show is not None:
        check_sheet_path(request.show, "--draw")
    dataset = request.dataset
    split = request.split or dataset.splits[0]
    examples = select_questions(dataset, request.root, split, request.limit, unseen=saved is None)
    if request.shuffle_pictures and len({example.media for example in examples}) < 2:
        raise CocaError("--shuffle-pictures needs two pictures or more to exchange; take more examples")
    if saved is not None:
        check_head(dataset, split, examples, saved)
        return ChosenQuestions(split, examples, None, None)
    assert request.answers is not None
    bare = [example.id for example in examples if not is_answered(example)]
    if bare:
        raise MissingFile(
            f"the answers to {len(bare):,} questions of {dataset.name} {split} are kept back, such as {bare[0]}: a "
            "file of answers is scored on a split with answers; give this one to the set's server"
        )
    everything = select_questions(dataset, request.root, split, None, unseen=True) if request.limit else examples
    found = read_answers(request.answers, everything)
    if dataset.answers:
        found = _check_labels(request.answers, found, dataset.answers)
    lacking = [example.id for example in examples if example.id not in found]
    if lacking:
        raise BadExample(
            f"{request.answers} lacks answers to {len(lacking):,} of {len(examples):,} questions of {dataset.name} "
            f"{split}, such as {', '.join(lacking[:NAMED])}: every question counts, answer all of them"
        )
    digest = hashlib.sha256(json.dumps(found, ensure_ascii=False).encode(errors="backslashreplace")).hexdigest()[:10]
    return ChosenQuestions(split, examples, found, Origin(request.answers.name, digest))


def check_head(dataset: Dataset, split: str, examples: Sequence[Example], saved: SavedUnderstanding) -> None:
    """Refuse data that a head cannot answer.

    Raises:
        CocaError: Another task, other classes, or not one of the right answers among those that it knows.
    """
    described = saved.described
    if (dataset.task, dataset.pictures) != (described.task, described.pictures):
        raise CocaError(
            f"{described.name} was trained for {described.task} on {described.pictures} picture(s) an example, and "
            f"{dataset.name} is for {dataset.task} on {dataset.pictures}: use a set of its own kind"
        )
    if dataset.answers and dataset.answers != described.answers:
        raise BadCheckpoint(
            f"{described.name} answers {', '.join(described.answers[:NAMED])}, and {dataset.name} has "
            f"{', '.join(dataset.answers)}: the answers must be the same, in one order"
        )
    answered = [example for example in examples if example.texts]
    known = AnswerList(described.answers)
    if answered and not any(known.knows(example.texts) for example in answered):
        raise BadCheckpoint(
            f"{described.name} knows {len(known):,} answers such as {known.words[0]!r}, and none of them is right for "
            f"any of {len(answered):,} questions of {dataset.name} {split}, such as {answered[0].texts[0]!r}: finetune "
            "a model on this set"
        )


def _check_labels(path: Path, found: Mapping[str, str], answers: Sequence[str]) -> dict[str, str]:
    """The answers of a file as the set spells them, in capitals or not."""
    spelled = {answer.lower(): answer for answer in answers}
    for name, answer in found.items():
        if answer.strip().lower() not in spelled:
            raise BadExample(f"{path} answers {name} {answer!r}: it must be one of {', '.join(answers)}")
    return {name: spelled[answer.strip().lower()] for name, answer in found.items()}


def shuffle_pictures(examples: Sequence[Example], seed: int) -> list[Example]:
    """The examples with each one's pictures exchanged for another's, all questions about one picture alike."""
    numbers = number_pictures(examples)
    media = list(dict.fromkeys(example.media for example in examples))
    order = np.random.default_rng((seed, 5)).permutation(len(media))
    other = np.empty(len(media), dtype=np.int64)
    other[order] = np.roll(order, 1)  # one round through all: none keeps its own
    return [
        replace(example, media=media[int(other[number])])
        for example, number in zip(examples, numbers.tolist(), strict=True)
    ]


def run_understanding(
    request: UnderstandingEvalRequest,
    chosen: ChosenQuestions,
    saved: SavedUnderstanding | None,
    placed: Placed | None,
    store: Store,
    reporter: Reporter,
    world: World = SINGLE,
) -> UnderstandingScored:
    """Answer unless answers are there, score and record.

    Args:
        request: What the user asked.
        chosen: From `check_request`.
        saved: The head; None where the answers came from a file.
        placed: Its model.
        store: Where rows go.
        reporter: Shows progress.
        world: The processes that share the answering.

    Raises:
        CocaError: Data are missing or broken, or the model's weights are not those that the head was trained with.
    """
    dataset, skipped, started = request.dataset, Skipped(strict=request.strict), time.monotonic()
    if saved is None or placed is None:
        assert chosen.given is not None
        assert chosen.origin is not None
        answers = [GivenAnswer(e, chosen.given[e.id], 1.0, None) for e in chosen.examples]
        origin = chosen.origin
    else:
        origin = placed.origin._replace(name=saved.described.name, checkpoint=head_hash(saved, placed))
        answers = _ask(request, chosen, saved, placed, skipped, reporter, world)
        skipped.tell(reporter.warn)
    if not world.first:
        return UnderstandingScored([])
    examples = [given.example for given in answers]
    scored = all(is_answered(example) for example in chosen.examples)
    rates = rate_answers(examples, [given.answer for given in answers], dataset.answers) if scored else None
    if rates is not None:
        answers = [given._replace(accuracy=rate) for given, rate in zip(answers, rates.tolist(), strict=True)]
    elif saved is not None:
        answers = _fill_in(request, chosen, saved, answers, reporter)
    settings: dict[str, object] = {"limit": request.limit, "asked": hash_questions(chosen.examples)}
    if request.shuffle_pictures:
        settings["shuffled"] = request.seed
    if placed is not None:
        settings["image"] = placed.image.size
    evaluation = Evaluation(
        task="understanding",
        dataset=dataset,
        split=f"{chosen.split}, {SHUFFLED}" if request.shuffle_pictures else chosen.split,
        origin=origin,
        seed=request.seed,
        settings=settings,
        started=started,
    )
    path = None
    if placed is not None:
        path = request.save or store.folder / ANSWERS_FOLDER / _file_name(evaluation)
        write_answers(path, answers)
    if request.show is not None and answers:
        show_answers(request.show, answers, dataset.answers)
    if rates is None:
        return UnderstandingScored([], path, answers=answers)
    scores = _scores(request, examples, rates)
    if saved is not None and _was_trained_on(saved, dataset, chosen.split):
        reporter.warn(f"{saved.described.name} was trained on examples of {dataset.name} {chosen.split}")
    usual = usual_accuracy(examples, saved.described.usual, dataset.answers) if saved else None
    told = {"most frequent training answers reach": round(100 * usual, 2)} if usual is not None else {}
    details = answer_details(answers, dataset.answers, border=dataset.border)
    rows = evaluation.record(store, scores.values, scores.counts, skipped.reasons, told, details)
    return UnderstandingScored(rows, path, usual, answers)


def _file_name(evaluation: Evaluation) -> str:
    """Of the answers of an evaluation: another one for each set, split, model and settings."""
    origin = evaluation.origin
    told = (evaluation.dataset.name, evaluation.split, origin.name, origin.checkpoint)
    names = (*told, settings_hash(evaluation.settings))
    return "-".join(re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)[-60:] for name in names) + ".json"  # may be paths


def _fill_in(
    request: UnderstandingEvalRequest,
    chosen: ChosenQuestions,
    saved: SavedUnderstanding,
    answers: Sequence[GivenAnswer],
    reporter: Reporter,
) -> list[GivenAnswer]:
    """The answers for a server, which wants one to every question: where the picture cannot be read, the usual one."""
    usual, by_id = saved.described.usual, {given.example.id: given for given in answers}
    lacking = len(chosen.examples) - len(by_id)
    if lacking:
        reporter.warn(f"{lacking:,} questions whose pictures cannot be read have the most frequent training answer")
    if request.limit is not None:
        reporter.warn(f"the file has the first {len(chosen.examples):,} questions alone; a server wants all of them")
    return [by_id.get(e.id) or GivenAnswer(e, usual.get(e.kind, usual.get("", "")), 0.0, None) for e in chosen.examples]


def head_hash(saved: SavedUnderstanding, placed: Placed) -> str:
    """Short hash of head and model together.

    Raises:
        BadCheckpoint: The head was trained with other weights.
    """
    if placed.checkpoint != saved.described.checkpoint:
        raise BadCheckpoint(
            f"the head of {saved.described.name} was trained with weights {saved.described.checkpoint}, and beside it "
            f"lie {placed.checkpoint}: its answers would mean nothing; copy the whole folder again"
        )
    both = placed.checkpoint + hash_weights(dict(saved.head.state_dict()))
    return hashlib.sha256(both.encode()).hexdigest()[:8]


def _ask(
    request: UnderstandingEvalRequest,
    chosen: ChosenQuestions,
    saved: SavedUnderstanding,
    placed: Placed,
    skipped: Skipped,
    reporter: Reporter,
    world: World,
) -> list[GivenAnswer]:
    """The model's best answer to each question whose pictures can be read."""
    dataset, described = request.dataset, saved.described
    assert isinstance(placed.model, CoCa)
    examples = shuffle_pictures(chosen.examples, request.seed) if request.shuffle_pictures else chosen.examples
    answerer = Answerer(
        placed, saved.head.to(placed.device), described.pictures, exclusive=described.task != "questions"
    )

    def track(stream: Iterable[Outcome]) -> Iterable[Outcome]:
        mine = -(-len(examples) // world.size)
        return reporter.track(
            stream, total=mine, label=f"{dataset.name} {chosen.split}", size=lambda outcome: len(outcome[0].rows)
        )

    found = answer_questions(
        answerer,
        examples,
        skipped,
        batch_size=request.batch_size,
        workers=request.workers,
        border=dataset.border,
        track=track,
        world=world,
    )
    best = zip(found.examples, found.ranking.classes.tolist(), found.ranking.scores.tolist(), strict=True)
    return [GivenAnswer(example, described.answers[classes[0]], scores[0], None) for example, classes, scores in best]


def _was_trained_on(saved: SavedUnderstanding, dataset: Dataset, split: str) -> bool:
    described = saved.described
    return described.dataset == dataset.name and share_examples(dataset, described.split, split)


def _scores(request: UnderstandingEvalRequest, examples: Sequence[Example], rates: np.ndarray) -> Scores:
    if request.dataset.task == "questions":
        pictures = number_pictures(examples)
        return question_scores(examples, rates, pictures, by_kind=request.by_kind, seed=request.seed)
    return statement_scores(examples, rates)
