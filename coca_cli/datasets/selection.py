"""What the user asked to evaluate: which split, which examples of it, in which words."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from coca_cli.datasets.example import Dataset, Example, Prompts
from coca_cli.datasets.image_folder import check_split, is_there
from coca_cli.datasets.prompt_files import override_prompts
from coca_cli.datasets.templates import GENERAL_TEMPLATES
from coca_cli.errors import CocaError, MissingFile

BARE = 5
"""Classes without examples that are named."""
UNDERSTANDING = ("questions", "entailment", "reasoning")
"""The tasks whose examples ask something."""


class Selection(NamedTuple):
    """Examples to evaluate.

    Attributes:
        split: The split they come from.
        examples: In the dataset's order.
        unlabelled: How many were left out on the way because they have no class.
        absent: Ids of the clips with a class whose files are missing.
    """

    split: str
    examples: list[Example]
    unlabelled: int
    absent: list[str]


class CaptionedSelection(NamedTuple):
    """Pictures or clips with captions.

    Attributes:
        examples: In the dataset's order.
        absent: Ids of the clips whose files are missing.
    """

    examples: list[Example]
    absent: list[str]


def select_captioned(dataset: Dataset, root: Path, split: str, limit: int | None) -> CaptionedSelection:
    """The captioned pictures or clips of a split; clips are sets that people hand on with holes.

    Args:
        dataset: The dataset.
        root: The data root.
        split: One of its splits.
        limit: The first so many; None for all.

    Raises:
        MissingFile: The dataset's files are not there.
        CocaError: It has no captions.
    """
    if dataset.task in UNDERSTANDING:
        raise CocaError(f"{dataset.name} has questions or statements, not captions: use coca eval understanding")
    found = CaptionedSelection([], [])
    for example in dataset.read(root, split):
        if not example.texts:
            continue
        if _is_absent(dataset, example):
            found.absent.append(example.id)
            continue
        found.examples.append(example)
        if len(found.examples) == limit:
            break
    return found


def _is_absent(dataset: Dataset, example: Example) -> bool:
    """Whether a clip's file is missing; pictures that are missing count as unreadable."""
    files = [medium for medium in example.media if isinstance(medium, Path)]
    return dataset.media == "video" and not all(map(is_there, files))


def select_labelled(dataset: Dataset, root: Path, split: str | None, limit: int | None) -> Selection:
    """The labelled examples of a split.

    Args:
        dataset: The dataset.
        root: The data root.
        split: Its name; None for the one that is evaluated by default.
        limit: The first so many that have a label; None for all.

    Raises:
        UnknownName: The dataset has no such split.
        MissingFile: The dataset's files are not there.
        CocaError: The dataset has no classes.
    """
    if split is not None:
        check_split(dataset.name, split, dataset.splits)
    if dataset.prompts is None:
        raise CocaError(f"{dataset.name} has no classes: it cannot be classified; see coca data list for what can")
    chosen = split or dataset.splits[0]
    labelled: list[Example] = []
    absent: list[str] = []
    unlabelled = 0
    for example in dataset.read(root, chosen):
        if example.label is None:
            unlabelled += 1
            continue
        if _is_absent(dataset, example):
            absent.append(example.id)
            continue
        labelled.append(example)
        if len(labelled) == limit:
            break
    if not labelled:
        raise MissingFile(f"{dataset.name} {chosen}: none of its {unlabelled:,} examples has a class label")
    return Selection(chosen, labelled, unlabelled, absent)


def describe_bare_classes(examples: Sequence[Example], class_names: Sequence[str], limit: int | None) -> str:
    """What to say where classes have no example and compete all the same; empty where each has some.

    Args:
        examples: With labels.
        class_names: All that compete.
        limit: The first so many examples were taken; None for all.
    """
    seen = {example.label for example in examples}
    bare = [name for label, name in enumerate(class_names) if label not in seen]
    if not bare:
        return ""
    if limit is not None and len(examples) == limit:
        some = f"{len(class_names) - len(bare):,} of the {len(class_names):,} classes"
        return f"the first {limit:,} examples are of {some}, as --limit takes them in order: no estimate of the whole"
    shown = ", ".join(bare[:BARE]) + (" ..." if len(bare) > BARE else "")
    return f"{len(bare):,} of the {len(class_names):,} classes have no example and compete all the same: {shown}"


def select_prompts(dataset: Dataset, root: Path, class_names: Path | None, templates: Path | None) -> Prompts:
    """The dataset's class names and templates, or the user's own.

    Args:
        dataset: A dataset with classes.
        root: The data root.
        class_names: See `override_prompts`.
        templates: See `override_prompts`.

    Raises:
        MissingFile: The dataset has no class names and the user gave none.
    """
    assert dataset.prompts is not None
    try:
        own = dataset.prompts(root)
    except MissingFile:
        if class_names is None:
            raise
        own = Prompts((), GENERAL_TEMPLATES)
    return override_prompts(own, class_names, templates)


def select_questions(
    dataset: Dataset, root: Path, split: str, limit: int | None, *, unseen: bool = False
) -> list[Example]:
    """The questions or statements of a split: all with an answer, or none of them, where answers are kept back.

    Args:
        dataset: The dataset.
        root: The data root.
        split: One of its splits.
        limit: The first so many; None for all.
        unseen: The pictures will not be looked at, and need not be there.

    Raises:
        UnknownName: The dataset has no such split.
        CocaError: It asks nothing.
        MissingFile: The dataset's files are not there, or ask nothing, or not one of its pictures is there.
    """
    check_split(dataset.name, split, dataset.splits)
    if dataset.task not in UNDERSTANDING:
        raise CocaError(f"{dataset.name} has no questions or statements about its pictures; see coca data list")
    examples = list(itertools.islice(dataset.read(root, split), limit))
    if not examples:
        raise MissingFile(f"{dataset.name} {split} has no questions in it: fetch its files again")
    files = [medium for example in examples for medium in example.media if isinstance(medium, Path)]
    if files and not unseen and not any(map(is_there, files)):
        raise MissingFile(
            f"none of the pictures of {len(examples):,} questions of {dataset.name} {split} is there, such as "
            f"{files[0]}. Expected:\n{dataset.layout}"
        )
    return examples


def hash_questions(examples: Iterable[Example]) -> str:
    """Short hash of ids, questions and answers: the same where the same is asked."""
    digest = hashlib.sha256()
    for example in examples:
        asked = (example.id, example.question, example.label, example.answer, example.texts)
        digest.update(repr(asked).encode(errors="backslashreplace"))
    return digest.hexdigest()[:8]


def hash_texts(texts: Iterable[str]) -> str:
    """Short hash of texts in their order."""
    return hashlib.sha256(repr(list(texts)).encode(errors="backslashreplace")).hexdigest()[:8]


def is_answered(example: Example) -> bool:
    """Whether it is known what is right."""
    return bool(example.texts) or example.label is not None
