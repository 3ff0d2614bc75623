"""What the names of splits say: what is evaluated, and what is trained on."""

from __future__ import annotations

EVALUATED = ("test", "val", "dev", "eval")
"""How the names begin of what is evaluated, the first choice first."""
TRAINED = "train"


def is_training(split: str) -> bool:
    """Whether the name is that of training data, in capitals or not."""
    return split.lower().startswith(TRAINED)


def rank_split(split: str) -> tuple[int, str]:
    """A key to sort by: what is evaluated by default comes first, training data last."""
    if is_training(split):
        return len(EVALUATED) + 1, split
    return next((rank for rank, name in enumerate(EVALUATED) if split.lower().startswith(name)), len(EVALUATED)), split
