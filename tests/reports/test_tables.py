from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest

from coca_cli.errors import CocaError
from coca_cli.reports.tables import COLUMN_TYPES, frame, render, to_csv, to_json, to_markdown, write_table
from coca_cli.results import KINDS, Result, Run, settings_hash
from coca_cli.store import Store

DEFAULTS: dict[str, object] = {
    **{name: {"str": name, "int": 1, "float": 50.0}[kind] for name, kind in KINDS.items()},
    "task": "zeroshot",
    "dataset": "digits",
    "split": "test",
    "metric": "top-1",
    "value": 92.345,
    "low": 89.94,
    "high": 94.25,
    "n": 599,
    "skipped": 0,
    "model": "coca_tiny",
    "checkpoint": "ab12cd34",
    "settings": "0123456789",
    "when": "2025-01-31T12:00:00Z",
}
ZERO_SHOT = ("top1", "top5", "mean_per_class_recall")
RETRIEVAL = tuple(f"{way} R@{k}" for way in ("image-to-text", "text-to-image") for k in (1, 5, 10))


def make_row(**changes: object) -> Result:
    return Result(**(DEFAULTS | changes))  # type: ignore[arg-type]


def make_rows(metrics: Iterable[str] = ZERO_SHOT, **changes: object) -> list[Result]:
    return [make_row(metric=metric, **changes) for metric in metrics]


def show(rows: list[Result], monkeypatch: pytest.MonkeyPatch, width: int = 80, **options: bool) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    return render(rows, "table", **options).splitlines()


def test_frame_has_every_column_and_type() -> None:
    table = frame([make_row(value=math.nan)])
    assert list(table) == list(KINDS)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == COLUMN_TYPES
    assert table["value"].isna().all()
    assert dict(frame([]).dtypes) == dict(table.dtypes)


def test_csv_comes_back_through_pandas_without_loss() -> None:
    rows = [
        make_row(value=0.1 + 0.2, settings="0012345678", checkpoint="12e45678", model="NA"),
        make_row(value=1 / 3, model='a, "b" | c', split="", n=2**60),
        make_row(value=math.nan, low=5e-324, high=1e300),
    ]
    table = frame(rows)
    numbers = [name for name, kind in COLUMN_TYPES.items() if kind == "float64"]
    exact = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}
    again = pd.read_csv(
        io.StringIO(to_csv(table)),
        dtype=COLUMN_TYPES,
        keep_default_na=False,
        na_values={name: [""] for name in numbers},
        **exact,
    )
    pd.testing.assert_frame_equal(again, table, check_exact=True)


def test_csv_is_the_text_of_the_store(tmp_path: Path) -> None:
    run = Run(task="zeroshot", dataset="digits", command="", settings={}, versions={}, seconds=1.0, when="now")
    rows = [make_row(when="now", settings=settings_hash({}), value=value) for value in (1 / 3, math.nan, 1e-7, 100.0)]
    store = Store(tmp_path)
    store.append(rows, run)
    assert to_csv(frame(store.rows())) == store.table_path.read_text()


def test_json_has_null_where_a_value_is_not_defined() -> None:
    records = json.loads(to_json([make_row(value=math.nan), make_row(n=3)]))
    assert [record["value"] for record in records] == [None, 92.345]
    assert list(records[0]) == list(KINDS)


def test_markdown_has_metrics_as_columns() -> None:
    text = to_markdown([make_row(), make_row(metric="top-5", value=100.0, low=99.4, high=100.0)])
    assert text.splitlines()[:5] == [
        "### zeroshot",
        "",
        "| dataset | split | model     | checkpoint |              top-1 |                top-5 |   n | skipped |",
        "| ------- | ----- | --------- | ---------- | -----------------: | -------------------: | --: | ------: |",
        "| digits  | test  | coca_tiny | ab12cd34   | 92.34 [89.9, 94.2] | 100.00 [99.4, 100.0] | 599 |       0 |",
    ]


def test_markdown_escapes_what_would_break_the_table() -> None:
    text = to_markdown([make_row(model="a|b\\c\nd")])
    assert "| a\\|b\\\\c d |" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {8}


def test_markdown_has_one_table_per_task_and_one_line_per_run() -> None:
    rows = [*make_rows(), *make_rows(dataset="imagenet", skipped=3), make_row(task="retrieval", metric="R@1")]
    text = to_markdown(rows)
    assert re.findall(r"^### (.*)", text, flags=re.MULTILINE) == ["zeroshot", "retrieval"]
    lines = [line for line in text.splitlines() if line.startswith(("| digits", "| imagenet"))]
    assert [line.split("|")[1].strip() for line in lines] == ["digits", "imagenet", "digits"]
    assert lines[1].endswith("|       3 |")


def test_a_metric_that_a_run_lacks_is_an_empty_cell() -> None:
    text = to_markdown([make_row(), make_row(dataset="imagenet", metric="top-5")])
    digits, imagenet = text.splitlines()[4:6]
    assert digits.split("|")[5:7] == [" 92.34 [89.9, 94.2] ", " " * 20]
    assert imagenet.split("|")[5:7] == [" " * 20, " 92.34 [89.9, 94.2] "]


@pytest.mark.parametrize(
    ("value", "low", "shown"),
    [(math.nan, math.nan, " nan "), (50.0, math.nan, " 50.00 "), (143.612, 140.04, " 143.61 [140.0, 94.2] ")],
)
def test_scores_that_are_not_defined(value: float, low: float, shown: str) -> None:
    assert f"|{shown}|" in re.sub(" +", " ", to_markdown([make_row(value=value, low=low)]))


def test_counts_that_differ_between_metrics_are_all_shown() -> None:
    rows = [make_row(metric="image-to-text R@1", n=1000), make_row(metric="text-to-image R@1", n=5000)]
    assert "| 1,000 / 5,000 |" in to_markdown(rows)


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"settings": "abcdef0123"}, "settings"),
        ({"seed": 2}, "seed"),
        ({"precision": "bf16"}, "precision"),
        ({"device": "cuda"}, "device"),
        ({"when": "2025-02-01T00:00:00Z"}, "when"),
        ({"settings": "abcdef0123", "when": "2025-02-01T00:00:00Z"}, "settings"),
    ],
)
def test_a_column_is_shown_where_lines_would_look_alike(changes: dict[str, object], column: str) -> None:
    header = to_markdown([*make_rows(), *make_rows(**changes)]).splitlines()[2]
    assert re.split(r" *\| *", header)[5] == column
    assert len(re.findall(r"\|", header)) == 11
    assert column not in to_markdown(make_rows(**changes)).splitlines()[2]


def test_wide_shows_all_that_tells_runs_apart() -> None:
    header = to_markdown(make_rows(), wide=True).splitlines()[2]
    names = ["dataset", "split", "model", "checkpoint", "settings", "seed", "precision", "device", "when"]
    assert re.split(r" *\| *", header)[1:10] == names


@pytest.mark.parametrize("column", ["checkpoint", "settings", "seed", "precision", "device", "when"])
def test_numbers_of_two_runs_never_stand_in_one_line(column: str) -> None:
    other = 2 if column == "seed" else "other"
    lines = to_markdown([make_row(), make_row(metric="top-5", **{column: other})]).splitlines()[4:6]
    assert [line.count("92.34") for line in lines] == [1, 1]


def test_equal_runs_within_a_second_are_two_lines() -> None:
    text = to_markdown([*make_rows(), *make_rows(value=1.0, low=0.5, high=1.5)])
    lines = text.splitlines()[4:6]
    assert lines[0].count("92.34") == 3
    assert lines[1].count("1.00 [0.5, 1.5]") == 3


def test_terminal_table_of_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(make_rows(), monkeypatch) == [
        "zeroshot",
        "                                                          mean_per_",
        "dataset  split  model              top1          top5  class_recall    n",
        "─" * 73,
        "digits   test   coca_tiny         92.34         92.34         92.34  599",
        "                           [89.9, 94.2]  [89.9, 94.2]  [89.9, 94.2]",
        "",
        "In points; 95 % interval in brackets; n = examples scored.",
    ]


def test_terminal_table_is_on_one_line_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = show(make_rows(), monkeypatch, width=120)
    assert "digits   test   coca_tiny  92.34 [89.9, 94.2]  92.34 [89.9, 94.2]  92.34 [89.9, 94.2]  599" in lines


def test_terminal_table_goes_down_where_metrics_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*make_rows(RETRIEVAL, task="retrieval"), *make_rows(RETRIEVAL, task="retrieval", seed=2, skipped=4)]
    lines = show(rows, monkeypatch)
    assert lines[:4] == [
        "retrieval",
        "                                  points    n  skipped",
        "digits, test, coca_tiny, seed=1",
        "  image-to-text R@1   92.34 [89.9, 94.2]  599        0",
    ]
    assert lines[9:11] == ["digits, test, coca_tiny, seed=2", "  image-to-text R@1   92.34 [89.9, 94.2]  599        4"]
    assert "Skipped examples" in " ".join(lines)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_terminal_table_never_loses_a_letter(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    model = "hf-hub:some-laboratory/mscoco_finetuned_CoCa-ViT-L-14-some-data-and-more-of-it-still"
    rows = [*make_rows(model=model), *make_rows(RETRIEVAL, task="retrieval", dataset="folder:/x/y z", model=model)]
    lines = show(rows, monkeypatch, width=width)
    assert max(map(len, lines)) <= width
    text = "".join(lines)
    assert text.count(model) == 2
    assert "…" not in text
    assert text.count("92.34") == 9


def test_names_are_not_read_as_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = show(make_rows(dataset="[red]x[/red]"), monkeypatch)
    assert any("[red]x[/red]" in line for line in lines)


def test_a_table_for_a_file_has_no_colour_and_no_folded_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    rows = make_rows(RETRIEVAL, task="retrieval")
    assert "\x1b" in render(rows, "table")
    lines = show(rows, monkeypatch, to_file=True)
    assert "\x1b" not in "".join(lines)
    assert lines[4].count("92.34 [89.9, 94.2]") == 6


@pytest.mark.parametrize("format", ["table", "csv", "markdown", "json"])
def test_every_format_ends_its_last_line(format: str) -> None:
    text = render([make_row()], format)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "digits" in text


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="no table format is called 'html'"):
        render([make_row()], "html")


@pytest.mark.parametrize(
    ("name", "format", "start"),
    [
        ("a.csv", "table", "task,dataset"),
        ("a.MD", "table", "### zeroshot"),
        ("a.json", "table", "[\n"),
        ("a.txt", "table", "zeroshot\n"),
        ("a.txt", "csv", "task,dataset"),
        ("a.csv", "json", "[\n"),
    ],
)
def test_a_file_ending_chooses_the_format(tmp_path: Path, name: str, format: str, start: str) -> None:
    write_table(tmp_path / name, [make_row()], format)
    assert (tmp_path / name).read_text().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(CocaError, match=r"the table cannot be written to .*: Is a directory") as error:
        write_table(tmp_path, [make_row()], "table")
    assert "Name a file, in a folder that can be written." in str(error.value)


def test_a_file_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CocaError, match=f"{tmp_path / 'file'}: "):
        write_table(tmp_path / "file" / "a.csv", [make_row()], "table")


def test_a_file_in_a_new_folder_makes_the_folder(tmp_path: Path) -> None:
    write_table(tmp_path / "new" / "a.csv", [make_row()], "table")
    assert (tmp_path / "new" / "a.csv").exists()
