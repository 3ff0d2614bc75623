"""What is needed of open_clip's package, in parts: imported as a whole it takes seconds, most of them torchvision's.

A CoCa needs configurations, CLIP's tokenizer and the places of published weights. Where the package is imported
already, or keeps such things elsewhere, it is asked itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = "open_clip"
SHELL = "coca_open_clip"
"""A package with open_clip's files and nothing of its own, whose modules can be imported one by one."""


def whole() -> ModuleType:
    """The package, for what only it can do."""
    return importlib.import_module(PACKAGE)


def part(name: str) -> ModuleType:
    """One module of the package without the others.

    Args:
        name: Of the module, such as "tokenizer".
    """
    if PACKAGE in sys.modules:
        return importlib.import_module(f"{PACKAGE}.{name}")
    if SHELL not in sys.modules:
        shell = ModuleType(SHELL, __doc__)
        shell.__path__ = [str(folder) for folder in _folders()]
        sys.modules[SHELL] = shell
    try:
        return importlib.import_module(f"{SHELL}.{name}")
    except ImportError:  # a module that needs its package
        return importlib.import_module(f"{PACKAGE}.{name}")


def model_names() -> list[str]:
    """The architectures that open_clip knows."""
    names: list[str] = list(_config_files()) or whole().list_models()
    return names


def model_config(name: str) -> dict[str, Any] | None:
    """open_clip's configuration of an architecture; None if it knows none of that name."""
    if files := _config_files():
        config = json.loads(files[name].read_text(encoding="utf-8")) if name in files else None
    else:
        config = whole().get_model_config(name)
    return config


def _config_files() -> dict[str, Path]:
    """By architecture; none where the package itself is to be asked, to which others may have been added."""
    return {} if PACKAGE in sys.modules else _own_config_files()


@cache
def _own_config_files() -> dict[str, Path]:
    files = (file for folder in _folders() for file in folder.glob("model_configs/*.json"))
    return {file.stem: file for file in sorted(files, key=lambda file: file.stem.lower())}


def _folders() -> list[Path]:
    found = importlib.util.find_spec(PACKAGE)
    return [Path(folder) for folder in found.submodule_search_locations or ()] if found is not None else []
