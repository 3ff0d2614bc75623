"""What the server of `tests.faults.forked` imports before it forks: all that commands import, and nothing that runs."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import torch

import coca_cli

torch.set_num_threads(1)
for found in pkgutil.walk_packages(coca_cli.__path__, "coca_cli."):
    if not found.name.endswith("__main__"):
        import_module(found.name)
