from __future__ import annotations

import subprocess
import sys

import pytest

CHECK = """
import coca_cli.media.decord_library
import torch
a = torch.ones(300, 300)
assert (a @ a).sum().item() == 300.0**3
maps = open("/proc/self/maps").read()
assert "libdecord" in maps
assert "nvblas" not in maps
import importlib.util
assert "nvidia" not in __import__("sys").modules or importlib.util.find_spec("nvidia")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
def test_decord_before_torch_leaves_matrix_products_alone() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "NVBLAS" not in done.stderr
