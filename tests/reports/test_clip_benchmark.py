"""CLIP_benchmark's files, in and out, against its own `build`."""

from __future__ import annotations

import argparse
import gc
import io
import json
import math
from pathlib import Path

import pandas as pd
import pytest

from coca_cli.errors import BadExample, CocaError, MissingFile
from coca_cli.reports.clip_benchmark import read_files, to_records, write_files
from coca_cli.results import Result, latest
from tests.reports.rows import make_row

MODEL = "coca_ViT-L-14 laion2b_s13b_b90k"


def rows() -> list[Result]:
    zero = {"top-1": 75.61, "top-5": 94.28, "mean per-class recall": 75.6}
    found = {f"{way} recall@{k}": 10.0 * k for way in ("image-to-text", "text-to-image") for k in (1, 5)}
    written = {"CIDEr": 125.3, "BLEU-4": 35.6, "METEOR": 29.8, "ROUGE-L": 50.0}
    return [
        *(make_row(metric=metric, value=value, model=MODEL) for metric, value in zero.items()),
        *(make_row(metric=metric, value=value, dataset="digits", split="test") for metric, value in zero.items()),
        *(
            make_row(task="retrieval", dataset="coco", split="test 5k", metric=metric, value=value, model=MODEL)
            for metric, value in {**found, "image-to-text mean rank": 7.0}.items()
        ),
        *(
            make_row(task="caption", dataset="coco", split="test", metric=metric, value=value, model=MODEL)
            for metric, value in written.items()
        ),
        make_row(task="probe", model=MODEL),
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_our_files_are_what_its_build_reads_and_its_table_is_ours(tmp_path: Path) -> None:
    pytest.importorskip("clip_benchmark", reason="CLIP_benchmark is not installed")
    cli = pytest.importorskip("clip_benchmark.cli", reason="CLIP_benchmark's command line does not start here")
    paths = write_files(tmp_path / "ours", rows())
    assert len(paths) == 4
    cli.main_build(argparse.Namespace(files=[str(tmp_path / "ours")], output=str(tmp_path / "theirs.csv")))
    gc.collect()  # it leaves its files open
    theirs = pd.read_csv(tmp_path / "theirs.csv")
    ours = pd.read_csv(tmp_path / "ours/benchmark.csv")
    assert set(theirs.columns) == set(ours.columns)
    key = ["dataset", "task", "model_fullname"]
    theirs, ours = (table.sort_values(key).reset_index(drop=True)[ours.columns] for table in (theirs, ours))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_names_and_fractions_are_its_own(tmp_path: Path) -> None:
    records = {(record["dataset"], record["task"]): record for record in to_records(rows())}
    zero = records[("imagenet1k", "zeroshot_classification")]
    assert zero["metrics"] == pytest.approx({"acc1": 0.7561, "acc5": 0.9428, "mean_per_class_recall": 0.756})
    assert (zero["model"], zero["pretrained"], zero["language"]) == ("coca_ViT-L-14", "laion2b_s13b_b90k", "en")
    assert records[("digits", "zeroshot_classification")]["pretrained"] == "ab12cd34"
    found = records[("mscoco_captions", "zeroshot_retrieval")]["metrics"]
    assert set(found) == {f"{what}_retrieval_recall@{k}" for what in ("image", "text") for k in (1, 5)}
    assert records[("mscoco_captions", "captioning")]["metrics"]["Bleu_4"] == pytest.approx(0.356)
    (path,) = [path for path in write_files(tmp_path, rows()) if "imagenet1k" in path.name]
    assert path.name == "imagenet1k_laion2b_s13b_b90k_coca_ViT-L-14_en_zeroshot_classification.json"


@pytest.mark.parametrize("how", ["folder", "csv", "json"])
def test_what_was_written_comes_back(tmp_path: Path, how: str) -> None:
    wanted = [row for row in rows() if row.task != "probe" and "rank" not in row.metric]
    paths = write_files(tmp_path, wanted)
    source = {"folder": tmp_path, "csv": tmp_path / "benchmark.csv", "json": paths[0]}[how]
    found = read_files(source)
    kept = {(row.task, row.dataset, row.split, row.metric): row.value for row in found}
    expected = {(row.task, row.dataset, row.split, row.metric): row.value for row in wanted}
    if how == "json":
        expected = {key: value for key, value in expected.items() if key[:2] == ("zeroshot", "imagenet")}
    assert kept.keys() == expected.keys()
    assert all(kept[key] == pytest.approx(value) for key, value in expected.items())
    assert {row.n for row in found} == {0}
    assert all(math.isnan(row.low) for row in found)


def test_an_old_table_of_its_own_is_read(tmp_path: Path) -> None:
    text = (
        "acc1,acc5,mean_per_class_recall,dataset,model,pretrained,task,mean_average_precision,"
        "image_retrieval_recall@5,text_retrieval_recall@5,model_fullname\n"
        "0.5,0.9,0.49,wds/imagenet1k,ViT-B-32,openai,zeroshot_classification,,,,ViT-B-32 openai\n"
        ",,,wds/mscoco_captions,ViT-B-32,openai,zeroshot_retrieval,,0.55,0.75,ViT-B-32 openai\n"
        ",,,wds/vtab/x,ViT-B-32,openai,linear_probe,,,,ViT-B-32 openai\n"
    )
    (tmp_path / "benchmark.csv").write_text(text)
    found = {(row.dataset, row.split, row.metric): row.value for row in read_files(tmp_path / "benchmark.csv")}
    assert found[("imagenet", "val", "top-1")] == 50.0
    assert found[("coco", "test 5k", "text-to-image recall@5")] == pytest.approx(55.0)
    assert found[("coco", "test 5k", "image-to-text recall@5")] == pytest.approx(75.0)
    assert len(found) == 5


def test_languages_are_told_apart_and_columns_of_other_kinds_passed_over(tmp_path: Path) -> None:
    text = (
        "acc1,normalized,classnames,dataset,model,pretrained,task,language\n"
        "0.633,,\"['a', 'b']\",imagenet1k,b,c,zeroshot_classification,en\n"
        "0.1,,,imagenet1k,b,c,zeroshot_classification,cn\n"
        ",True,,imagenet1k,b,c,linear_probe,en\n"
    )
    (tmp_path / "benchmark.csv").write_text(text)
    found = latest(read_files(tmp_path / "benchmark.csv"))
    assert [(row.value, row.settings) for row in found] == [(63.3, ""), (10.0, "language cn")]


def test_a_value_that_is_not_defined_is_null(tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, [make_row(metric="top-5", value=math.nan)])
    assert json.loads(path.read_text())["metrics"] == {"acc5": None}
    assert read_files(path) == []
    assert pd.read_csv(io.StringIO((tmp_path / "benchmark.csv").read_text()))["acc5"].isna().all()


def test_equal_names_do_not_replace_each_other(tmp_path: Path) -> None:
    paths = write_files(tmp_path, [make_row(), make_row(settings="other")])
    assert len(set(paths)) == 2


def test_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(CocaError, match="none of these results is one that CLIP_benchmark knows"):
        write_files(tmp_path, [make_row(task="probe")])


NAMED = {"dataset": "a", "model": "b", "pretrained": "c", "task": "captioning"}


@pytest.mark.parametrize("text", ["{", "[]", '{"dataset": "x"}', json.dumps({**NAMED, "metrics": 3})])
def test_files_of_another_kind(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BadExample, match="is not what CLIP_benchmark writes: it should have"):
        read_files(tmp_path / "x.json")


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="no results of CLIP_benchmark at"):
        read_files(tmp_path / "x.csv")
    with pytest.raises(MissingFile, match=r"no .json file of CLIP_benchmark in"):
        read_files(tmp_path)
