"""Examples for training, for choosing among what was trained, and for the score: three parts that do not meet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from coca_cli.datasets.example import Dataset, Example
from coca_cli.datasets.image_folder import check_split
from coca_cli.datasets.split_names import is_training
from coca_cli.errors import CocaError


class SplitNames(NamedTuple):
    """The three parts.

    Attributes:
        train: The split that is trained on.
        val: The split that settings are chosen on; None for a part of `train` that is held out.
        test: The split that is scored; empty where none is.
    """

    train: str
    val: str | None
    test: str


def choose_splits(dataset: Dataset, train: str | None, val: str | None, test: str | None) -> SplitNames:
    """The splits that the user named, or the usual ones.

    Args:
        dataset: The dataset.
        train: None for "train".
        val: None holds out a part of the training split.
        test: None for the one that is evaluated by default.

    Raises:
        UnknownName: The dataset has no such split.
        CocaError: Two of the parts are the same.
    """
    chosen = SplitNames(train or _usual_training(dataset), val, test or dataset.splits[0])
    for name in filter(None, chosen):
        check_split(dataset.name, name, dataset.splits)
    if chosen.test == chosen.train:
        raise CocaError(
            f"{dataset.name} would be trained on and scored on the same split, {chosen.test}: name two of its splits "
            f"({', '.join(dataset.splits)}) with --train-split and --split"
        )
    if chosen.val in (chosen.train, chosen.test):
        raise CocaError(
            f"--val-split {chosen.val} is also what is {'trained on' if chosen.val == chosen.train else 'scored'}: "
            "settings are chosen on examples that are neither; name another, or leave it out to hold some back"
        )
    return chosen


def choose_training_splits(dataset: Dataset, train: str | None, val: str | None) -> SplitNames:
    """As `choose_splits`, for training alone: nothing is scored but what is held out.

    Raises:
        UnknownName: The dataset has no such split.
        CocaError: Both are the same, or the only split would be trained on without the user having named it.
    """
    if train is None and len(dataset.splits) == 1:
        (only,) = dataset.splits
        raise CocaError(
            f"{dataset.name} has one split, {only}: training on it leaves nothing of it for a score; say "
            f"--train-split {only} if another set is for that"
        )
    chosen = SplitNames(train or _usual_training(dataset), val, "")
    for name in filter(None, chosen):
        check_split(dataset.name, name, dataset.splits)
    if chosen.val == chosen.train:
        raise CocaError(f"--val-split {chosen.val} is also what is trained on: name another, or leave it out")
    if val is not None and share_examples(dataset, chosen.train, val):
        raise CocaError(f"{dataset.name}'s {chosen.train} and {val} have examples in common: score on another split")
    return chosen


def share_examples(dataset: Dataset, one: str, other: str) -> bool:
    """Whether two splits are the same, or have examples in common."""
    return one == other or any({one, other} == set(pair) for pair in dataset.overlaps)


def _usual_training(dataset: Dataset) -> str:
    """The split that is trained on unless the user names one."""
    found = next((name for name in dataset.splits if is_training(name)), None)
    if found is None and len(dataset.splits) > 1:
        raise CocaError(
            f"{dataset.name} has the splits {', '.join(dataset.splits)}, and none is called train: name one with "
            "--train-split"
        )
    return found or dataset.splits[0]


def hold_out(labels: Sequence[int], part: float, seed: int) -> tuple[list[int], list[int]]:
    """Row numbers to train on and to choose on: of each class the same part, drawn by the seed.

    A class with two examples or more keeps at least one in either part.

    Args:
        labels: (n,) classes.
        part: Between 0 and 1: what is held out.
        seed: Of the draw.
    """
    by_class: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        by_class[label].append(row)
    random = np.random.default_rng(seed)
    held: list[int] = []
    for label in sorted(by_class):
        rows = by_class[label]
        count = min(len(rows) - 1, max(1, round(part * len(rows))))
        held += [rows[place] for place in random.permutation(len(rows))[:count].tolist()]
    kept = set(range(len(labels))).difference(held)
    return sorted(kept), sorted(held)


def _clusters(examples: Sequence[Example]) -> list[list[int]]:
    """Row numbers of examples that share a picture, or of statements that come with several pairs a statement."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for example in examples:
        keys = [str(medium) for medium in example.media]
        if len(keys) > 1 and example.kind:
            keys.append(f"statement {example.kind}")
        for key in keys[1:]:
            parent[root(key)] = root(keys[0])
    groups: dict[str, list[int]] = defaultdict(list)
    for row, example in enumerate(examples):
        groups[root(str(example.media[0]))].append(row)
    return list(groups.values())


def hold_out_pictures(examples: Sequence[Example], part: float, seed: int) -> tuple[list[int], list[int]]:
    """Row numbers to train on and to choose on: some pictures, drawn by the seed, with all that is asked of them.

    No picture is in both parts, nor is a statement that comes with several pairs: of NLVR2 whole sets of pictures go
    together. Of two such sets or more each part gets at least one.

    Args:
        examples: Questions or statements.
        part: Between 0 and 1: what is held out.
        seed: Of the draw.
    """
    groups = _clusters(examples)
    wanted, held = part * len(examples), set[int]()
    most = max(wanted, len(examples) / 2)  # a set of pictures that most is asked about stays in training
    for place in np.random.default_rng(seed).permutation(len(groups)).tolist():
        if len(held) < wanted and len(held) + len(groups[place]) <= most:
            held.update(groups[place])
    return [row for row in range(len(examples)) if row not in held], sorted(held)


def draw_shots(labels: Sequence[int], shots: int, seed: int) -> list[int]:
    """So many row numbers of each class, drawn by the seed; all of a class that has fewer."""
    by_class: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        by_class[label].append(row)
    random = np.random.default_rng((seed, shots))
    drawn = [by_class[label][p] for label in sorted(by_class) for p in random.permutation(len(by_class[label]))[:shots]]
    return sorted(drawn)
