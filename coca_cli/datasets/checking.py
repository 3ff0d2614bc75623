"""What of a dataset is on disk, and what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from coca_cli.datasets.example import Dataset, Example
from coca_cli.datasets.sizes import SIZES
from coca_cli.errors import CocaError, MissingFile

State = Literal["complete", "incomplete", "damaged", "not there"]


class SplitCheck(NamedTuple):
    """What was found of one split.

    Attributes:
        split: Its name.
        state: In a word; "complete" also where nobody knows how many there should be and no file is missing.
        found: Examples that the files list.
        expected: How many there should be; None where nobody knows.
        missing: How many examples lack a file.
        example: One of the files that are missing; "" where none is.
        problem: What is wrong, where the split cannot be read.
    """

    split: str
    state: State
    found: int = 0
    expected: int | None = None
    missing: int = 0
    example: str = ""
    problem: str = ""


class DatasetCheck(NamedTuple):
    """What was found of a dataset.

    Attributes:
        dataset: Which.
        splits: In its order.
    """

    dataset: Dataset
    splits: tuple[SplitCheck, ...]

    @property
    def absent(self) -> bool:
        """Nothing of it is there."""
        return all(split.state == "not there" for split in self.splits)

    @property
    def sound(self) -> bool:
        """What is evaluated by default is complete, and so is all else that is there."""
        return self.splits[0].state == "complete" and all(
            split.state in ("complete", "not there") for split in self.splits
        )


def check_dataset(
    dataset: Dataset, root: Path, track: Callable[[Iterable[Example], str], Iterable[Example]] = lambda items, _: items
) -> DatasetCheck:
    """Read all splits of a dataset, and look for the file of every example.

    Args:
        dataset: Which.
        root: The data root.
        track: Passes the examples of the split with that name on, to show progress.
    """
    return DatasetCheck(dataset, tuple(_check_split(dataset, root, split, track) for split in dataset.splits))


def _check_split(
    dataset: Dataset, root: Path, split: str, track: Callable[[Iterable[Example], str], Iterable[Example]]
) -> SplitCheck:
    expected = SIZES.get(dataset.name, {}).get(split)
    found = missing = 0
    example = ""
    try:
        for each in track(dataset.read(root, split), split):
            found += 1
            gone = next((m for m in each.media if isinstance(m, Path) and not os.path.exists(m)), None)  # noqa: PTH110
            missing += gone is not None
            example = example or str(gone or "")
    except MissingFile as error:
        return SplitCheck(split, "not there", expected=expected, problem=str(error))
    except CocaError as error:
        return SplitCheck(split, "damaged", found, expected, missing, example, str(error))
    whole = not missing and (found == expected if expected is not None else found > 0)
    return SplitCheck(split, "complete" if whole else "incomplete", found, expected, missing, example)
