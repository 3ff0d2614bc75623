from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from coca_cli.details import Details, RunDetails, write_details
from coca_cli.errors import CocaError
from coca_cli.results import latest
from coca_cli.store import Store
from tests.test_results import make_row, make_run

DETAILS = Details(
    tables={"examples": {"id": ["a", 'b, "c"'], "top-1": [1, 0]}, "image-to-text": {"id": ["x"], "rank": [3]}},
    facts={"class_names": ("cat", "dog")},
    samples=[{"kind": "look", "pictures": [b"\xff\xd8one", None], "maps": [[[0.25, 0.75]]], "said": ["cat", 0.5]}],
)


def test_details_come_back_as_they_were(tmp_path: Path) -> None:
    write_details(tmp_path / "new" / "run.zip", DETAILS)
    found = RunDetails(tmp_path / "new" / "run.zip")
    assert found.table("examples") == {"id": ["a", 'b, "c"'], "top-1": ["1", "0"]}
    assert found.table("image-to-text") == {"id": ["x"], "rank": ["3"]}
    assert found.table("elsewhere") is None
    assert found.table_names() == ["examples", "image-to-text"]
    assert found.facts == {"class_names": ["cat", "dog"]}
    assert found.samples == [dict(DETAILS.samples[0])]


def test_names_that_are_not_utf8_lose_nothing(tmp_path: Path) -> None:
    odd = b"caf\xe9.jpg".decode(errors="surrogateescape")
    write_details(tmp_path / "run.zip", Details(tables={"examples": {"id": [odd]}}, facts={"of": odd}))
    assert RunDetails(tmp_path / "run.zip").table("examples") == {"id": [r"caf\udce9.jpg"]}


def test_columns_of_unequal_length_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        write_details(tmp_path / "run.zip", Details(tables={"examples": {"id": ["a", "b"], "top-1": [1]}}))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.zip").write_bytes(b"no archive")
    with pytest.raises(CocaError, match=r"details of a run in .*run.zip cannot be read"):
        RunDetails(tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("examples.csv", "id\n")
    with pytest.raises(CocaError, match=r"details of a run in .*other.zip cannot be read: .*details.json"):
        RunDetails(tmp_path / "other.zip")


def test_the_store_keeps_details_beside_the_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([make_row()], make_run(), DETAILS)
    store.append([make_row(model="other")], make_run())
    first, second = store.runs()
    assert [run.document["model"] for run in (first, second)] == ["coca_tiny", "other"]
    found = store.details(first)
    assert found is not None
    assert found.table_names() == ["examples", "image-to-text"]
    assert store.details(second) is None
    assert [[run.made(row) for run in (first, second)] for row in latest(store.rows())] == [
        [True, False],
        [False, True],
    ]


def test_a_run_file_of_an_early_version_made_rows_of_any_model(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([make_row()], make_run())
    (run,) = store.runs()
    early = run._replace(document={k: v for k, v in run.document.items() if k not in ("model", "checkpoint")})
    assert early.made(make_row(model="other"))
    assert not early.made(replace(make_row(), dataset="imagenet"))


def test_a_run_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (store.append([make_row()], make_run())).write_text("{")
    with pytest.raises(CocaError, match=r"the run file .* cannot be read: .*Mend it or delete it"):
        store.runs()


def test_rows_are_saved_where_details_cannot_be(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.details_folder.write_text("a file in the folder's place")
    with pytest.raises(CocaError, match=r"the results are saved in .*, but not what single examples scored"):
        store.append([make_row()], make_run(), DETAILS)
    assert store.rows() == [make_row()]
    with pytest.raises(CocaError, match="results cannot be saved in"):  # noticed before the work
        store.check_writable()


@pytest.mark.parametrize("damage", ["flipped", "document", "samples", "table", "empty table"])
def test_damages_of_any_kind_are_one_message(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "run.zip"
    write_details(path, DETAILS)
    members = {}
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if damage == "flipped":
        data = bytearray(path.read_bytes())
        for place in range(40, 120):
            data[place] ^= 0xFF
        path.write_bytes(data)
    else:
        changes = {
            "document": ("details.json", b"[]"),
            "samples": ("details.json", b'{"facts": {}, "samples": [{"a": {"picture": "gone.jpg"}}]}'),
            "table": ("examples.csv", b"id,top-1\na\n"),
            "empty table": ("examples.csv", b""),
        }
        name, data_ = changes[damage]
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in {**members, name: data_}.items():
                archive.writestr(member, content)
    with pytest.raises(CocaError, match=r"details of a run in .*run.zip cannot be read"):
        RunDetails(path).table("examples")


def test_runs_of_one_second_are_told_apart_by_split_seed_and_precision(tmp_path: Path) -> None:
    store = Store(tmp_path)
    changes: list[dict[str, object]] = [{}, {"split": "dev"}, {"seed": 3}, {"precision": "bf16"}]
    for change in changes:
        store.append([make_row(**change)], make_run(), DETAILS)
    runs = store.runs()
    for number, row in enumerate(store.rows()):
        assert [run.made(row) for run in runs] == [number == other for other in range(4)]
