"""The words of the built-in scenes: what is in a picture -> five differently worded captions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from coca_cli.datasets.digits import CLASS_NAMES

MOST_WORDS = 20  # of a caption
MOST_THROWS = 96  # choices per scene; a scene of three digits takes about sixty

# Where each place lies: columns from left to right, rows from top to bottom, and how captions call it.
PLACES = {
    "left": (0, 1, ("on the left", "on the left side")),
    "right": (2, 1, ("on the right", "on the right side")),
    "top": (1, 0, ("at the top", "at the top")),
    "bottom": (1, 2, ("at the bottom", "at the bottom")),
    "top left": (0, 0, ("at the top left", "in the top left corner")),
    "top right": (2, 0, ("at the top right", "in the top right corner")),
    "bottom left": (0, 2, ("at the bottom left", "in the bottom left corner")),
    "bottom right": (2, 2, ("at the bottom right", "in the bottom right corner")),
    "centre": (1, 1, ("in the centre", "in the middle")),
}
_COUNTS = ("", "one", "two", "three")
_VOWELS = ("a", "e", "i", "orange")  # what takes "an"; a one is spoken with a consonant

T = TypeVar("T")


class DigitFacts(NamedTuple):
    """What is known of one digit in a scene.

    Attributes:
        digit: From 0 to 9.
        colour: Its colour's name.
        size: "small" or "large".
        place: One of `PLACES`.
        scan: The id of the handwriting.
        box: Left, top and side in pixels of the square that it was drawn in.
    """

    digit: int
    colour: str
    size: Literal["small", "large"]
    place: str
    scan: str
    box: tuple[int, int, int]

    @property
    def word(self) -> str:
        """The digit in words."""
        return CLASS_NAMES[self.digit]


class SceneFacts(NamedTuple):
    """What is known of a scene.

    Attributes:
        background: "black", "dark" or "light".
        digits: One to three digits, from left to right or from top to bottom.
    """

    background: str
    digits: tuple[DigitFacts, ...]


class Dice:
    """A scene's choices, drawn at once: single draws from a numpy generator take longer than the picture.

    Args:
        seed: The same numbers give the same choices.
    """

    def __init__(self, *seed: int) -> None:
        throws: list[int] = np.random.default_rng(seed).integers(1 << 30, size=MOST_THROWS).tolist()
        self._throws = iter(throws)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[next(self._throws) % len(options)]

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both possible."""
        return low + next(self._throws) % (high - low + 1)

    def shuffle(self, items: Iterable[T]) -> tuple[T, ...]:
        """The items in an order of chance."""
        left = list(items)
        return tuple(left.pop(next(self._throws) % len(left)) for _ in range(len(left)))


def describe(facts: SceneFacts, dice: Dice) -> tuple[str, ...]:
    """Five different captions of at most `MOST_WORDS` words; each names all digits of the scene."""
    return dice.shuffle(_describe_one(facts, dice) if len(facts.digits) == 1 else _describe_several(facts, dice))


def _describe_one(facts: SceneFacts, dice: Dice) -> tuple[str, ...]:
    (digit,) = facts.digits
    word, colour = digit.word, digit.colour
    bare, coloured, sized = _article(word), _article(colour, word), _article(digit.size, word)
    full = _article(digit.size, colour, word)
    place, ground = _place(digit, dice), _ground(facts, dice)
    return (
        dice.pick((f"{full} {place}", f"{full} {place} {ground}", f"{full}, written by hand, {place}")),
        dice.pick((f"there is {coloured} {place}.", f"the picture shows {sized} {place}.", f"we see {full} {ground}.")),
        dice.pick((bare, f"the digit {word}.", f"a handwritten {word}.", f"the number {word} written by hand.")),
        dice.pick((f"{coloured} {ground}", f"the number {word} in {colour}", f"{bare} written in {colour} {ground}.")),
        dice.pick(
            (f"one digit: {coloured}", f"a picture of one digit, {sized}", f"one {digit.size} digit {place}: {bare}")
        ),
    )


def _describe_several(facts: SceneFacts, dice: Dice) -> tuple[str, ...]:
    digits = dice.shuffle(facts.digits)
    count, ground = _COUNTS[len(digits)], _ground(facts, dice)
    coloured = _join([_article(digit.colour, digit.word) for digit in digits])
    sized = _join([_article(digit.size, digit.word) for digit in digits])
    words = _join([digit.word for digit in digits])
    plain = _tally(digits)
    return (
        _full(digits, dice),
        dice.pick((f"{count} digits: {coloured}", f"{count} digits: {plain}", f"{count} digits {ground}: {coloured}.")),
        dice.pick((plain, f"{plain} written by hand.", f"the digits {words}", f"a picture of the numbers {words}.")),
        _relation(facts.digits, dice),
        dice.pick((f"there is {_placed(digits)}.", f"the picture shows {coloured} {ground}.", f"we see {sized}.")),
    )


def _full(digits: Sequence[DigitFacts], dice: Dice) -> str:
    """Every digit with its place, and with as much of its size and colour as the length allows."""
    places = [_place(digit, dice) for digit in digits]
    for kinds in (("size", "colour"), ("colour",), ()):
        phrases = [_article(*(getattr(digit, kind) for kind in kinds), digit.word) for digit in digits]
        caption = _join([f"{phrase} {place}" for phrase, place in zip(phrases, places, strict=True)])
        if len(caption.split()) <= MOST_WORDS:
            return caption
    return _placed(digits)


def _placed(digits: Sequence[DigitFacts]) -> str:
    return _join([f"{_article(digit.word)} {PLACES[digit.place][2][0]}" for digit in digits])


def _relation(digits: Sequence[DigitFacts], dice: Dice) -> str:
    """How two digits lie to each other; where no one word says it, each digit with its colour."""
    if len(digits) == 2:
        first, second = (_article(*dice.pick(((d.colour,), (d.size, d.colour), (d.size,))), d.word) for d in digits)
        (column, row, _), (other_column, other_row, _) = (PLACES[digit.place] for digit in digits)
        if row == other_row:
            return dice.pick((f"{first} to the left of {second}", f"{second} to the right of {first}"))
        if column == other_column:
            return dice.pick((f"{first} above {second}", f"{second} below {first}"))
    return _join([f"{_article(digit.word)} in {digit.colour}" for digit in digits])


def _place(digit: DigitFacts, dice: Dice) -> str:
    return dice.pick(PLACES[digit.place][2])


def _ground(facts: SceneFacts, dice: Dice) -> str:
    whole = f"on a {facts.background} background"
    return dice.pick((whole, "on black")) if facts.background == "black" else whole


def _tally(digits: Sequence[DigitFacts]) -> str:
    """The digits without anything else, equal ones counted: two sevens and a four."""
    counts: dict[str, int] = {}
    for digit in digits:
        counts[digit.word] = counts.get(digit.word, 0) + 1
    return _join([_article(word) if n == 1 else f"{_COUNTS[n]} {_plural(word)}" for word, n in counts.items()])


def _plural(word: str) -> str:
    return f"{word}es" if word.endswith("x") else f"{word}s"


def _article(*words: str) -> str:
    return f"{'an' if words[0].startswith(_VOWELS) else 'a'} {' '.join(words)}"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
