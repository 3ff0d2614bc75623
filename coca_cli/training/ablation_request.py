"""What the user asks of `coca ablate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

from coca_cli.errors import CocaError, UnknownName
from coca_cli.registry import unknown_name
from coca_cli.training.ablation_variants import Kind
from coca_cli.training.pretrain_request import PretrainRequest

KINDS: tuple[Kind, ...] = get_args(Kind)


class Measure(NamedTuple):
    """A number that is taken of every model.

    Attributes:
        kind: How.
        dataset: On what, as the user typed it.
    """

    kind: Kind
    dataset: str

    @property
    def name(self) -> str:
        """As the user typed it."""
        return f"{self.kind}:{self.dataset}"


class HeadNumbers(NamedTuple):
    """How heads are trained on the frozen models.

    Attributes:
        steps: Optimiser steps.
        batch_size: Examples per step.
        learning_rate: Peak rate.
    """

    steps: int
    batch_size: int
    learning_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationRequest:
    """Which variants to train, on what, and what to measure of them.

    Attributes:
        tables: Names or words of the paper's tables; none for all.
        base: What every variant has: data, architecture, numbers; its output is the folder of all runs, its seed the
            first one.
        seeds: How many.
        measures: What is measured.
        everywhere: Every table shows every measure, not only those that the paper has there.
        heads: How heads are trained.
        jobs: Runs at a time, each in a process of its own.
    """

    tables: Sequence[str] = ()
    base: PretrainRequest
    seeds: int
    measures: Sequence[Measure]
    everywhere: bool = False
    heads: HeadNumbers
    jobs: int = 1

    @property
    def output(self) -> Path:
        """Where everything goes."""
        return self.base.output

    @property
    def all_seeds(self) -> range:
        """The seeds."""
        first = self.base.recipe.seed
        return range(first, first + self.seeds)


def parse_measures(texts: Sequence[str]) -> tuple[Measure, ...]:
    """The measures of `--measures zeroshot:digits`, each once.

    Raises:
        UnknownName: There is no such way to measure.
        CocaError: There is none, or one without a dataset.
    """
    found: list[Measure] = []
    for text in texts:
        word, _, dataset = text.partition(":")
        kind = next((kind for kind in KINDS if kind == word), None)
        if kind is None:
            raise UnknownName(unknown_name("measure", word, KINDS))
        if not dataset:
            raise CocaError(f"--measures {text} names no dataset: write it behind a colon, such as {text}:digits")
        found.append(Measure(kind, dataset))
    if not found:
        raise CocaError("nothing is to be measured: give --measures, such as zeroshot:digits")
    return tuple(dict.fromkeys(found))
