"""Clips that their set lists and nobody has any more: they are told, and stand in the split's name."""

from __future__ import annotations

from collections.abc import Sequence

from coca_cli.progress import Reporter

NAMED = 5


def tell_absent(absent: Sequence[str], present: int, reporter: Reporter) -> None:
    """Warn of clips that are left out.

    Args:
        absent: Their ids.
        present: How many are there.
        reporter: Takes the warning.
    """
    if absent:
        names = ", ".join(absent[:NAMED]) + (" ..." if len(absent) > NAMED else "")
        listed = present + len(absent)
        reporter.warn(f"{len(absent):,} of {listed:,} clips are not there and are left out: {names}")


def name_part(split: str, absent: Sequence[str], present: int) -> str:
    """The split as result rows name it: a score of a part is not one of the whole."""
    return f"{split}, {present:,} of {present + len(absent):,} clips" if absent else split


def missing_files(absent: Sequence[str]) -> dict[str, str]:
    """Why they have no score, as the run file has it."""
    return dict.fromkeys(absent, "the file is not there")
