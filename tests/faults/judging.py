"""What reading something strange comes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from coca_cli.errors import CocaError

NAMED = -1
"""In place of a count: it was refused."""

MOST_LETTERS = 1500
"""No message is longer; that would be the bad content itself, or a list of everything."""


class Outcome(NamedTuple):
    """Examples, or a refusal.

    Attributes:
        count: Examples that were read; `NAMED` where it was refused.
        message: What the user is told then.
    """

    count: int
    message: str


def outcome(read: Callable[[], int]) -> Outcome:
    """Read it. Any other error than a refusal is a fault of the program, and passes."""
    try:
        return Outcome(read(), "")
    except CocaError as error:
        return Outcome(NAMED, str(error))
