"""What the shell offers after --model and --dataset."""

from __future__ import annotations

from pathlib import Path

from coca_cli.datasets import DATASETS
from coca_cli.datasets.example import Dataset
from coca_cli.model.open_clip_package import model_names


def offer_models(incomplete: str) -> list[str]:
    """open_clip's names of CoCa models, and folders.

    Args:
        incomplete: What was typed so far.
    """
    typed, _, begun = incomplete.rpartition("/")
    typed += "/" if "/" in incomplete else ""
    try:
        names = sorted(entry.name for entry in Path(typed or ".").expanduser().iterdir() if entry.is_dir())
    except (OSError, RuntimeError):  # no such folder, or nobody of that name
        names = []
    folders = [f"{typed}{name}/" for name in names if name.startswith(begun) and name[0] != "."]
    return [name for name in model_names() if "coca" in name.lower() and name.startswith(incomplete)] + folders


def offer_datasets(incomplete: str) -> list[str]:
    """Datasets by name, and the words that stand before a path.

    Args:
        incomplete: What was typed so far.
    """
    words = [entry.name if isinstance(entry, Dataset) else f"{entry.name}:" for entry in DATASETS.entries()]
    return [word for word in words if word.startswith(incomplete)]
