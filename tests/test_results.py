from __future__ import annotations

import csv
import errno
import hashlib
import json
import math
import os
import subprocess
import sys
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from coca_cli.errors import CocaError
from coca_cli.results import Result, Run, latest, select, settings_hash, to_record, utc_now
from coca_cli.store import Store, write_atomically

SETTINGS: dict[str, object] = {"templates": ["a {c}."], "limit": None}
WHEN = "2025-01-31T12:00:00Z"


def make_row(**changes: object) -> Result:
    values: dict[str, object] = {
        "task": "zeroshot",
        "dataset": "digits",
        "dataset_version": 1,
        "split": "test",
        "metric": "top-1",
        "value": 92.3,
        "low": 89.9,
        "high": 94.2,
        "n": 599,
        "skipped": 0,
        "model": "coca_tiny",
        "checkpoint": "ab12cd34",
        "settings": settings_hash(SETTINGS),
        "seed": 0,
        "device": "cpu",
        "precision": "fp32",
        "seconds": 1.25,
        "coca": "0.1.0",
        "torch": "2.6.0",
        "when": WHEN,
    }
    return Result(**(values | changes))  # type: ignore[arg-type]


def make_run(**changes: object) -> Run:
    values: dict[str, object] = {
        "task": "zeroshot",
        "dataset": "digits",
        "command": "coca eval zeroshot -d digits",
        "settings": SETTINGS,
        "versions": {"python": "3.11"},
        "seconds": 1.25,
        "when": WHEN,
    }
    return Run(**(values | changes))  # type: ignore[arg-type]


def test_a_row_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "results")
    rows = [make_row(value=0.1 + 0.2), make_row(metric="top-5", dataset="digits")]
    store.append(rows, make_run())
    assert store.rows() == rows


def test_a_repeated_run_adds_and_never_overwrites(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = (store.append([make_row()], make_run()) for _ in range(2))
    assert first != second
    assert len(store.rows()) == 2
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_run_file_says_where_the_rows_come_from(tmp_path: Path) -> None:
    run = make_run(skipped=[("a.jpg", "truncated")], settings={"data_root": Path("data"), "limit": None})
    row = make_row(settings=settings_hash(run.settings))
    path = Store(tmp_path).append([row], run)
    assert path.name == f"20250131T120000Z-zeroshot-digits-{row.settings}.json"
    document = json.loads(path.read_text())
    assert document["command"] == "coca eval zeroshot -d digits"
    assert document["settings"] == {"data_root": "data", "limit": None}
    assert document["settings_hash"] == row.settings
    assert document["skipped"] == [{"id": "a.jpg", "reason": "truncated"}]
    assert document["versions"] == {"python": "3.11"}
    assert document["rows"] == ["zeroshot/digits/test/top-1"]


def test_run_file_is_strict_json(tmp_path: Path) -> None:
    settings: dict[str, object] = {"scale": math.inf, "shift": math.nan, "name": "é"}
    run = make_run(settings=settings)
    text = Store(tmp_path).append([make_row(settings=settings_hash(settings))], run).read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(text, parse_constant=refuse)["settings"] == {"scale": "inf", "shift": "nan", "name": "é"}


def test_a_dataset_named_by_a_path_makes_a_plain_file_name(tmp_path: Path) -> None:
    name = "folder:/data/../my pictures"
    path = Store(tmp_path).append([make_row(dataset=name)], make_run(dataset=name))
    assert path.parent == tmp_path / "runs"
    assert "folder_data_.._my_pictures" in path.name


@pytest.mark.parametrize("change", [{"when": "2024-01-01T00:00:00Z"}, {"settings": "0000000000"}, {"task": "caption"}])
def test_a_row_of_another_run_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="does not belong to the run"):
        Store(tmp_path).append([make_row(**change)], make_run())
    assert not (tmp_path / "results.jsonl").exists()


def test_csv_holds_the_same_rows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([make_row(value=math.nan, dataset="digits")], make_run())
    store.append([make_row(model='a, "quoted" name')], make_run())
    with (tmp_path / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["value"] for line in lines] == ["", "92.3"]
    assert lines[1]["model"] == 'a, "quoted" name'
    assert list(lines[0]) == list(asdict(make_row()))


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("nan")])
def test_what_is_not_finite_is_null_on_disk_and_nan_again(tmp_path: Path, value: float) -> None:
    store = Store(tmp_path)
    store.append([make_row(value=value)], make_run())
    assert json.loads((tmp_path / "results.jsonl").read_text())["value"] is None
    assert math.isnan(store.rows()[0].value)


def test_numbers_of_numpy_become_plain_numbers() -> None:
    record = to_record(make_row(value=np.float32(0.5), n=np.int64(3)))
    assert (record["value"], record["n"]) == (0.5, 3)
    assert (type(record["value"]), type(record["n"])) == (float, int)


@pytest.mark.parametrize("half", [b'{"task": "zero', b'{"task": "zeroshot", "dataset": "dig', b"\xff", b"{" * 70_000])
def test_a_half_line_of_a_killed_run_is_cut_off(tmp_path: Path, half: bytes) -> None:
    store = Store(tmp_path)
    store.append([make_row()], make_run())
    with store.rows_path.open("ab") as file:
        file.write(half)
    assert len(store.rows()) == 1
    store.append([make_row(metric="top-5")], make_run())
    assert [row.metric for row in store.rows()] == ["top-1", "top-5"]
    assert store.rows_path.read_bytes().count(b"\n") == 2


def test_a_whole_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([make_row()], make_run())
    store.rows_path.write_bytes(store.rows_path.read_bytes().rstrip(b"\n"))
    assert len(store.rows()) == 1
    store.append([make_row(metric="top-5")], make_run())
    assert [row.metric for row in store.rows()] == ["top-1", "top-5"]


def test_columns_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    record = to_record(make_row()) | {"colour": "blue"}
    (tmp_path / "results.jsonl").write_text(json.dumps(record) + "\n\n")
    assert Store(tmp_path).rows() == [make_row()]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json", "Expecting value"),
        (b"[1]", "it is not a JSON object"),
        (b'{"task": "zeroshot"}', "it has no dataset, dataset_version"),
        (json.dumps(to_record(make_row()) | {"n": "many"}).encode(), "its n is 'many'"),
        (json.dumps(to_record(make_row()) | {"n": True}).encode(), "its n is True"),
        (b"\xff\xfe", "line 2 of"),
    ],
)
def test_a_broken_line_is_an_error_that_names_it(tmp_path: Path, line: bytes, reason: str) -> None:
    good = json.dumps(to_record(make_row())).encode()
    (tmp_path / "results.jsonl").write_bytes(b"\n".join([good, line, good, b""]))
    with pytest.raises(CocaError, match=r"line 2 of .* is not a result row: ") as error:
        Store(tmp_path).rows()
    assert reason in str(error.value)
    assert "Mend that line or delete it." in str(error.value)
    with pytest.raises(CocaError, match="is not a result row"):
        Store(tmp_path).check_writable()


def test_a_missing_store_has_no_rows(tmp_path: Path) -> None:
    assert Store(tmp_path / "nowhere").rows() == []
    assert not (tmp_path / "nowhere").exists()


def test_a_store_that_is_a_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(CocaError, match="cannot be read: Not a directory"):
        Store(tmp_path / "results").rows()


def test_check_writable_makes_the_folder_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    Store(tmp_path / "a" / "b").check_writable()
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} <= {".lock", "runs", "details"}
    assert [list((tmp_path / "a" / "b" / name).iterdir()) for name in ("runs", "details")] == [[], []]


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/coca-results"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, place: str) -> None:
    if place.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("this system has no /proc")
    (tmp_path / "file").write_text("a file")
    for call in (Store.check_writable, lambda store: store.append([make_row()], make_run())):
        with pytest.raises(CocaError, match="results cannot be saved in") as error:
            call(Store(tmp_path / place))
        assert "name another one with --results DIR" in str(error.value)


@pytest.mark.parametrize("name", ["results.jsonl", "results.csv", "runs/"])
def test_something_else_in_the_place_of_a_file(tmp_path: Path, name: str) -> None:
    if name.endswith("/"):
        (tmp_path / name[:-1]).write_text("a file")
    else:
        (tmp_path / name).mkdir()
    with pytest.raises(CocaError, match="results cannot be saved in"):
        Store(tmp_path).check_writable()


def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        tmp_path.chmod(0o700)
        pytest.skip("this user may write everywhere")
    try:
        with pytest.raises(CocaError, match=r"results cannot be saved in .* Permission denied"):
            Store(tmp_path).check_writable()
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("reason", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_refuses_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(CocaError, match=f"results cannot be saved in .*{os.strerror(reason)}"):
        Store(tmp_path).check_writable()
    assert list(tmp_path.glob(".probe*")) == []


def test_a_disk_that_is_full_leaves_the_old_rows_and_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.append([make_row()], make_run())
    before, runs = store.rows_path.read_bytes(), list(store.runs_folder.iterdir())
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, lines: write(descriptor, lines[:20]))
    with pytest.raises(CocaError, match="No space left on device"):
        store.append([make_row(metric="top-5")], make_run())
    assert store.rows_path.read_bytes() == before
    assert list(store.runs_folder.iterdir()) == runs


def test_rows_are_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    write = os.write

    def record(descriptor: int, lines: bytes) -> int:
        written.append(lines)
        return write(descriptor, lines)

    monkeypatch.setattr(os, "write", record)
    Store(tmp_path).append([make_row(), make_row(metric="top-5")], make_run())
    assert [lines.count(b"\n") for lines in written if b"zeroshot" in lines] == [2]


def test_a_held_lock_is_an_error_that_names_it(tmp_path: Path) -> None:
    store = Store(tmp_path, lock_seconds=0.01)
    with FileLock(tmp_path / ".lock"), pytest.raises(CocaError, match="another process has held the lock"):
        store.append([make_row()], make_run())
    store.append([make_row()], make_run())


def test_many_processes_save_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path\n"
        "from test_results import Store, make_row, make_run\n"
        "for _ in range(10): Store(Path(sys.argv[3])).append([make_row(), make_row(metric='top-5')], make_run())\n"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-c", code, str(here), str(here.parent), str(tmp_path)]
    for process in [subprocess.Popen(command) for _ in range(3)]:
        assert process.wait(60) == 0
    rows = Store(tmp_path).rows()
    assert [row.metric for row in rows] == ["top-1", "top-5"] * 30
    assert len(list((tmp_path / "runs").glob("*.json"))) == 30


class _Word(StrEnum):
    auto = "auto"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}),
        ({"path": Path("x/y")}, {"path": "x/y"}),
        ({"list": ("a", "b")}, {"list": ["a", "b"]}),
        ({"number": np.float64(0.1)}, {"number": 0.1}),
        ({"word": _Word.auto}, {"word": "auto"}),
        ({"set": {"b", "a", "c"}}, {"set": ["a", "b", "c"]}),
    ],
)
def test_equal_settings_have_equal_hashes(one: dict[str, object], other: dict[str, object]) -> None:
    assert settings_hash(one) == settings_hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 0.1}, {"a": 0.1 + 1e-16}),
        ({"a": None}, {}),
        ({"a": "1"}, {"a": 1}),
        ({"a": math.nan}, {"a": math.inf}),
        ({"a": ["b", "c"]}, {"a": ["c", "b"]}),
    ],
)
def test_different_settings_have_different_hashes(one: dict[str, object], other: dict[str, object]) -> None:
    assert settings_hash(one) != settings_hash(other)


def test_the_hash_is_that_of_canonical_json() -> None:
    text = b'{"limit":null,"scale":0.1,"templates":["a {c}."]}'
    settings = {"templates": ["a {c}."], "limit": None, "scale": 0.1}
    assert settings_hash(settings) == hashlib.sha256(text).hexdigest()[:10]


def test_a_setting_that_is_no_data_is_refused() -> None:
    with pytest.raises(TypeError, match="a setting must be plain data or a path, not object"):
        settings_hash({"a": object()})


def test_latest_takes_the_newest_row_of_a_setting() -> None:
    old, new = make_row(value=1.0), make_row(value=2.0, when="2025-02-01T00:00:00Z")
    assert latest([old, new]) == [new]
    assert latest([new, old]) == [new]
    same_second = make_row(value=3.0)
    assert latest([old, same_second]) == [same_second]


@pytest.mark.parametrize(
    "change",
    [
        {"task": "caption"},
        {"dataset": "imagenet"},
        {"split": "train"},
        {"metric": "top-5"},
        {"model": "coca_base"},
        {"checkpoint": "00000000"},
        {"settings": "0000000000"},
        {"seed": 1},
        {"precision": "bf16"},
    ],
)
def test_latest_keeps_rows_of_different_settings(change: dict[str, object]) -> None:
    rows = [make_row(), make_row(**change)]
    assert latest(rows) == rows


def test_select_by_name_and_by_pattern() -> None:
    rows = [make_row(), make_row(dataset="imagenet"), make_row(dataset="imagenet-v2"), make_row(dataset="folder:a[b]")]
    assert select(rows, task=None, dataset="imagenet", model=None) == rows[1:2]
    assert select(rows, task="zeroshot", dataset="imagenet*", model="coca_*") == rows[1:3]
    assert select(rows, task=None, dataset="folder:a[b]", model=None) == rows[3:]
    assert select(rows, task=None, dataset=None, model=None) == rows


def test_select_nothing_names_what_there_is() -> None:
    rows = [make_row(), make_row(dataset="imagenet")]
    with pytest.raises(CocaError, match=r"no result has the dataset 'cifar10'\. The store has: digits, imagenet\."):
        select(rows, task=None, dataset="cifar10", model=None)


def test_time_is_utc_in_whole_seconds() -> None:
    assert len(utc_now()) == len(WHEN)
    assert utc_now().endswith("Z")


def test_versions_are_found_without_importing_torch() -> None:
    code = (
        "import sys; from coca_cli import results as r; print(sorted(r.installed_versions()), 'torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "['coca', 'platform', 'python', 'torch'] False"


def test_write_atomically_keeps_the_old_text_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    write_atomically(path, "old")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_writes_through_links_and_to_pipes(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "text"
    write_atomically(Path(os.devnull), "text")
    assert not Path(os.devnull).is_file()


def test_names_that_are_not_utf8_do_not_stop_a_table(tmp_path: Path) -> None:
    name = "folder:x\udce9"
    store = Store(tmp_path)
    store.append([make_row(dataset=name)], make_run(dataset=name))
    assert store.rows()[0].dataset == name
    assert "folder:x\\udce9" in store.table_path.read_text()


def test_rows_are_frozen() -> None:
    with pytest.raises(AttributeError):
        make_row().value = 1.0  # type: ignore[misc]
    assert replace(make_row(), value=1.0).value == 1.0
