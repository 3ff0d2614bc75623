"""VQA's way of cleaning answers before they are compared.

Source: the official evaluator, https://github.com/GT-Vision-Lab/VQA, whose oddities are kept where they move a score.
"""

from __future__ import annotations

import re
from functools import lru_cache

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGITS_WITH_COMMA = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
MOST_PERIODS = 32
"""The evaluator passes the flag re.UNICODE, which is 32, where `sub` takes how many are replaced."""
_UP_TO_TEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(_UP_TO_TEN)}
ARTICLES = ("a", "an", "the")
CONTRACTIONS = """\
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
y'all y'all'll y'all'd've you'd you'd've you'll you're you've"""
"""What a word becomes that lacks one of its apostrophes."""


@lru_cache
def _whole_words() -> dict[str, str]:
    whole = {"somebody'd": "somebodyd"}  # the evaluator has this one the wrong way round
    for word in CONTRACTIONS.split():
        for place, letter in enumerate(word):
            if letter == "'":
                whole[word[:place] + word[place + 1 :]] = word
    return whole


def one_line(text: str) -> str:
    """The text without line breaks, tabulators and blanks around it."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def _strip_punctuation(text: str) -> str:
    """The text with punctuation taken out, or a blank in its place where it stands between two words."""
    without = text
    drop_all = _DIGITS_WITH_COMMA.search(text) is not None
    for mark in PUNCTUATION:
        alone = f"{mark} " in text or f" {mark}" in text
        without = without.replace(mark, "" if alone or drop_all else " ")
    return _PERIOD.sub("", without, count=MOST_PERIODS)


@lru_cache(maxsize=2**17)  # people give the same few thousand answers millions of times
def clean_answer(text: str) -> str:
    """An answer as the evaluator compares it: punctuation, numbers in digits, no articles, apostrophes in their places.

    Examples: "The two dogs." is "2 dogs", "dont know" is "don't know".
    """
    line = _strip_punctuation(one_line(text))
    words = (NUMBERS.get(word, word) for word in line.lower().split())
    whole = _whole_words()
    return " ".join(whole.get(word, word) for word in words if word not in ARTICLES)


def comparable(text: str) -> str:
    """As `clean_answer`; an answer of which nothing would be left, such as the letter A, stays as it is."""
    return clean_answer(text) or one_line(text).lower()
