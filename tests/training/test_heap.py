from __future__ import annotations

import subprocess
import sys

import pytest

CHECK = """
import sys
from pathlib import Path
import torch
from coca_cli.training.heap import return_large_blocks

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "set":
    assert return_large_blocks()
torch.ones(30 << 18).add_(1)  # glibc's own threshold rises to 30 MiB when this is freed
before = resident()
large, small = [], []
for _ in range(8):  # small blocks that stay hold the heap's end
    large.append(torch.ones(20 << 18))
    small.append(torch.ones(1 << 10))
large.clear()
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
def test_large_blocks_go_back_to_the_system() -> None:
    kept = {}
    for which in ("set", "plain"):
        done = subprocess.run([sys.executable, "-c", CHECK, which], capture_output=True, text=True, check=True)
        kept[which] = int(done.stdout)
    assert kept["set"] < 20 << 20 < kept["plain"]
