"""What goes wrong on one process ends all of them, with the same words."""

from __future__ import annotations

import pytest

from tests.training.failures import MANY_PASSES, read, two_meet
from tests.training.pictures import with_broken

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    return two_meet(tmp_path_factory.mktemp("two"))


def test_a_checkpoint_that_the_first_cannot_begin_is_given_up_by_all(said: list[dict[str, str]]) -> None:
    for one in said:
        message = one["a file in the folder's place"]
        assert message.startswith("the checkpoint of step 0 cannot be written to ")
        assert "there is no earlier one" in message


@pytest.mark.parametrize("what", ["strict", "too many", "few, many times", "none readable"])
def test_all_say_the_same_of_the_data(said: list[dict[str, str]], what: str) -> None:
    assert said[0][what] == said[1][what]


def test_what_is_said_is_what_one_process_says(said: list[dict[str, str]]) -> None:
    assert said[0]["strict"] == read(with_broken(25, 1), 8, strict=True)
    assert said[0]["too many"] == read(with_broken(25, 2), 8)
    assert said[0]["few, many times"] == read(with_broken(25, 1), MANY_PASSES)
    assert said[0]["few, many times"].startswith(f"{MANY_PASSES}: 1 of 25: ")
    assert "cannot be read, and neither can any of 20 others" in said[0]["none readable"]
