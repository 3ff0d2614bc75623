"""The accuracy of answers to questions; needs no model.

Source: Antol et al. 2015, arXiv 1505.00468, and the official evaluator, https://github.com/GT-Vision-Lab/VQA.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from coca_cli.datasets.answer_cleaning import clean_answer, comparable, one_line
from coca_cli.datasets.example import Example
from coca_cli.errors import BadExample

AGREEING = 3
"""So many people who gave an answer make it wholly right."""
USUAL_ANSWERS = 3129
"""How many answers the paper's classifier knows."""


def vqa_accuracy(said: str, answers: Sequence[str]) -> float:
    """How right an answer is: the mean, over all subsets that leave one person out, of min(1, agreeing / 3).

    As in the official evaluator answers are compared as they stand where all people gave the same one, else cleaned.
    Sets with a single answer to each question count whether it is the same, both cleaned; of two or three answers,
    which the evaluator never sees, one or two others who agree are enough.

    Args:
        said: An answer.
        answers: What people answered, ten times in VQA.

    Returns:
        From 0 to 1.
    """
    if len(answers) == 1:
        return float(comparable(said) == comparable(answers[0]))
    said, *compared = (one_line(text) for text in (said, *answers))
    if len(set(compared)) > 1:
        said, *compared = (clean_answer(text) for text in (said, *compared))
    agrees = [answer == said for answer in compared]
    total, needed = sum(agrees), min(AGREEING, len(answers) - 1)
    return sum(min(1.0, (total - own) / needed) for own in agrees) / len(answers)


class AnswerList:
    """The answers that a classifier knows.

    Args:
        words: C answers, different ones when cleaned.

    Raises:
        BadExample: Two of them are the same.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(words)
        self.places: dict[str, int] = {}
        for place, word in enumerate(self.words):
            other = self.places.setdefault(comparable(word), place)
            if other != place:
                raise BadExample(
                    f"the answers {self.words[other]!r} and {word!r} are the same to the evaluation: list one of them"
                )

    def __len__(self) -> int:
        return len(self.words)

    def knows(self, answers: Sequence[str]) -> bool:
        """Whether one of the answers that people gave is among them."""
        return any(comparable(answer) in self.places for answer in answers)

    def targets(self, answers: Sequence[str]) -> dict[int, float]:
        """The classes that are right to some degree, with their accuracy.

        Args:
            answers: What people answered.
        """
        places = {self.places.get(comparable(answer)) for answer in answers}
        found = {place: vqa_accuracy(self.words[place], answers) for place in places if place is not None}
        return {place: accuracy for place, accuracy in found.items() if accuracy > 0}


def frequent_answers(examples: Iterable[Example], count: int) -> AnswerList:
    """The most frequent answers of a training set, each question counted once, by its own answer.

    Answers that are the same when cleaned count together, and stand in the list as most people wrote them: VQA's
    evaluator does not clean what all people wrote alike.

    Args:
        examples: With an `answer` each.
        count: How many; fewer where there are fewer.

    Returns:
        Most frequent first; of equally frequent ones the one that came first.
    """
    often = sorted(_spellings(examples).values(), key=lambda counts: -counts.total())[:count]
    return AnswerList(counts.most_common(1)[0][0] for counts in often)


def as_spelled(listed: AnswerList, examples: Iterable[Example]) -> AnswerList:
    """The answers of a list as most people of a training set wrote them, see `frequent_answers`."""
    forms = _spellings(examples)
    return AnswerList(
        forms[comparable(word)].most_common(1)[0][0] if comparable(word) in forms else word for word in listed.words
    )


def _spellings(examples: Iterable[Example]) -> dict[str, Counter[str]]:
    """How often each answer was written in which way, by what it is compared as."""
    forms: dict[str, Counter[str]] = {}
    for example in examples:
        if example.answer.strip():
            forms.setdefault(comparable(example.answer), Counter())[one_line(example.answer)] += 1
    return forms


def usual_answers(answered: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What can be said without looking: the most frequent answer by type of question, and over all under "".

    Args:
        answered: Type and answer of each training question.
    """
    by_kind: dict[str, Counter[str]] = {"": Counter()}
    for kind, answer in answered:
        for key in {"", kind}:
            by_kind.setdefault(key, Counter())[one_line(answer)] += 1
    return {kind: counts.most_common(1)[0][0] for kind, counts in by_kind.items() if counts}
