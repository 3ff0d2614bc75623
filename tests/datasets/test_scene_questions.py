"""The built-in questions, pairs and covered scenes: what is said of them is true, and words alone do not tell it."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from coca_cli.datasets import find_dataset
from coca_cli.datasets.example import Example, Pixels
from coca_cli.datasets.scene_captions import Dice
from coca_cli.datasets.scene_entailment import CARD, covered_pixels, write_sentence
from coca_cli.datasets.scene_pairs import draw_pairs, draw_statement
from coca_cli.datasets.scene_questions import ask, place_of
from coca_cli.datasets.scenes import draw_scene
from coca_cli.datasets.snli_ve import LABELS

NOWHERE = Path("nowhere")


def read(name: str, split: str = "test") -> list[Example]:
    return list(find_dataset(name).read(NOWHERE, split))


@pytest.mark.parametrize(
    ("name", "test", "train"),
    [("scene-questions", 1500, 18000), ("scene-pairs", 600, 12000), ("scene-entailment", 1200, 18000)],
)
def test_how_much_there_is(name: str, test: int, train: int) -> None:
    assert (len(read(name)), len(read(name, "train"))) == (test, train)


def test_questions_have_the_answers_that_the_scene_shows() -> None:
    seen: Counter[str] = Counter()
    for index in range(300):
        facts = draw_scene("train", index).facts
        for kind, question, answer in ask(facts, Dice(1, index)):
            seen[kind] += 1
            words = question.rstrip("?").split()
            if kind == "how many":
                assert ("zero", "one", "two", "three").index(answer) == len(facts.digits)
            elif kind == "is there":
                assert (answer == "yes") is any(words[-1] in (d.word, d.colour) for d in facts.digits)
            elif kind == "is it small":
                (digit,) = (d for d in facts.digits if d.word == words[2])
                assert answer == digit.size
            elif kind == "where is":
                (digit,) = (d for d in facts.digits if d.word == words[-1])
                assert answer == digit.place
            else:
                told = [
                    d for d in facts.digits if question.endswith((f" {place_of(d)}?", f" {d.word}?", f" {d.colour}?"))
                ]
                assert answer in [d.word if kind == "which digit is" else d.colour for d in told]
                assert len({d.word if kind == "which digit is" else d.colour for d in told}) == 1
    assert min(seen.values()) > 20
    assert len(seen) == 6


def test_a_yes_is_as_likely_as_a_no() -> None:
    answers = Counter(example.answer for example in read("scene-questions", "train") if example.kind == "is there")
    assert 0.9 < answers["yes"] / answers["no"] < 1.1


def test_test_questions_are_about_other_scenes() -> None:
    scenes = {example.id.rpartition("-")[0] for example in read("scene-questions")}
    assert not scenes & {example.id for example in read("scenes")}


def test_statements_are_true_of_one_pair_and_false_of_the_other() -> None:
    for index in range(200):
        statement, pairs = draw_pairs("train", index)
        for attempt in range(20):
            again, holds = draw_statement(Dice(300, 1, index, attempt))
            if again == statement:
                break
        for truth, (left, right) in pairs.items():
            assert holds(draw_scene("train", left).facts, draw_scene("train", right).facts) is truth


def test_a_statement_alone_tells_nothing() -> None:
    by_sentence: defaultdict[str, Counter[int | None]] = defaultdict(Counter)
    for example in read("scene-pairs", "train"):
        by_sentence[example.question][example.label] += 1
    assert all(counts[0] == counts[1] for counts in by_sentence.values())
    kinds = Counter(example.kind for example in read("scene-pairs"))
    assert set(kinds.values()) == {2}


def test_sentences_say_what_their_label_means() -> None:
    for index in range(400):
        facts = draw_scene("train", index).facts
        if len(facts.digits) < 2:
            continue
        covered, *_ = facts.digits
        for label in LABELS:
            sentence = write_sentence(label, facts, covered, Dice(9, index))
            (about,) = (d for d in facts.digits if f" {place_of(d)} " in f" {sentence.rstrip('.')} ")
            true = about.word in sentence.split() or f"{about.word}." in sentence or about.colour in sentence
            assert (about is covered) is (label == "neutral")
            assert label == "neutral" or true is (label == "entailment")


def test_a_sentence_alone_tells_little() -> None:
    by_word: defaultdict[str, Counter[int | None]] = defaultdict(Counter)
    for example in read("scene-entailment", "train"):
        by_word[example.question][example.label] += 1
    best = sum(max(counts.values()) for counts in by_word.values())
    assert best < 0.45 * sum(counts.total() for counts in by_word.values())


def test_the_card_lies_on_the_digit() -> None:
    scene = draw_scene("train", 7)
    left, top, side = scene.facts.digits[0].box
    covered = covered_pixels("train", 7, (left, top, side))
    inside = covered[top + 1 : top + side - 1, left + 1 : left + side - 1]
    assert (inside == CARD).all()
    outside = np.ones((64, 64), dtype=bool)
    outside[top : top + side, left : left + side] = False
    assert (covered[outside] == scene.array[outside]).all()


def test_pictures_are_drawn_when_they_are_looked_at() -> None:
    for name in ("scene-questions", "scene-pairs", "scene-entailment"):
        for medium in read(name)[0].media:
            assert isinstance(medium, Pixels)
            assert callable(medium.drawn)
            assert medium.array.shape == (64, 64, 3)
