from __future__ import annotations

import json
from pathlib import Path

import pytest

from coca_cli.datasets.example import Example
from coca_cli.datasets.pairs import (
    CAPTION_COLUMNS,
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    find_table_columns,
    read_folder_pairs,
    read_table,
    read_tables,
)
from coca_cli.errors import BadExample, CocaError, MissingFile

SAMPLE = Path(__file__).parents[1] / "samples" / "pairs"


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pairs(path: Path, **columns: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(example.id, example.texts) for example in read_table(path, **columns)]


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv", "pairs.jsonl"])
def test_the_same_pairs_in_every_kind_of_table(name: str) -> None:
    examples = list(read_table(SAMPLE / name))

    assert [(example.id, example.texts) for example in examples] == [
        ("pictures/red.jpg", ("a red circle", "a round thing, red")),
        ("pictures/blue.jpg", ("a blue square",)),
        ("pictures/green.jpg", ("a green circle",)),
    ]
    for example in examples:
        (picture,) = example.media
        assert isinstance(picture, Path)
        assert picture.is_file()


def test_a_folder_of_pictures_with_texts_beside_them() -> None:
    examples = list(read_folder_pairs(SAMPLE / "folder"))

    folder = SAMPLE / "folder"
    assert examples == [
        Example("round/red.jpg", (folder / "round" / "red.jpg",), texts=("a red circle", "a round thing, red")),
        Example("square/blue.png", (folder / "square" / "blue.png",), texts=("a blue square",)),
    ]


def test_pictures_that_differ_in_the_ending_share_the_text(tmp_path: Path) -> None:
    for name in ("a.b.jpg", "a.b.PNG", "a.jpg", ".hidden.jpg"):
        write(tmp_path / name, b"")
    write(tmp_path / "a.b.txt", "\ufeff one\r\n\n two\u2028three \n")
    write(tmp_path / ".hidden.txt", "not seen")

    found = [(example.id, example.texts) for example in read_folder_pairs(tmp_path)]

    assert found == [("a.b.PNG", ("one", "two\u2028three")), ("a.b.jpg", ("one", "two\u2028three"))]


def test_a_text_without_captions_gives_none(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", b"")
    write(tmp_path / "a.txt", "\n \n")

    assert [example.texts for example in read_folder_pairs(tmp_path)] == [()]


@pytest.mark.parametrize("column", IMAGE_COLUMNS)
def test_common_names_of_image_columns(tmp_path: Path, column: str) -> None:
    table = write(tmp_path / "a.csv", f"caption,{column.upper()} \na cat,0.jpg\n")

    assert pairs(table) == [("0.jpg", ("a cat",))]


@pytest.mark.parametrize("column", CAPTION_COLUMNS)
def test_common_names_of_caption_columns(tmp_path: Path, column: str) -> None:
    table = write(tmp_path / "a.jsonl", json.dumps({column: "a cat", "image": "0.jpg"}))

    assert pairs(table) == [("0.jpg", ("a cat",))]


@pytest.mark.parametrize("column", LABEL_COLUMNS)
@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.csv", "{},image\n cat ,0.jpg\n", ("cat",)),
        ("a.csv", "{0},image,{0}\ncat,0.jpg,dog\n,0.jpg,cat\n", ("cat", "dog")),
        ("a.jsonl", '{{"image": "0.jpg", "{}": "cat"}}', ("cat",)),
        ("a.jsonl", '{{"image": "0.jpg", "{}": ["cat", "dog", "cat", " "]}}', ("cat", "dog")),
        ("a.jsonl", '{{"image": "0.jpg", "{}": null}}', ()),
    ],
)
def test_class_names(tmp_path: Path, column: str, name: str, content: str, texts: tuple[str, ...]) -> None:
    table = write(tmp_path / name, content.format(column))

    assert list(read_tables("labels", [table])) == [Example("0.jpg", (tmp_path / "0.jpg",), texts=texts)]
    assert find_table_columns(table) == {"image": "image", "labels": column}


def test_a_class_that_is_no_text_is_refused(tmp_path: Path) -> None:
    table = write(tmp_path / "a.jsonl", '{"image": "0.jpg", "label": 3}')

    with pytest.raises(BadExample, match="line 1: the label is '3', not a text or a list of texts: correct it"):
        list(read_tables("labels", [table]))


def test_reading_stops_once_enough_pictures_are_known(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", 'image,caption\n0.jpg,a\n0.jpg,b\n1.jpg,c\n2.jpg,d\n3.jpg,"open\n')

    assert [example.id for example in read_tables("pairs", [table], first=3)] == ["0.jpg", "1.jpg", "2.jpg"]
    with pytest.raises(BadExample):
        list(read_tables("pairs", [table]))


@pytest.mark.parametrize("content", ["", "image,caption,label\n"])
def test_a_table_without_rows_has_no_columns(tmp_path: Path, content: str) -> None:
    assert find_table_columns(write(tmp_path / "a.csv", content)) == {}


def test_named_columns_come_before_common_ones(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", "image,caption,Large Image,alt\nsmall.jpg,no,large.jpg,yes\n")

    assert pairs(table, image_column="large image", caption_column="alt") == [("large.jpg", ("yes",))]
    assert pairs(table) == [("small.jpg", ("no",))]


def test_columns_of_the_same_name_are_several_captions(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", "caption,image,caption\none,0.jpg,two\n,1.jpg,three\n")

    assert pairs(table) == [("0.jpg", ("one", "two")), ("1.jpg", ("three",))]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "image,caption\r\n0.jpg,cat\r\n"),
        ("a.csv", "\ufeffimage,caption\n0.jpg,cat"),
        ("a.csv", "image\tcaption\n0.jpg\tcat\n"),
        ("a.csv", "image;caption\n0.jpg;cat\n"),
        ("a.csv", '"image","caption"\n\n"0.jpg","cat"\n\n'),
        ("a.CSV", "caption,image\ncat,0.jpg\n"),
        ("a.tsv", "image\tcaption\n0.jpg\tcat\n"),
        ("a.jsonl", '\ufeff{"image": "0.jpg", "caption": "cat"}\n\n'),
        ("a.jsonl", '{"image": "0.jpg", "caption": ["cat", " "]}\r\n{"caption": null, "image": "0.jpg"}'),
    ],
)
def test_ways_to_write_a_table(tmp_path: Path, name: str, content: str) -> None:
    assert pairs(write(tmp_path / name, content)) == [("0.jpg", ("cat",))]


def test_quoted_cells_hold_separators_and_line_breaks(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", 'image,caption\n0.jpg,"a cat, ""Tom"",\nasleep"\n1.jpg,one\u2028line\n')

    assert pairs(table) == [("0.jpg", ('a cat, "Tom",\nasleep',)), ("1.jpg", ("one\u2028line",))]


def test_one_picture_is_one_example_however_it_is_written(tmp_path: Path) -> None:
    rows = ["b.jpg", "x/../a.jpg", "./b.jpg", str(tmp_path / "a.jpg"), "../c.jpg"]
    table = write(tmp_path / "a.csv", "image,caption\n" + "".join(f"{row},{n}\n" for n, row in enumerate(rows)))

    assert pairs(table) == [("b.jpg", ("0", "2")), ("a.jpg", ("1", "3")), ("../c.jpg", ("4",))]


def test_ids_are_the_same_wherever_the_table_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write(tmp_path / "set" / "a.csv", f"image,caption\nx.jpg,one\n{tmp_path}/set/y.jpg,two\n")
    expected = [("x.jpg", ("one",)), ("y.jpg", ("two",))]
    monkeypatch.chdir(tmp_path)

    assert pairs(table) == pairs(Path("set/a.csv")) == expected
    monkeypatch.chdir(tmp_path / "set")
    assert pairs(Path("a.csv")) == expected


def test_a_picture_without_a_caption_is_an_example_without_texts(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", "image,caption\n0.jpg,\n1.jpg,  \n")

    assert pairs(table) == [("0.jpg", ()), ("1.jpg", ())]


@pytest.mark.parametrize("content", ["", "image,caption\n", "\n\n"])
def test_a_table_without_rows_has_no_examples(tmp_path: Path, content: str) -> None:
    assert pairs(write(tmp_path / "a.csv", content)) == []
    assert pairs(write(tmp_path / "a.jsonl", "\n")) == []


@pytest.mark.parametrize(
    ("name", "content", "line", "message"),
    [
        ("a.csv", "image,caption\n0.jpg,a\n1.jpg,b, c\n", 3, "3 cells, but the header has 2; put cells that hold a"),
        ("a.csv", "image,caption\n0.jpg\n", 2, "1 cells, but the header has 2; put cells that hold a"),
        ("a.csv", 'image,caption\n0.jpg,"open\n1.jpg,b\n', 3, "write a quotation mark inside a quoted cell twice"),
        ("a.csv", 'image,caption\n0.jpg,"a" b\n', 2, "write a quotation mark inside a quoted cell twice"),
        ("a.csv", "image,caption\n ,a\n", 2, "the picture is ' ', not a path: fill it in or drop the line"),
        ("a.jsonl", '{"image": "0.jpg", "caption": "a"}\n{"image": \n', 2, "not valid JSON ("),
        ("a.jsonl", "\n" + "[" * 100_000, 2, "each line must be one whole object"),
        ("a.jsonl", '["0.jpg", "a"]', 1, "not an object with a picture and a caption"),
        ("a.jsonl", '{"image": 3, "caption": "a"}', 1, "the picture is 3, not a path: fill it in or drop the line"),
        ("a.jsonl", '{"image": "0.jpg", "caption": 3}', 1, "the caption is '3', not a text or a list of texts"),
        ("a.jsonl", '{"image": "0.jpg", "caption": ["a", {}]}', 1, "not a text or a list of texts: correct it"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, name: str, content: str, line: int, message: str) -> None:
    table = write(tmp_path / name, content)

    with pytest.raises(BadExample) as error:
        pairs(table)
    assert str(error.value).startswith(f"{table}, line {line}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "columns", "missing"),
    [
        ("url,caption\n", {}, "one of the image columns image, image_path"),
        ("image,words\n", {}, "one of the caption columns caption, captions"),
        ("image,caption\n", {"image_column": "photo"}, "a column named 'photo'"),
        ("image,caption\n", {"caption_column": "alt"}, "a column named 'alt'"),
    ],
)
def test_a_missing_column_names_those_that_are_there(
    tmp_path: Path, content: str, columns: dict[str, str], missing: str
) -> None:
    table = write(tmp_path / "a.csv", content + "x,y\n")

    with pytest.raises(CocaError) as error:
        pairs(table, **columns)
    assert f"line 2: found the columns {content.strip().replace(',', ', ')}, but not {missing}" in str(error.value)
    assert str(error.value).endswith(": rename the column")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CocaError, match=r"is no table that can be read: use one of \.csv, \.tsv, \.jsonl, \.parquet"):
        pairs(write(tmp_path / "a.xlsx", b"PK"))


@pytest.mark.parametrize("name", ["absent.csv", "absent.jsonl", "folder.csv"])
def test_a_table_that_is_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(MissingFile, match="give the path of a file that can be read"):
        pairs(tmp_path / name)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "folder/a.txt"])
def test_a_text_in_another_encoding_is_refused(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / name, "image,caption\n0.jpg,na\xefve\n".encode("latin-1"))
    write(tmp_path / "folder" / "a.jpg", b"")

    with pytest.raises(BadExample, match=r"is not UTF-8 text \(.*\): save it as UTF-8") as error:
        list(read_folder_pairs(file.parent) if file.suffix == ".txt" else read_table(file))
    assert str(file) in str(error.value)
