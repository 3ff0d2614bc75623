from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coca_cli.datasets.example import Example, Pixels
from coca_cli.errors import BadExample, CocaError
from coca_cli.media.batches import Skipped
from coca_cli.model.coca import CoCa
from coca_cli.model.understanding import UnderstandingHead
from coca_cli.tasks import answering
from coca_cli.tasks.answering import Answered, Answerer, Outcome, answer_questions, number_pictures
from coca_cli.tasks.classification import Ranking
from coca_cli.world import World
from tests.tasks.tiny import tiny_placed

WORDS = ("what?", "is it?", "how many are there?", "why?")


def answerer(pictures: int = 1, *, exclusive: bool = True) -> Answerer:
    placed = tiny_placed()
    assert isinstance(placed.model, CoCa)
    text = placed.model.config.text
    torch.manual_seed(1)
    head = UnderstandingHead(text.width, text.heads, pictures, 7)
    torch.nn.init.normal_(head.classifier.weight)
    return Answerer(placed, head.eval(), pictures, exclusive)


def drawn(seed: int) -> Pixels:
    return Pixels(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8), f"drawn {seed}")


def asked(pictures: int = 5, each: int = 3, media: int = 1) -> list[Example]:
    seen = [tuple(drawn(10 * number + side) for side in range(media)) for number in range(pictures)]
    return [
        Example(f"{number}-{ask}", seen[number], question=WORDS[(number + ask) % len(WORDS)])
        for ask in range(each)
        for number in range(pictures)
    ]


def answer(examples: list[Example], one: Answerer, batch_size: int = 4, world: World = World()) -> Answered:
    skipped = Skipped()
    found = answer_questions(one, examples, skipped, batch_size=batch_size, workers=0, world=world)
    assert skipped.seen == len(examples)
    return found


@pytest.mark.parametrize("media", [1, 2])
def test_answers_do_not_depend_on_what_stands_beside_them(media: int) -> None:
    examples, one = asked(media=media), answerer(media)
    whole = answer(examples, one)
    assert [example.id for example in whole.examples] == [example.id for example in examples]
    for row, example in enumerate(examples):
        alone = answer([example], one)
        assert alone.ranking.classes[0].tolist() == whole.ranking.classes[row].tolist()
        torch.testing.assert_close(alone.ranking.scores[0], whole.ranking.scores[row], atol=1e-5, rtol=0)
    other = answer(list(reversed(examples)), one, batch_size=3)
    assert torch.equal(other.ranking.classes.flip(0), whole.ranking.classes)


def test_every_picture_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    encode = answering.Understanding.encode
    monkeypatch.setattr(
        answering.Understanding, "encode", lambda self, images: seen.append(len(images)) or encode(self, images)
    )
    answer(asked(pictures=5, each=3), answerer())
    assert sum(seen) == 5
    monkeypatch.setattr(answering, "MOST_QUESTIONS", 2)
    seen.clear()
    answer(asked(pictures=5, each=3), answerer())
    assert sum(seen) == 10


def test_scores_of_one_right_answer_are_one_together_and_others_stand_alone() -> None:
    examples = asked()
    exclusive, open_ = (answer(examples, answerer(exclusive=kind)).ranking for kind in (True, False))
    assert torch.equal(exclusive.classes, open_.classes)
    assert exclusive.scores.shape == (15, 5)
    assert (exclusive.scores.sum(dim=1) <= 1 + 1e-6).all()
    assert (open_.scores.sum(dim=1) > 1).any()
    assert ((open_.scores >= 0) & (open_.scores <= 1)).all()


@pytest.mark.parametrize("size", [2, 3])
def test_several_processes_answer_as_one(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    examples, one = asked(), answerer()
    alone = answer(examples, one, batch_size=2)
    parts: list[object] = []
    monkeypatch.setattr(answering, "gather_all", lambda value, world: parts.append(value) or [value])
    for rank in range(size):
        skipped = Skipped(allowed=1.0)
        answer_questions(one, examples, skipped, batch_size=2, workers=0, world=World(rank, size))
    monkeypatch.setattr(answering, "gather_all", lambda value, world: parts)
    together = answer(examples, one, batch_size=2, world=World(0, size))
    assert torch.equal(together.ranking.classes, alone.ranking.classes)
    assert torch.equal(together.ranking.scores, alone.ranking.scores)


def test_a_picture_that_cannot_be_read_takes_its_questions_with_it(tmp_path: Path) -> None:
    examples = asked(pictures=5, each=2)
    gone = replace(examples[3], media=(tmp_path / "gone.jpg",))
    more = [replace(e, media=gone.media) if e.media == examples[3].media else e for e in examples]
    skipped = Skipped(allowed=1.0)
    found = answer_questions(answerer(), more, skipped, batch_size=2, workers=1)
    assert set(skipped.reasons) == {"3-0", "3-1"}
    assert [example.id for example in found.examples] == [e.id for e in more if e.id not in skipped.reasons]
    whole = answer(examples, answerer(), batch_size=2)
    kept = [row for row, example in enumerate(examples) if example.id not in skipped.reasons]
    assert torch.equal(found.ranking.classes, whole.ranking.classes[kept])
    with pytest.raises(BadExample, match="2 of 10 examples cannot be read, which is more than 5 %"):
        answer_questions(answerer(), more, Skipped(), batch_size=2, workers=0)
    with pytest.raises(BadExample, match="Stopped because of --strict"):
        answer_questions(answerer(), more, Skipped(strict=True), batch_size=2, workers=0)


def test_what_does_not_fit_the_memory_is_answered_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    examples, one = asked(pictures=5), answerer()
    whole = answer(examples, one, batch_size=5)
    rank = Answerer._rank

    def small(self: Answerer, pixels: torch.Tensor, *more: Any) -> Ranking:
        if len(pixels) > fits:
            raise torch.OutOfMemoryError
        return rank(self, pixels, *more)

    monkeypatch.setattr(Answerer, "_rank", small)
    fits = 2
    halves = answer(examples, one, batch_size=5)
    assert torch.equal(halves.ranking.classes, whole.ranking.classes)
    torch.testing.assert_close(halves.ranking.scores, whole.ranking.scores, atol=1e-5, rtol=0)
    fits = 0
    with pytest.raises(torch.OutOfMemoryError):
        answer(examples, one, batch_size=5)


def test_progress_is_shown_as_pictures_come() -> None:
    told: list[int] = []

    def track(stream: Iterable[Outcome]) -> Iterable[Outcome]:
        for outcome in stream:
            told.append(len(outcome[0].rows))
            yield outcome

    answer_questions(answerer(), asked(), Skipped(), batch_size=4, workers=0, track=track)
    assert told == [3] * 5


def test_numbers_that_are_none_are_no_answers() -> None:
    one = answerer()
    with torch.no_grad():
        one.head.classifier.bias[2] = torch.nan
    with pytest.raises(CocaError, match="tiny answers with numbers that are none"):
        answer(asked(), one)


def test_examples_about_the_same_pictures_have_one_number() -> None:
    assert number_pictures(asked(pictures=3, each=2)).tolist() == [0, 1, 2, 0, 1, 2]
