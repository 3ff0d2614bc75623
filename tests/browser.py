"""A page as a browser makes it: Chromium without a window, where the machine has one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FIXED = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr")


def loaded_in_browser(page: Path, user: Path, *options: str) -> str:
    """The document after its load event, so whatever scripts did until then; what a script complains of is an error.

    Waits for the event itself and sets the browser no clock, which on a busy machine would run out first.
    """
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    command = [browser, *FIXED, f"--user-data-dir={user}", "--dump-dom", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=240, check=True)
    assert b"CONSOLE" not in done.stderr, done.stderr.decode(errors="replace")
    return done.stdout.decode()
