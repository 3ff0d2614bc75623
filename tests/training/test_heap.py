from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from coca_cli.training import heap, objective
from coca_cli.training.heap import LARGE_MODEL
from tests.tasks.tiny import LetterTokenizer, tiny_coca

CHECK = """
import sys
from pathlib import Path
import torch
from coca_cli.training.heap import LARGE_MODEL, choose_heap

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] != "plain":
    assert choose_heap(LARGE_MODEL if sys.argv[1] == "large" else 1)
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
@pytest.mark.slow
def test_large_models_give_large_blocks_back_and_small_ones_keep_them() -> None:
    kept = {}
    for which in ("large", "plain", "small"):
        done = subprocess.run([sys.executable, "-c", CHECK, which], capture_output=True, text=True, check=True)
        kept[which] = int(done.stdout)
    assert kept["large"] < 20 << 20 < kept["plain"]
    assert kept["small"] > 20 << 20


@pytest.mark.parametrize(("least", "freeze", "wanted"), [(1, False, 2), (1, True, 1), (LARGE_MODEL, False, 0)])
def test_large_models_trim_the_heap_on_the_way_back(
    monkeypatch: pytest.MonkeyPatch, least: int, freeze: bool, wanted: int
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(heap, "_of_malloc", {"malloc_trim": calls.append}.get)
    monkeypatch.setattr(objective, "LARGE_MODEL", least)
    model = tiny_coca().train()
    if freeze:
        model.image.requires_grad_(False)
    texts = objective.pack_texts(model, LetterTokenizer().encode(["a cat", "a fox jumps over it"]))
    whole, pixels = objective.Objective(model), torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    with torch.no_grad():
        whole(pixels, texts)
    encoded = whole(pixels, texts)
    assert not calls
    (encoded.image.sum() + encoded.text.sum() + encoded.caption).backward()
    assert calls == [0] * wanted
