"""The examples of a task: what is trained on, chosen on and scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from coca_cli.datasets.example import Dataset, Member
from coca_cli.datasets.held_out import SplitNames
from coca_cli.datasets.selection import Selection, select_labelled, select_prompts
from coca_cli.errors import CocaError
from coca_cli.tasks.zeroshot import check_labels


class TaskParts(NamedTuple):
    """What is trained on, chosen on and scored.

    Attributes:
        train: Training examples, with those held out from them where there is no validation split.
        val: None where it is held out.
        test: What is scored.
        class_names: C names.
    """

    train: Selection
    val: Selection | None
    test: Selection
    class_names: tuple[str, ...]


def select_parts(dataset: Dataset, root: Path, names: SplitNames, limit: int | None) -> TaskParts:
    """The labelled examples of the splits.

    Args:
        dataset: A dataset with classes.
        root: The data root.
        names: Its splits.
        limit: The first so many of each.

    Raises:
        CocaError: Data are missing, have no classes, or stand in two of the splits.
    """
    test, train = (select_labelled(dataset, root, name, limit) for name in (names.test, names.train))
    val = select_labelled(dataset, root, names.val, limit) if names.val else None
    parts = TaskParts(train, val, test, select_prompts(dataset, root, None, None).class_names)
    for part in filter(None, (train, val, test)):
        check_labels(part.examples, len(parts.class_names))
    check_apart(dataset, [part for part in (train, val, test) if part is not None])
    return parts


def check_apart(dataset: Dataset, parts: Sequence[Selection]) -> None:
    """See that no file is in two of the parts.

    Raises:
        CocaError: One is.
    """
    seen: dict[str, str] = {}
    for part in parts:
        files = _files(part)
        shared = [file for file in files if file in seen]
        if shared:
            raise CocaError(
                f"{len(shared):,} files of {dataset.name}'s split {part.split} belong to {seen[shared[0]]}, too, so "
                "that what is scored would have been trained or chosen on: mend what says which split they are of"
            )
        seen |= dict.fromkeys(files, part.split)


def _files(part: Selection) -> set[str]:
    """Where its examples lie; drawn ones lie nowhere."""
    return {str(medium) for example in part.examples for medium in example.media if isinstance(medium, Path | Member)}
