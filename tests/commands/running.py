"""Running the command line inside a test."""

from __future__ import annotations

import pytest

from coca_cli.cli import main


def run(*argv: object) -> int:
    """The exit code of `coca ARGV...`."""
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in argv])
    code = stopped.value.code
    return code if isinstance(code, int) else 0
