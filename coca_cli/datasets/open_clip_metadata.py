"""ImageNet's class names and prompt templates, taken from the installed open_clip without importing its models."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

from coca_cli.datasets.example import Prompts
from coca_cli.errors import MissingExtra

METADATA_FILE = "zero_shot_metadata.py"


@lru_cache
def imagenet_prompts() -> Prompts:
    """The 1,000 class names in the order of the class index, and CLIP's 80 templates with `{c}` for the name.

    Raises:
        MissingExtra: open_clip is not installed, or has no such file.

    Source: open_clip, `zero_shot_metadata.py`, which has them from CLIP's notebook on ImageNet prompts.
    """
    # Importing open_clip takes seconds because it imports torch; finding it does not, and this one file of it is
    # plain lists.
    package = importlib.util.find_spec("open_clip")
    folders = [Path(folder) for folder in package.submodule_search_locations or ()] if package else []
    file = next((folder / METADATA_FILE for folder in folders if (folder / METADATA_FILE).is_file()), None)
    spec = importlib.util.spec_from_file_location("open_clip_zero_shot_metadata", file) if file else None
    if spec is None or spec.loader is None:
        raise MissingExtra(
            f"ImageNet's class names come from open_clip's {METADATA_FILE}, which was not found; "
            "run: pip install open-clip-torch"
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    templates = tuple(template("{c}") for template in module.OPENAI_IMAGENET_TEMPLATES)
    return Prompts(tuple(module.IMAGENET_CLASSNAMES), templates)
