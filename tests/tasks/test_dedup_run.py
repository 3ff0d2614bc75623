from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coca_cli.datasets.keep_lists import Compared, read_keep_list
from coca_cli.errors import BadExample, CocaError, MissingFile
from coca_cli.progress import Reporter
from coca_cli.tasks import dedup_run as module
from coca_cli.tasks.dedup_run import Deduplicated, DedupRequest, check_request, run_dedup
from tests.datasets.test_shards import write_shard
from tests.photographs import EDITS, encoded, photograph
from tests.tasks.tiny import tiny_placed

RANDOM = np.random.default_rng(0)


def save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=90)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Training pictures 0 to 29 of two classes; evaluation pictures 3, 4, 5 and one that training has not."""
    for i in range(30):
        save(photograph(i), tmp_path / "train" / ("cat", "dog")[i % 2] / f"{i:02}.png")
    save(photograph(3), tmp_path / "eval" / "copy.png")
    save(EDITS["mirrored, cropped, jpeg 50"](photograph(4), RANDOM), tmp_path / "eval" / "mirrored.png")
    save(EDITS["half"](photograph(5), RANDOM), tmp_path / "eval" / "small.jpg")
    save(photograph(77), tmp_path / "eval" / "other.jpg")
    return tmp_path


def request(data: Path, **changes: object) -> DedupRequest:
    plain = DedupRequest(
        train=str(data / "train"),
        against=[str(data / "eval")],
        root=data,
        keep_list=data / "out" / "keep.txt",
        batch_size=7,
        workers=0,
        overwrite=True,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def run(wanted: DedupRequest, *, quiet: bool = False) -> Deduplicated:
    check_request(wanted)
    return run_dedup(wanted, None, Reporter(quiet=quiet))


def table(wanted: DedupRequest) -> list[dict[str, str]]:
    with (wanted.keep_list.parent / f"{wanted.keep_list.name}.removed.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def names(numbers: Sequence[int]) -> set[str]:
    return {f"{('cat', 'dog')[i % 2]}/{i:02}.png" for i in numbers}


def test_what_is_in_the_evaluation_set_is_not_kept(data: Path) -> None:
    wanted = request(data)
    found = run(wanted)
    kept = read_keep_list(wanted.keep_list)
    assert kept.source == wanted.train
    assert kept.ids == names([i for i in range(30) if i not in (3, 4, 5)])
    origin = found.origin
    assert (origin.pictures, origin.removed, origin.kept, origin.unreadable) == (30, 3, 27, 0)
    assert origin.compared == [Compared(str(data / "eval"), 4, found=3, copies=1, near=2)]
    assert f"# compared with {data / 'eval'}: 4 pictures\n" in wanted.keep_list.read_text()


def test_the_table_says_what_was_removed_and_why(data: Path) -> None:
    wanted = request(data)
    run(wanted)
    rows = {row["train_id"]: row for row in table(wanted)}
    assert {name: (row["evaluation_id"], row["found_by"], row["mirrored"]) for name, row in rows.items()} == {
        "dog/03.png": ("copy.png", "copy", "False"),
        "cat/04.png": ("mirrored.png", "hash", "True"),
        "dog/05.png": ("small.jpg", "hash", "False"),
    }
    assert 0.9 < float(rows["cat/04.png"]["correlation"]) <= 1
    assert rows["dog/03.png"]["correlation"] == ""


def test_the_least_certain_pairs_come_first_and_copies_last(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(request(data)).doubtful
    assert [row.found_by for row in found] == ["hash", "hash", "copy"]
    assert (found[0].correlation or 0) <= (found[1].correlation or 0)
    monkeypatch.setattr(module, "SHEET_PAIRS", 1)
    assert run(request(data)).doubtful == found[:1]


@pytest.mark.parametrize("changes", [{"workers": 3}, {"batch_size": 1}, {"batch_size": 64}])
def test_threads_and_blocks_change_nothing(data: Path, changes: dict[str, object]) -> None:
    expected = run(request(data))
    kept = request(data).keep_list.read_text()
    assert run(request(data, **changes)) == expected
    assert request(data).keep_list.read_text() == kept


def test_each_set_is_counted_for_itself(data: Path) -> None:
    save(photograph(3), data / "more" / "again.png")
    save(EDITS["jpeg 50"](photograph(3), RANDOM), data / "more" / "once more.png")
    wanted = request(data, against=[str(data / "eval"), str(data / "more")])
    origin = run(wanted).origin
    assert origin.compared == [
        Compared(str(data / "eval"), 4, found=3, copies=1, near=2),
        Compared(str(data / "more"), 2, found=2, copies=1),
    ]
    assert origin.removed == 3
    assert len(table(wanted)) == 5


def test_shards_of_other_encodings(data: Path) -> None:
    folder = data / "shards"
    folder.mkdir()
    pictures = {i: encoded(photograph(i), "JPEG", 60) for i in range(6)}
    members = [(f"{i}.{end}", body) for i in range(6) for end, body in (("jpg", pictures[i]), ("txt", b"a picture"))]
    write_shard(folder / "train-0.tar", members)
    wanted = request(data, train=str(folder))
    assert run(wanted).origin.removed == 3
    assert read_keep_list(wanted.keep_list).ids == {f"train-0.tar:{i}" for i in (0, 1, 2)}


def test_what_cannot_be_read_is_left_to_training(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "train" / "cat" / "broken.jpg").write_bytes(b"no picture")
    wanted = request(data)
    found = run(wanted)
    assert "cat/broken.jpg" in read_keep_list(wanted.keep_list).ids
    assert (found.origin.pictures, found.origin.kept, found.origin.unreadable) == (31, 28, 1)
    assert "not compared, and left in the list for training to skip: " in capsys.readouterr().err


def test_strict_stops_and_writes_nothing(data: Path) -> None:
    (data / "train" / "cat" / "broken.jpg").write_bytes(b"no picture")
    wanted = request(data, strict=True)
    with pytest.raises(BadExample, match="Stopped because of --strict"):
        run(wanted)
    assert list(wanted.keep_list.parent.iterdir()) == []


def test_an_id_with_a_line_break_is_left_out(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(photograph(40), data / "train" / "cat" / "two\nlines.png")
    wanted = request(data)
    found = run(wanted)
    assert len(read_keep_list(wanted.keep_list).ids) == found.origin.kept == 27
    assert found.origin.pictures == 31
    err = capsys.readouterr().err
    assert r"1 ids hold a line break, such as 'cat/two\nlines.png'; none can stand in a list" in err


def test_a_limit_is_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = request(data, limit=10)
    assert run(wanted).origin.pictures == 10
    assert "only the first 10 examples are in the list; with it, training sees no others" in capsys.readouterr().err
    assert "# limit: 10\n" in wanted.keep_list.read_text()
    run(request(data, limit=30))
    assert "only the first" not in capsys.readouterr().err


def test_training_data_that_are_the_evaluation_set(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(request(data, against=[str(data / "train" / "cat"), str(data / "train" / "dog")]))
    assert found.origin.kept == 0
    assert "is removed: is it an evaluation set itself, or does --against name it?" in capsys.readouterr().err
    run(request(data))
    assert "is it an evaluation set itself" not in capsys.readouterr().err


def test_a_sheet_is_written_where_there_are_pairs(data: Path) -> None:
    run(request(data, sheet=data / "sheet.png"))
    with Image.open(data / "sheet.png") as sheet:
        assert sheet.width > 3 * 360
    (data / "sheet.png").unlink()
    for name in ("copy.png", "mirrored.png", "small.jpg"):
        (data / "eval" / name).unlink()
    run(request(data, sheet=data / "sheet.png"))
    assert not (data / "sheet.png").exists()


def test_a_model_finds_more(data: Path) -> None:
    wanted = request(data, least_cosine=-1.0)
    found = run_dedup(wanted, tiny_placed(), Reporter(quiet=True))
    assert found.origin.removed == 30  # any two pictures are as near as that
    assert found.origin.compared == [Compared(str(data / "eval"), 4, found=4, copies=1, near=2, embedded=27)]
    text = wanted.keep_list.read_text()
    assert "# model: tiny 0123abcd\n" in text
    assert "# cosine of at least: -1.0\n" in text
    rows = [row for row in table(wanted) if row["train_id"] == "dog/03.png"]
    assert sorted(row["found_by"] for row in rows) == ["copy", "embedding", "embedding", "embedding"]
    assert all(-1 <= float(row["cosine"]) <= 1 for row in rows)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"train": "nowhere/at/all"}, MissingFile, "there is no nowhere/at/all"),
        ({"against": ["nowhere/at/all"]}, MissingFile, "there is no nowhere/at/all to compare with"),
        ({"sheet": Path("sheet.gif")}, CocaError, "the file must end in"),
    ],
)
def test_mistakes_are_found_before_the_work(
    data: Path, changes: dict[str, object], error: type[CocaError], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_request(request(data, **changes))


def test_a_folder_in_the_place_of_the_list(data: Path) -> None:
    with pytest.raises(CocaError, match="is a folder; give the name of the file"):
        check_request(request(data, keep_list=data))


@pytest.mark.parametrize("name", ["keep.txt", "keep.txt.removed.csv", "sheet.png"])
def test_a_file_that_is_there_is_replaced_only_when_asked(data: Path, name: str) -> None:
    wanted = request(data, overwrite=False, keep_list=data / "keep.txt", sheet=data / "sheet.png")
    (data / name).write_text("mine")
    with pytest.raises(CocaError, match=f"{name} is there already: choose another name, or replace it with"):
        check_request(wanted)
    check_request(replace(wanted, overwrite=True))
