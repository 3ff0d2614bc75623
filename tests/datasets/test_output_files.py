from __future__ import annotations

from pathlib import Path

import pytest

from coca_cli.datasets.keep_lists import FIRST_LINE
from coca_cli.datasets.output_files import check_output_file
from coca_cli.errors import CocaError


@pytest.mark.parametrize(
    "typed", ["{0}/a.csv", "pairs:{0}/a.csv", "{0}", "folder:{0}", "labels:wds:{0}", "{0}/*.csv", "{0}/a.csv@val"]
)
def test_no_input_is_replaced(tmp_path: Path, typed: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image,caption")
    with pytest.raises(CocaError, match="which is read: choose another --output"):
        check_output_file(path, ["digits", typed.format(tmp_path)], tmp_path / "root", overwrite=True)


@pytest.mark.parametrize("name", ["keep.txt", "keep.txt.removed.csv", "words.model"])
def test_what_was_written_into_the_data_can_be_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FIRST_LINE)
    with pytest.raises(CocaError, match="is there already: choose another name, or replace it with"):
        check_output_file(tmp_path / name, [str(tmp_path)], tmp_path, overwrite=False)
    check_output_file(tmp_path / name, [str(tmp_path), "pipe:cat x"], tmp_path, overwrite=True)


def test_a_new_file_may_lie_anywhere(tmp_path: Path) -> None:
    check_output_file(tmp_path / "new.csv", [str(tmp_path)], tmp_path, overwrite=False)
