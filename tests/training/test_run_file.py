from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coca_cli.errors import CocaError
from coca_cli.training.run_file import MOST_NAMES, RUN_FILE, RunFile, read_run_file

SETTINGS = {"data": {"scenes": 1.0}}


def unreadable(folder: Path) -> Any:
    return json.loads((folder / RUN_FILE).read_text())["unreadable"]


def names(*numbers: int) -> dict[str, str]:
    return {f"picture {number}": f"reason {number}" for number in numbers}


def go_on(folder: Path) -> RunFile:
    return RunFile(folder, SETTINGS, read_run_file(folder))


def test_it_says_what_was_asked_and_what_was_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/coca", "pretrain", "--data", "my pictures"])
    RunFile(tmp_path, SETTINGS, {}).write(names(1, 2))
    found = read_run_file(tmp_path)
    assert found["command"] == "coca pretrain --data 'my pictures'"
    assert found["settings"] == SETTINGS
    assert found["unreadable"] == {"count": 2, "examples": {"picture 1": "reason 1", "picture 2": "reason 2"}}


def test_every_run_has_an_id_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    first, second = RunFile(tmp_path, SETTINGS, {}), RunFile(tmp_path, SETTINGS, {})
    assert first.id != second.id
    first.write({})
    assert go_on(tmp_path).id == first.id


def test_a_run_that_goes_on_keeps_what_it_left_out_before(tmp_path: Path) -> None:
    RunFile(tmp_path, SETTINGS, {}).write(names(1, 2))
    later = go_on(tmp_path)
    later.write({})
    assert unreadable(tmp_path) == {"count": 2, "examples": names(1, 2)}
    later.write(names(2, 3))  # the second is met again
    assert unreadable(tmp_path) == {"count": 3, "examples": names(1, 2, 3)}
    RunFile(tmp_path, SETTINGS, {}).write(names(4))  # another run
    assert unreadable(tmp_path) == {"count": 1, "examples": names(4)}


def test_all_are_counted_and_the_first_thousand_named(tmp_path: Path) -> None:
    RunFile(tmp_path, SETTINGS, {}).write(names(*range(MOST_NAMES + 5)))
    assert unreadable(tmp_path) == {"count": MOST_NAMES + 5, "examples": names(*range(MOST_NAMES))}
    go_on(tmp_path).write(names(0))
    assert unreadable(tmp_path)["count"] == MOST_NAMES + 5


def test_names_that_are_not_utf_8_are_kept(tmp_path: Path) -> None:
    RunFile(tmp_path, SETTINGS, {}).write({"caf\udce9.jpg": "no picture"})
    assert read_run_file(tmp_path)["unreadable"]["examples"] == {"caf\udce9.jpg": "no picture"}


@pytest.mark.parametrize("content", [None, "", "{", "[1]"])
def test_a_file_that_is_gone_or_damaged_says_nothing(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / RUN_FILE).write_text(content)
    assert read_run_file(tmp_path) == {}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / RUN_FILE).mkdir()
    with pytest.raises(CocaError, match=r"run\.json cannot be written \(cannot write the file .*a folder of that name"):
        RunFile(tmp_path, SETTINGS, {}).write({})
