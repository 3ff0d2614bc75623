"""run.json: how a run was started, its id, its settings, and the pictures that it could not read."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from coca_cli.files import written_whole
from coca_cli.json_text import parse_json
from coca_cli.redaction import typed_command
from coca_cli.training.failed_writes import writing
from coca_cli.version import __version__

RUN_FILE = "run.json"
MOST_NAMES = 1000
"""Unreadable pictures that are named; all are counted."""


class RunFile:
    """The file of a run that begins, or goes on.

    Args:
        folder: The run folder.
        settings: All that decides what is learned.
        before: What the file says of the part of the run that is done; {} for a run that begins.

    Attributes:
        settings: As given.
        id: Random; a run that goes on keeps it.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        self._path = folder / RUN_FILE
        self.settings = settings
        self.id = str(before.get("id") or secrets.token_hex(8))
        self._before: dict[str, Any] = {"count": 0, "examples": {}, **(before.get("unreadable") or {})}

    def write(self, unreadable: Mapping[str, str]) -> None:
        """Write it anew.

        Args:
            unreadable: Name -> reason of all pictures that could not be read since the run began or went on.

        Raises:
            CocaError: It cannot be written.
        """
        # of a run that goes on and has more than it names, nobody knows which are counted twice: the count is the least
        names = {**self._before["examples"], **unreadable}
        described = {
            "command": typed_command(),
            "coca": __version__,
            "torch": torch.__version__,
            "id": self.id,
            "settings": dict(self.settings),
            "unreadable": {
                "count": max(self._before["count"], len(names)),
                "examples": dict(islice(names.items(), MOST_NAMES)),
            },
        }
        with writing(str(self._path)), written_whole(self._path) as file:
            file.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def read_run_file(folder: Path) -> dict[str, Any]:
    """What a run folder's file says; {} where there is none, or a damaged one."""
    try:
        found = parse_json((folder / RUN_FILE).read_text(encoding="utf-8"), halves=True)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
