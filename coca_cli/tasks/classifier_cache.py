"""Zero-shot classifiers kept between runs: ImageNet's 80,000 prompts are embedded once per model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from coca_cli.datasets.example import Prompts
from coca_cli.errors import CocaError
from coca_cli.files import written_whole
from coca_cli.model.placement import Placed

VERSION = 1
"""Raised whenever a change moves a class embedding."""


def classifier_path(folder: Path, placed: Placed, prompts: Prompts) -> Path:
    """Where the classifier of these weights, words and number format is kept."""
    key = [VERSION, placed.checkpoint, placed.name, placed.precision, placed.device.type, *prompts]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:20]
    return folder.expanduser() / "classifiers" / f"{digest}.safetensors"


def cached_classifier(path: Path, n_classes: int, build: Callable[[], Tensor], warn: Callable[[str], None]) -> Tensor:
    """The classifier at `path`, or a new one that is kept there.

    Args:
        path: From `classifier_path`.
        n_classes: Rows it must have.
        build: Makes it.
        warn: Told when it cannot be kept; the run goes on.

    Returns:
        (classes, D) fp32.
    """
    try:
        found = load_file(path)["classifier"]
        if len(found) == n_classes:
            return found
    except (OSError, SafetensorError, KeyError):
        pass  # not there yet, or damaged: made anew and replaced
    made = build()
    try:
        with written_whole(path) as file:
            save_file({"classifier": made.contiguous()}, file)
    except (CocaError, OSError, SafetensorError) as error:
        warn(f"class embeddings are not kept for the next run: {error}")
    return made
