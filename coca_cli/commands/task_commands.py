"""The commands of the tasks, for whoever takes their options from elsewhere than a command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
import typer.main

from coca_cli.commands import (
    eval_caption,
    eval_classification,
    eval_retrieval,
    eval_understanding,
    eval_zeroshot,
    probe,
)

COMMANDS: dict[str, Callable[..., None]] = {
    "zeroshot": eval_zeroshot.zeroshot,
    "retrieval": eval_retrieval.retrieval,
    "caption": eval_caption.caption,
    "probe": probe.probe,
    "classification": eval_classification.classification,
    "understanding": eval_understanding.understanding,
}
"""What each task is called on the command line: its defaults and checks count everywhere."""


def build_commands() -> dict[str, Any]:
    """The commands by task, as typer builds them."""
    app = typer.Typer()
    for name, function in COMMANDS.items():
        app.command(name)(function)
    built: Any = typer.main.get_command(app)
    return dict(built.commands)
