"""Embeddings of texts kept between runs: ImageNet's 80,000 prompts are embedded once per model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from coca_cli.errors import CocaError
from coca_cli.files import written_whole
from coca_cli.model.placement import Placed

NAME = "embeddings"
FACTS = "facts"
VERSION = 1
"""Raised whenever a change moves an embedding."""


def texts_path(folder: Path | None, placed: Placed, kind: str, words: Sequence[object]) -> Path | None:
    """Where the embeddings of these weights, words and number format are kept.

    Args:
        folder: Of all caches; None where nothing is kept.
        placed: The model.
        kind: "classifiers" or "captions".
        words: All that the embeddings are made of, as JSON has it.
    """
    if folder is None:
        return None
    key = [VERSION, placed.checkpoint, placed.name, placed.precision, placed.device.type, *words]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:20]
    return folder.expanduser() / kind / f"{digest}.safetensors"


def cached_texts(
    path: Path | None,
    rows: int,
    build: Callable[[], Tensor],
    warn: Callable[[str], None],
    facts: Mapping[str, object] | None = None,
) -> Tensor:
    """The embeddings at `path`, or new ones that are kept there.

    Args:
        path: From `texts_path`; None keeps nothing.
        rows: How many there must be.
        build: Makes them.
        warn: Told when they cannot be kept; the run goes on.
        facts: Whose they are, for `coca data cache list`.

    Returns:
        (rows, D) fp32.
    """
    if path is None:
        return build()
    try:
        found = load_file(path)[NAME]
        if len(found) == rows:
            return found
    except (OSError, SafetensorError, KeyError):
        pass  # not there yet, or damaged: made anew and replaced
    made = build()
    try:
        with written_whole(path) as file:
            save_file({NAME: made.contiguous()}, file, metadata={FACTS: json.dumps(facts or {}, default=str)})
    except (CocaError, OSError, SafetensorError) as error:
        warn(f"embeddings of texts are not kept for the next run: {error}")
    return made
