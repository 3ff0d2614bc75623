"""What many tests share: the small real data, and tiny models."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

# One thread is quickest for models this small, and a busy neighbour cannot stall it.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of small real data; tests that want it skip where it is not."""
    folder = os.environ.get("COCA_TEST_DATA")
    if not folder:
        pytest.skip("COCA_TEST_DATA is not set: no real pictures here")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"COCA_TEST_DATA={folder} is not a folder")
    return path


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache, or reaches a hub."""
    monkeypatch.setenv("COCA_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("COCA_DATA", "COCA_RESULTS"):
        monkeypatch.delenv(name, raising=False)
