from __future__ import annotations

import errno

import pytest
from safetensors import SafetensorError

from coca_cli.errors import CocaError
from coca_cli.training.failed_writes import writing


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "No space left on device"),
        (SafetensorError("I/O error: File too large"), "I/O error: File too large"),
        (
            CocaError("cannot write a/b: Disk quota exceeded; choose another place"),
            "cannot write a/b: Disk quota exceeded",
        ),
        (OSError("it went wrong"), "it went wrong"),
    ],
)
def test_what_cannot_be_written_is_told_with_its_reason(error: Exception, reason: str) -> None:
    with pytest.raises(CocaError) as raised, writing("the model in a"):
        raise error
    assert str(raised.value) == (
        f"the model in a cannot be written ({reason}); checkpoints that are there stay as they are. Make room and run "
        "the same command again, without --overwrite: it goes on from the last of them"
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TypeError("a mistake of the program")])
def test_other_ends_are_left_alone(error: BaseException) -> None:
    with pytest.raises(type(error)), writing("it"):
        raise error
