from __future__ import annotations

import pytest

from coca_cli.datasets.answer_cleaning import CONTRACTIONS, clean_answer


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("The two dogs.", "2 dogs"),
        ("none", "0"),
        (" An apple\n", "apple"),
        ("dont know", "don't know"),
        ("couldnt've", "couldn't've"),
        ("somebody'd", "somebodyd"),
        ("red/white", "red white"),
        ("red / white", "red white"),
        ("yes, sir", "yes sir"),
        ("1,000", "1000"),
        ("1,000-dollars", "1000dollars"),
        ("1.5", "1.5"),
        ("p.m.", "pm"),
        ("t-shirt", "t shirt"),
        ("what?", "what"),
        ("oclock", "o'clock"),
        ("let's", "let's"),
        ("a", ""),
        ("", ""),
    ],
)
def test_answers_as_they_are_compared(text: str, cleaned: str) -> None:
    assert clean_answer(text) == cleaned


def test_the_evaluator_takes_out_32_periods_at_most() -> None:
    assert clean_answer("." * 40) == "." * 8


def test_whole_words_stay_and_lose_no_apostrophe() -> None:
    assert all(clean_answer(word) == word for word in CONTRACTIONS.split())
