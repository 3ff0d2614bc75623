"""Estimates of time: what they are made of, and that they are near the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coca_cli.datasets import find_dataset
from coca_cli.results import Result
from coca_cli.suites import estimates
from coca_cli.suites.candidates import Candidate, Kind, describe_candidate
from coca_cli.suites.command_options import Benchmark
from coca_cli.suites.estimates import EFFICIENCY, count_work, estimate_seconds, in_words, multiplication_rate
from coca_cli.suites.work import Survey
from tests.tasks.writer import save_writer, writer_coca


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    return describe_candidate(str(save_writer(tmp_path_factory.mktemp("models") / "writer")))


def benchmark(task: str, dataset: str) -> Benchmark:
    return Benchmark(where="", task=task, dataset=find_dataset(dataset), values={})


def row(**changes: Any) -> Result:
    known: dict[str, Any] = {
        "task": "zeroshot",
        "dataset": "digits",
        "dataset_version": 1,
        "split": "test",
        "metric": "top-1",
        "value": 1.0,
        "low": 0.0,
        "high": 2.0,
        "n": 100,
        "skipped": 0,
        "model": "writer",
        "checkpoint": "x",
        "settings": "y",
        "seed": 0,
        "device": "cpu",
        "precision": "fp32",
        "seconds": 5.0,
        "coca": "0",
        "torch": "2",
        "when": "2025-01-31T12:00:00Z",
    }
    return Result(**(known | changes))


def seconds(task: str, dataset: str, survey: Survey, candidate: Candidate, rows: list[Result]) -> float | None:
    return estimate_seconds(benchmark(task, dataset), survey, candidate, rows, "cpu", "fp32")


def test_earlier_rows_of_the_same_dataset_come_first(writer: Candidate) -> None:
    rows = [row(seconds=9.0), row(), row(dataset="scenes", seconds=77.0), row(task="retrieval", seconds=99.0)]
    assert seconds("zeroshot", "digits", Survey("test", 200), writer, rows) == 10.0


def test_rows_of_another_dataset_of_pictures_do_where_there_are_none(writer: Candidate) -> None:
    known = {"scenes": 2.0, "moving-scenes": 50.0, "folder:gone": 5.0}
    rows = [row(task="retrieval", dataset=name, seconds=value) for name, value in known.items()]
    assert seconds("retrieval", "digits", Survey("test", 50), writer, rows) == 1.0


def test_prompts_of_another_dataset_say_nothing(writer: Candidate) -> None:
    survey = Survey("test", 50, pictures=50)
    other = [row(dataset="scenes", seconds=2_000.0)]
    assert seconds("zeroshot", "digits", survey, writer, other) == seconds("zeroshot", "digits", survey, writer, [])


@pytest.mark.parametrize("other", [{"model": "x"}, {"device": "cuda"}, {"precision": "bf16"}, {"n": 0}])
def test_rows_of_others_say_nothing(writer: Candidate, other: dict[str, Any]) -> None:
    survey = Survey("test", 200, pictures=200)
    found = seconds("zeroshot", "digits", survey, writer, [row(**other)])
    assert found == seconds("zeroshot", "digits", survey, writer, [])
    assert found is not None
    assert found < 1


def test_a_probe_is_like_itself_alone(writer: Candidate) -> None:
    rows = [row(task="probe", seconds=40.0)]
    assert seconds("probe", "digits", Survey("test", 100), writer, rows) == 40.0
    other = seconds("probe", "digits", Survey("test", 50, pictures=10), writer, rows)
    assert other is not None
    assert other < 1


def test_captions_are_counted_in_pictures(writer: Candidate) -> None:
    rows = [row(task="retrieval", dataset="scenes", metric="image-to-text recall@1", n=10)]
    rows += [row(task="retrieval", dataset="scenes", metric="text-to-image recall@1", n=50)]
    assert seconds("retrieval", "scenes", Survey("test", 20), writer, rows) == 10.0


def test_a_model_that_nobody_knows_takes_nobody_knows_how_long(writer: Candidate) -> None:
    assert seconds("zeroshot", "digits", Survey("test", 20), replace(writer, config=None), []) is None


def test_operations_are_those_of_the_model_many_times(monkeypatch: pytest.MonkeyPatch) -> None:
    config = writer_coca().config
    cost = estimates.measure_cost(config)
    assert count_work(config, Survey("test", 1, pictures=7)) == 7 * cost.per_picture
    assert count_work(config, Survey("test", 1, texts=3, passes=2)) == 3 * cost.per_text + 2 * cost.per_caption
    assert count_work(config, Survey("test", 1, words=config.text.context)) == cost.per_caption
    assert count_work(config, Survey("test", 1, looks=5)) > 0
    monkeypatch.setattr(estimates, "multiplication_rate", lambda *_: 1e9)
    candidate = Candidate(text="", model="", pretrained=None, kind=Kind.coca, name="", config=config, stamp="")
    found = seconds("zeroshot", "digits", Survey("test", 1, pictures=7, fixed=2.0), candidate, [])
    assert found == pytest.approx(2 + 7 * cost.per_picture / (EFFICIENCY * 1e9))
    monkeypatch.setattr(estimates, "multiplication_rate", lambda *_: 1e15)
    slower = seconds("zeroshot", "cifar10", Survey("test", 1, pictures=10**6), candidate, [])
    quicker = seconds("zeroshot", "digits", Survey("test", 1, pictures=10**6), candidate, [])
    assert slower is not None
    assert quicker is not None
    assert slower > quicker, "files must be decoded"


def test_the_rate_is_measured() -> None:
    assert 1e8 < multiplication_rate(64, "cpu", "fp32") < 1e14


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (None, "?"),
        (0.2, "1 s"),
        (89, "89 s"),
        (90, "1.5 min"),
        (3_000, "50 min"),
        (9_000, "2.5 h"),
        (200_000, "2.3 days"),
    ],
)
def test_times_in_words(number: float | None, words: str) -> None:
    assert in_words(number) == words
