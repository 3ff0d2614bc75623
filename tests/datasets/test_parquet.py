from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coca_cli.datasets.example import Example, Streamed
from coca_cli.datasets.pairs import find_table_columns, holds_pictures, read_picture_table, read_table, read_tables
from coca_cli.datasets.parquet import ROWS_AT_ONCE, ClassCell, list_parquet, parquet_rows
from coca_cli.datasets.sources import Source, find_source
from coca_cli.errors import BadExample, CocaError, MissingFile

NO_ROOT = Path("nowhere")
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(
    path: Path, columns: dict[str, Any], types: dict[str, Any] | None = None, features: object = None, rows: int = 100
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    types = types or {}
    table = pa.table({name: pa.array(cells, types.get(name)) for name, cells in columns.items()})
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=rows)
    return path


def read(source: Source) -> list[Example]:
    return list(source.read())


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([b"one", b"two"], pa.binary()),
        ([b"one", b"two"], pa.large_binary()),
        ([{"bytes": b"one", "path": "1.jpg"}, {"bytes": b"two", "path": None}], STRUCT),
    ],
)
def test_pictures_in_the_table_are_read_front_to_back(tmp_path: Path, cells: list[Any], kind: Any) -> None:
    table = write(tmp_path / "a.parquet", {"image": cells, "caption": [" a cat ", "a dog"]}, {"image": kind})

    source = find_source(str(table), NO_ROOT)

    assert (source.kind, source.streams) == ("pairs", (str(table),))
    assert read(source) == [
        Example("a.parquet:0", (Streamed(b"one", f"{table}, row 0"),), texts=("a cat",)),
        Example("a.parquet:1", (Streamed(b"two", f"{table}, row 1"),), texts=("a dog",)),
    ]
    assert source.read_stream is not None
    assert list(source.read_stream(str(table))) == read(source)


def test_rows_come_in_order_over_row_groups_and_batches(tmp_path: Path) -> None:
    names = [f"caption {number}" for number in range(3 * ROWS_AT_ONCE + 5)]
    table = write(tmp_path / "a.parquet", {"image": [b"x"] * len(names), "text": names}, rows=ROWS_AT_ONCE + 7)

    assert [example.texts for example in read_picture_table("pairs", tmp_path, str(table))] == [(n,) for n in names]


def test_only_the_wanted_columns_are_read(tmp_path: Path) -> None:
    table = write(tmp_path / "a.parquet", {"caption": ["a"], "huge": ["b"], "image": ["0.jpg"]})

    assert list(parquet_rows(table, ["image", "caption"])) == [("0.jpg", "a")]


def test_a_row_without_a_picture_is_one_that_cannot_be_read(tmp_path: Path) -> None:
    cells = [None, {"bytes": None, "path": None}, {"bytes": None, "path": "pictures/2.jpg"}]
    table = write(tmp_path / "a.parquet", {"image": cells, "caption": ["a", "b", "c"]}, {"image": STRUCT})

    media = [example.media[0] for example in read_picture_table("pairs", tmp_path, str(table))]

    assert media[:2] == [Streamed(b"", f"{table}, row 0"), Streamed(b"", f"{table}, row 1")]
    assert media[2] == tmp_path / "pictures" / "2.jpg"


def test_paths_are_pictures_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(b"")
    columns = {"file_name": ["0.jpg", "1.jpg", "./0.jpg"], "captions": [["a", "b"], None, ["c", " "]]}
    table = write(tmp_path / "a.parquet", columns)

    assert not holds_pictures(table)
    assert [(e.id, e.texts) for e in read_table(table)] == [("0.jpg", ("a", "b", "c")), ("1.jpg", ())]
    source = find_source(str(table), NO_ROOT)
    assert (source.kind, source.streams, [e.id for e in read(source)]) == ("pairs", (), ["0.jpg"])
    assert read(source)[0].media == (tmp_path / "0.jpg",)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["cat", " dog ", None], [(None, ("cat",)), (None, ("dog",)), (None, ())]),
        ([["cat", "dog"], ["cat", "cat"], []], [(None, ("cat", "dog")), (None, ("cat",)), (None, ())]),
    ],
)
def test_class_names(tmp_path: Path, cells: list[Any], expected: list[Any]) -> None:
    table = write(tmp_path / "a.parquet", {"image": [b"x"] * 3, "label": cells})

    found = [(e.label, e.texts) for e in read_picture_table("labels", tmp_path, str(table))]

    assert found == expected
    source = find_source(str(table), NO_ROOT)
    assert (source.kind, len(read(source))) == ("labels", sum(bool(texts) for _, texts in expected))
    assert "a photo of a {c}." in source.templates


@pytest.mark.parametrize(
    ("cells", "feature", "expected"),
    [
        ([1, 0, -1], {"names": ["cat", "dog"], "_type": "ClassLabel"}, [(1, ("dog",)), (0, ("cat",)), (None, ())]),
        (
            [[1], [0, 1], []],
            {"feature": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "_type": "Sequence"},
            [(1, ("dog",)), (None, ("cat", "dog")), (None, ())],
        ),
        ([[0], [1], []], [{"names": ["cat", "dog"]}], [(0, ("cat",)), (1, ("dog",)), (None, ())]),
    ],
)
def test_classes_by_number_have_the_names_of_the_schema(
    tmp_path: Path, cells: list[Any], feature: object, expected: list[Any]
) -> None:
    columns = {"img": [b"x"] * 3, "labels": cells}
    table = write(tmp_path / "a.parquet", columns, features={"img": {"_type": "Image"}, "labels": feature})

    found = [(e.label, e.texts) for e in read_picture_table("labels", tmp_path, str(table))]

    assert found == expected


def test_classes_of_pictures_beside_the_table_keep_their_number(tmp_path: Path) -> None:
    features = {"label": {"names": ["cat", "dog"]}}
    table = write(tmp_path / "a.parquet", {"image": ["0.jpg", "1.jpg"], "label": [1, 0]}, features=features)

    found = [(e.label, e.texts) for e in read_tables("labels", [table])]

    assert found == [(1, ("dog",)), (0, ("cat",))]
    assert list(parquet_rows(table, ["label"])) == [(ClassCell(1, "dog"),), (ClassCell(0, "cat"),)]


@pytest.mark.parametrize("features", [None, {"label": {"dtype": "int64"}}, {"label": {"names": None}}, [1], "x"])
def test_classes_by_number_without_names_are_refused(tmp_path: Path, features: object) -> None:
    table = write(tmp_path / "a.parquet", {"image": [b"x"], "label": [3]}, features=features)

    with pytest.raises(BadExample, match="row 0: the label is '3', not a text or a list of texts: correct it"):
        find_source(str(table), NO_ROOT)


def test_a_schema_with_other_metadata_is_no_trouble(tmp_path: Path) -> None:
    table = pa.table({"image": [b"x"], "label": ["cat"]}).replace_schema_metadata({"huggingface": "no json"})
    pq.write_table(table, tmp_path / "a.parquet")

    assert [e.texts for e in read(find_source(str(tmp_path / "a.parquet"), NO_ROOT))] == [("cat",)]


@pytest.mark.parametrize("word", ["", "pairs:", "labels:"])
def test_a_table_with_both_kinds(tmp_path: Path, word: str) -> None:
    table = write(tmp_path / "a.parquet", {"image": [b"x"], "label": ["cat"], "caption": ["a cat sits"]})

    source = find_source(f"{word}{table}", NO_ROOT)

    kind = "labels" if word == "labels:" else "pairs"
    assert (source.kind, read(source)[0].texts) == (kind, ("cat",) if kind == "labels" else ("a cat sits",))
    assert find_table_columns(table) == {"image": "image", "pairs": "caption", "labels": "label"}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("", ["data/train-00000-of-00002.parquet:0", "data/train-00001-of-00002.parquet:0"]),
        ("data", ["train-00000-of-00002.parquet:0", "train-00001-of-00002.parquet:0"]),
        ("data/*.parquet", ["train-00000-of-00002.parquet:0", "train-00001-of-00002.parquet:0"]),
        ("data/train-{00001..00001}-of-00002.parquet", ["train-00001-of-00002.parquet:0"]),
        ("data/test-00000-of-00001.parquet", ["test-00000-of-00001.parquet:0"]),
    ],
)
def test_many_files_give_the_split_for_training(tmp_path: Path, part: str, expected: list[str]) -> None:
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        write(tmp_path / "data" / f"{name}.parquet", {"image": [b"x"], "caption": [name]})

    source = find_source(str(tmp_path / part), NO_ROOT)

    assert [example.id for example in read(source)] == expected
    assert len(source.streams) == len(expected)
    again = pickle.loads(pickle.dumps(source))
    assert read(again) == read(source)


def test_many_files_of_paths_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(b"")
    write(tmp_path / "part-0.parquet", {"image": ["0.jpg"], "caption": ["one"]})
    write(tmp_path / "part-1.parquet", {"image": ["x/../0.jpg", "1.jpg"], "caption": ["two", "three"]})

    found = read(find_source(str(tmp_path), NO_ROOT))

    assert [(e.id, e.texts) for e in found] == [("0.jpg", ("one", "two")), ("1.jpg", ("three",))]


def test_files_for_evaluation_alone_are_not_trained_on(tmp_path: Path) -> None:
    for name in ("val", "test"):
        write(tmp_path / f"{name}-0.parquet", {"image": [b"x"], "caption": ["a"]})

    with pytest.raises(CocaError, match="has the splits test, val and none named train, so it is not trained on"):
        find_source(str(tmp_path), NO_ROOT)


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    for name in ("b", "a", "._a", "10", "9"):
        (tmp_path / f"{name}.parquet").write_bytes(b"")

    assert [path.name for path in list_parquet(str(tmp_path))] == ["9.parquet", "10.parquet", "a.parquet", "b.parquet"]


def test_pictures_in_the_table_are_no_paths(tmp_path: Path) -> None:
    table = write(tmp_path / "a.parquet", {"image": [b"x" * 10_000], "caption": ["a"]})

    with pytest.raises(
        BadExample, match=r"row 0: the picture is b'x+, not a path: fill it in or drop the line"
    ) as error:
        list(read_table(table))
    assert len(str(error.value)) < 500


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    table = write(tmp_path / "a.parquet", {"url": ["x"], "caption": ["a"]})

    with pytest.raises(CocaError, match="found the columns url, caption, but not one of the image columns image"):
        find_source(str(table), NO_ROOT)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table" * 20, b"PAR1" + bytes(50) + b"PAR1"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)

    with pytest.raises(BadExample, match="is no parquet table, or a damaged one "):
        find_source(str(tmp_path / "a.parquet"), NO_ROOT)


def test_a_damaged_part_is_found_when_it_is_read(tmp_path: Path) -> None:
    table = tmp_path / "a.parquet"
    content = pa.table({"image": [bytes([n]) * 5000 for n in range(200)], "caption": ["a"] * 200})
    pq.write_table(content, table, compression=None, use_dictionary=False, row_group_size=20)
    data = bytearray(table.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 9000] = b"\xff" * 9000
    table.write_bytes(data)

    rows = read_picture_table("pairs", tmp_path, str(table))
    assert next(rows).media[0].read_bytes() == bytes(5000)  # type: ignore[union-attr]
    with pytest.raises(BadExample, match="or a damaged one "):
        list(rows)


@pytest.mark.parametrize("name", ["none.parquet", "none-*.parquet"])
def test_a_table_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingFile, match=r"no such parquet table: .*; look for a typing error in the path"):
        find_source(str(tmp_path / name), NO_ROOT)
    with pytest.raises(MissingFile, match="cannot read the parquet table "):
        holds_pictures(tmp_path / name)
