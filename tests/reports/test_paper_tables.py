from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pandas as pd
import pytest

from coca_cli.datasets import DATASETS
from coca_cli.datasets.example import Dataset
from coca_cli.datasets.sizes import SIZES
from coca_cli.errors import CocaError, UnknownName
from coca_cli.reports.paper_layouts import LAYOUTS
from coca_cli.reports.paper_tables import (
    check_against,
    check_tables,
    find_line,
    paper_frame,
    paper_json,
    paper_sheet,
    paper_tables,
)
from coca_cli.reports.published import published_rows
from coca_cli.results import Result
from coca_cli.store import RunFile
from tests.reports.rows import make_row, six_rows

RETRIEVAL: dict[str, object] = {"task": "retrieval", "dataset": "coco", "split": "test 5k", "n": 5_000}


def test_every_published_number_of_tables_2_to_7_has_its_place() -> None:
    homeless = []
    for row in published_rows():
        if row.table in "234567":
            places = [
                column.header
                for layout in LAYOUTS
                if layout.number == row.table
                for column in layout.columns
                if (column.dataset, column.metric) == (row.dataset, row.metric) and row.split in column.splits
            ]
            if len(places) != 1 and not row.dataset.startswith("Average"):
                homeless.append(row)
    assert homeless == []


def test_every_column_is_of_a_dataset_and_split_that_exist() -> None:
    for layout in LAYOUTS:
        for column in layout.columns:
            source = column.source
            if source is None:
                continue
            dataset = DATASETS.get(source.dataset)
            assert isinstance(dataset, Dataset)
            split = source.split.split()[0]
            assert split in dataset.splits
            if source.n is not None and source.dataset in SIZES and not source.metric.startswith("text-to"):
                assert SIZES[source.dataset][split] == source.n
            if " " in source.split:
                assert source.split.split()[1] in [protocol.name for protocol in dataset.protocols]


def test_numbers_are_the_papers() -> None:
    """A few of each table, as printed in arXiv 2205.01917v2."""
    printed = {
        ("2", "CoCa", "ImageNet", "frozen encoder + attentional pooler"): 90.6,
        ("2", "CoCa", "Moments-in-Time", "finetuned"): 49.0,
        ("4", "CoCa-Large", "ObjectNet", "zero-shot, CLIP prompts"): 78.6,
        ("4", "BASIC", "ImageNet-R", "zero-shot, CLIP prompts"): 95.7,
    }
    found = {(r.table, r.model, r.dataset, r.setting): r.value for r in published_rows()}
    assert {key: found[key] for key in printed} == printed
    captions = {(r.model, r.metric): r.value for r in published_rows() if r.table == "7" and r.dataset == "MSCOCO"}
    assert captions[("CoCa", "CIDEr")] == 143.6
    assert captions[("CoCa", "SPICE")] == 24.7
    assert all(row.source and row.confidence for row in published_rows())


def test_a_line_of_table_4_with_its_mean_and_the_difference_to_the_papers_model() -> None:
    (table,) = paper_tables(six_rows())
    (mine,) = table.mine
    assert mine.entries["Mean"].value == pytest.approx(296 / 6)
    large = find_line(table, "CoCa-Large", mine)
    assert large is not None
    sheet = paper_sheet(table, "CoCa-Large")
    names = [line[0].text for line in sheet.lines]
    assert names[-2:] == ["mine", "  minus CoCa-Large"]
    assert names.index("CLIP") < names.index("open_clip L-14") < names.index("CoCa-Base")
    difference = [cell.text for cell in sheet.lines[-1]]
    assert difference[1] == "-24.8*"
    assert difference[sheet.header.index("Mean")] == "-34.0"  # without a star: a mean of six has no interval here
    assert sheet.lines[-2][-1].text == "all"


def test_a_difference_within_the_interval_has_no_star() -> None:
    rows = [make_row(value=84.5, low=84.0, high=85.0)]
    (table,) = paper_tables(rows)
    assert [cell.text for cell in paper_sheet(table, "CoCa-Large").lines[-1]][1] == "-0.3"


def test_the_best_of_each_column_is_marked_and_a_part_of_a_set_never() -> None:
    (table,) = paper_tables([make_row(value=99.0, n=500)])
    sheet = paper_sheet(table)
    best = [(line[0].text, line[1].text) for line in sheet.lines if line[1].best]
    assert best == [("CoCa", "86.3")]
    assert sheet.lines[-1][1].text == "99.0‡"
    assert sheet.lines[-1][-1].text == "500"
    assert any("other examples or captions" in note for note in sheet.notes)
    (table,) = paper_tables([make_row(value=99.0)])
    assert [line[0].text for line in paper_sheet(table).lines if line[1].best] == ["mine"]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({}, False),
        ({"n": 49_990, "skipped": 10}, False),
        ({"n": 49_990}, True),
        ({"dataset": "msrvtt", "task": "retrieval", "split": "test full, 2,000 of 2,990 clips", "n": 2_000}, True),
    ],
)
def test_what_counts_as_a_part(changes: dict[str, object], part: bool) -> None:
    metric = "video-to-text recall@1" if "task" in changes else "top-1"
    (table,) = paper_tables([make_row(metric=metric, **changes)])
    (entry,) = table.mine[0].entries.values()
    assert entry.part is part


def test_of_several_settings_the_one_of_all_examples_counts_then_the_newest() -> None:
    rows = [
        make_row(value=1.0, settings="a", when="2025-01-01T00:00:00Z"),
        make_row(value=2.0, settings="b", when="2025-02-01T00:00:00Z"),
        make_row(value=3.0, settings="c", when="2025-03-01T00:00:00Z", n=100),
    ]
    (table,) = paper_tables(rows)
    assert [entry.value for line in table.mine for entry in line.entries.values()] == [2.0]


def test_models_of_one_name_are_told_apart_by_their_weights() -> None:
    (table,) = paper_tables([make_row(), make_row(checkpoint="ffffffff")])
    assert [line.name for line in table.mine] == ["mine ab12cd34", "mine ffffffff"]


def test_a_frozen_encoder_and_a_classifier_are_two_lines_of_table_2() -> None:
    rows = [make_row(task="probe"), make_row(task="classification", dataset="kinetics-400", n=19_000)]
    (table,) = paper_tables(rows)
    assert [line.name for line in table.mine] == ["mine (frozen)", "mine (classifier)"]
    names = [line[0].text.strip() for line in paper_sheet(table, "CoCa").lines[-4:]]
    assert names == ["mine (frozen)", "minus CoCa (frozen)", "mine (classifier)", "minus CoCa (finetuned)"]
    assert not table.mine[1].entries["K400"].part
    assert paper_sheet(table).lines[-1][-1].text == "19,000"


def run_of(row: Result, **settings: object) -> RunFile:
    told = {name: getattr(row, name) for name in ("task", "dataset", "when", "model", "checkpoint")}
    told |= {"settings_hash": row.settings, "rows": [f"{row.task}/{row.dataset}/{row.split}/{row.metric}"]}
    return RunFile(Path("run.json"), {**told, "settings": settings})


def test_another_head_than_the_papers_is_named(tmp_path: Path) -> None:
    row = make_row(task="probe")
    (table,) = paper_tables([row], [run_of(row, head="knn")])
    assert [line.name for line in table.mine] == ["mine (frozen, knn)"]
    (table,) = paper_tables([row], [run_of(row, head="attentional")])
    assert [line.name for line in table.mine] == ["mine (frozen)"]


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"task": "probe", "dataset": "kinetics-400", "n": 100}, {"limit": 100}),
        (RETRIEVAL | {"metric": "image-to-text recall@1"}, {"captions": "first"}),
        (RETRIEVAL | {"metric": "text-to-image recall@1", "n": 500}, {}),
    ],
)
def test_a_part_is_known_by_its_settings_too(changes: dict[str, object], settings: dict[str, object]) -> None:
    row = make_row(**changes)
    (table,) = paper_tables([row], [run_of(row, **settings)])
    assert [entry.part for line in table.mine for entry in line.entries.values()] == [True]


def test_pictures_that_could_not_be_read_take_their_captions_along() -> None:
    rows = [
        make_row(**RETRIEVAL | {"metric": "image-to-text recall@1", "n": 4_990, "skipped": 10}),
        make_row(**RETRIEVAL | {"metric": "text-to-image recall@1", "n": 24_960, "skipped": 10}),
    ]
    (table,) = paper_tables(rows)
    assert [entry.part for line in table.mine for entry in line.entries.values()] == [False, False]
    assert paper_sheet(table).lines[-1][-1].text == "4,990 / 24,960"


def test_a_number_of_unknown_n_is_no_part() -> None:
    (table,) = paper_tables([make_row(n=0)])
    assert paper_sheet(table).lines[-1][1].text == "60.0"
    assert paper_sheet(table).lines[-1][-1].text == "?"


def test_a_table_without_the_papers_model_says_so() -> None:
    (table,) = paper_tables([make_row(task="caption", dataset="coco", split="test", metric="CIDEr", n=5_000)])
    assert "The paper has no CoCa-Large in this table." in paper_sheet(table, "CoCa-Large").notes


def test_values_that_are_not_defined_are_left_out() -> None:
    assert paper_tables([make_row(value=math.nan)]) == []


def test_csv_and_json_have_every_number_with_its_source() -> None:
    tables = paper_tables(six_rows())
    frame = paper_frame(tables)
    mine = frame[frame["kind"] == "mine"]
    assert len(mine) == 7
    assert mine["n"].tolist()[0] == 50_000
    assert (frame[frame["kind"] != "mine"]["source"] != "").all()
    again = pd.read_csv(io.StringIO(frame.to_csv(index=False)), dtype={"n": "Int64", "skipped": "Int64", "table": str})
    assert again["value"].tolist() == frame["value"].tolist()
    records = json.loads(paper_json(tables))
    assert len(records) == len(frame)
    assert records[-1]["value"] == pytest.approx(296 / 6)


def test_a_store_without_the_papers_sets_is_told_so() -> None:
    rows = [make_row(dataset="digits", split="test")]
    with pytest.raises(CocaError, match=r"none of these results is in the paper's Tables 2 to 7.*zeroshot digits test"):
        check_tables(paper_tables(rows), rows)


def test_a_model_that_the_paper_has_not() -> None:
    with pytest.raises(UnknownName, match=r"unknown model of the paper 'CoCa-Huge'\. Did you mean"):
        check_against("CoCa-Huge")


def test_published_files_have_the_columns_of_the_paper_and_no_empty_value() -> None:
    folder = Path(__file__).parents[2] / "coca_cli/reports/published"
    for name in ("paper_results.csv", "open_clip_results.csv"):
        rows = list(csv.DictReader((folder / name).read_text(encoding="utf-8").splitlines()))
        assert all(float(row["value"]) > 0 for row in rows)
        assert len({tuple(row.values()) for row in rows}) == len(rows)
