from __future__ import annotations

import errno
import os

import pytest

from coca_cli.cli import main
from coca_cli.refusals import explain_refusal


@pytest.mark.parametrize(
    ("number", "file", "told"),
    [
        (errno.ENOSPC, "a/b", "a/b: No space left on device; make room and run the same command again"),
        (errno.EROFS, "a/b", "a/b: Read-only file system; choose a place that can be written"),
        (errno.EMFILE, None, "Too many open files; raise the limit of open files (ulimit -n) or give fewer --workers"),
        (
            errno.ENOTDIR,
            "a/b",
            "a/b: Not a directory; look at the path and at the disk, and run the same command again",
        ),
    ],
)
def test_what_the_system_refuses_is_said_with_what_to_do(number: int, file: str | None, told: str) -> None:
    assert explain_refusal(OSError(number, os.strerror(number), file)) == told


def test_of_two_files_both_are_named() -> None:
    error = OSError(errno.EXDEV, os.strerror(errno.EXDEV), "one", None, "other")
    assert explain_refusal(error).startswith("one and other: Invalid cross-device link; ")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a"), "coca: a: No space left on device; make room"),
        (MemoryError(), "coca: the memory is full; give a smaller --batch-size"),
    ],
)
def test_no_traceback_is_shown(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("coca_cli.reports.models.render_architectures", fail)
    with pytest.raises(SystemExit) as stopped:
        main(["models", "list"])
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--learning-rate", "inf"), "inf is no finite number"),
        (("--steps", "9" * 30), "too large a number"),
    ],
)
def test_numbers_that_are_none_are_refused(
    words: tuple[str, str], told: str, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["pretrain", "--data", "digits", "-o", f"{tmp_path}/run", *words])
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err
