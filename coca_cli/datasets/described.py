"""What a dataset of the user's own code yields, looked at before anybody takes it for right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, get_args

from coca_cli.datasets.example import Dataset, Example, Medium, Prompts
from coca_cli.datasets.prompt_files import check_templates
from coca_cli.errors import BadExample

ALL_ALIKE = "All examples need an id of their own, a tuple of media, and for classes a whole number from 0."


def checked_examples(
    dataset: Dataset, file: Path, split: str, examples: Iterable[Example], classes: int | None
) -> Iterator[Example]:
    """The same examples, as long as they are what the program takes them for.

    Args:
        dataset: What the file describes.
        file: For messages.
        split: Which part they are of.
        examples: What its function gave.
        classes: How many class names there are; None where there are none.

    Raises:
        BadExample: One is not, or there is none.
    """
    if not isinstance(examples, Iterable):
        raise BadExample(f"{file}: read({split!r}) gives {type(examples).__name__}; it must yield its examples")
    seen: set[str] = set()
    for example in examples:
        if fault := _fault(example, dataset, classes):
            shown = f"the example {example.id!s:.60}" if isinstance(example, Example) else f"example {len(seen) + 1}"
            raise BadExample(f"{file}: {shown} of the split {split} {fault}. {ALL_ALIKE}")
        if example.id in seen:
            raise BadExample(f"{file}: two examples of the split {split} have the id {example.id:.60}. {ALL_ALIKE}")
        seen.add(example.id)
        yield example if example.label is None else replace(example, label=int(example.label))
    if not seen:
        raise BadExample(f"{file}: read yields no example of the split {split}: is that what it calls it inside?")


def _fault(example: Any, dataset: Dataset, classes: int | None) -> str:
    """What is wrong with an example, as the end of a sentence; empty where nothing is."""
    if not isinstance(example, Example):
        return f"is of the type {type(example).__name__}, no Example"
    if not isinstance(example.id, str) or not example.id:
        return f"has the id {example.id!r:.60}, which is no text"
    if not isinstance(example.media, tuple) or not all(isinstance(each, get_args(Medium)) for each in example.media):
        return f"has the media {example.media!r:.60}, which are no tuple of paths, such as (path,) with its comma"
    if len(example.media) != dataset.pictures:
        return f"has {len(example.media)} media where the dataset has {dataset.pictures}"
    if not isinstance(example.texts, tuple | list) or not all(isinstance(text, str) for text in example.texts):
        return "has texts that are no tuple of texts, such as (text,) with its comma"
    label = example.label
    if label is not None and (not isinstance(label, Integral) or isinstance(label, bool)):  # NumPy's are some, too
        return f"has the label {label!r:.60}, which is no whole number"
    if label is not None and classes is not None and not 0 <= label < classes:
        return f"has the label {label}, but there are {classes} classes, counted from 0 to {classes - 1}"
    return ""


def checked_prompts(prompts: Any, file: Path) -> Prompts:
    """The same words, as tuples.

    Raises:
        BadExample: They are none.
    """
    if not isinstance(prompts, tuple) or len(prompts) != 2:
        raise BadExample(f"{file}: prompts must give Prompts(class_names, templates), not {prompts!r:.60}")
    for name, words in zip(Prompts._fields, prompts, strict=True):
        if not words:
            raise BadExample(f"{file}: {name} holds nothing; it must be a tuple of texts")
        if isinstance(words, str) or not all(isinstance(word, str) and word for word in words):
            raise BadExample(f"{file}: {name} must be a tuple of texts, such as ({words!r:.40},) with its comma")
    return Prompts(tuple(prompts[0]), check_templates(tuple(prompts[1]), file))
