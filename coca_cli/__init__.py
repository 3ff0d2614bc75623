"""coca: pretrain CoCa (Contrastive Captioners) models and evaluate any CoCa checkpoint.

`load` and `evaluate` are the command line's straight path for Python; they are imported when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coca_cli.version import __version__

if TYPE_CHECKING:
    from coca_cli.api import evaluate, load, wrap

__all__ = ["__version__", "evaluate", "load", "wrap"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from coca_cli import api

    return getattr(api, name)
