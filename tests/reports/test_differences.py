from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from coca_cli.details import Details
from coca_cli.errors import CocaError
from coca_cli.reports.differences import (
    Sourced,
    choose_base,
    difference_frame,
    difference_json,
    difference_sheet,
    find_differences,
)
from coca_cli.reports.run_scores import scores_behind
from coca_cli.results import Result, Run, latest, settings_hash
from coca_cli.store import Store
from tests.reports.rows import make_row

WHEN = {"first": "2025-01-01T00:00:00Z", "second": "2025-01-02T00:00:00Z"}


def record(store: Store, model: str, hits: list[int], ids: list[str] | None = None, **changes: object) -> Result:
    """A zero-shot run of a model on a few examples of two classes, with what each scored."""
    settings: dict[str, object] = {"limit": len(hits)}
    when = WHEN.get(model, "2025-01-03T00:00:00Z")
    row = make_row(
        model=model,
        checkpoint=f"{model}-weights",
        value=100 * sum(hits) / len(hits),
        n=len(hits),
        when=when,
        settings=settings_hash(settings),
        **changes,
    )
    run = Run(
        task=row.task, dataset=row.dataset, command="coca", settings=settings, versions={}, seconds=1.0, when=when
    )
    ids = ids or [f"{number}.jpg" for number in range(len(hits))]
    columns = {"id": ids, "label": [n % 2 for n in range(len(hits))], "top-1": hits}
    store.append([row], run, Details(tables={"examples": columns}))
    return row


def sourced(folder: Path) -> Sourced:
    store = Store(folder)
    return Sourced(store, latest(store.rows()), store.runs())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    record(store, "first", [0, 1, 0, 0, 0, 0, 0, 0])
    record(store, "second", [1, 1, 1, 1, 1, 1, 1, 0])
    return store


def test_the_difference_of_two_models_of_a_store(store: Store) -> None:
    all_rows = sourced(store.folder)
    base = all_rows._replace(rows=choose_base(all_rows.rows, "first"))
    (found,) = find_differences(all_rows, base, all_rows.rows)
    assert (found.row.model, found.base.model) == ("second", "first")
    assert found.paired is not None
    assert found.paired.difference == pytest.approx(0.75)
    assert found.paired.p == pytest.approx(2 / 2**6)
    sheet = difference_sheet([found], "first")
    cells = dict(zip(sheet.header, (cell.text for cell in sheet.lines[0]), strict=True))
    assert (cells["value"], cells["first"], cells["diff."]) == ("87.50", "12.50", "+75.00")
    assert (cells["p"], cells["signif."], cells["pairs"]) == ("0.031", "yes", "8")
    (record_,) = json.loads(difference_json([found]))
    assert record_["difference"] == pytest.approx(75.0)
    assert bool(record_["significant"]) is True
    assert difference_frame([found]).loc[0, "test"] == "McNemar"


def test_only_examples_that_both_have_are_compared(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record(store, "first", [0, 1, 1], ["a", "b", "c"])
    record(store, "second", [1, 1, 0], ["c", "a", "x"])
    rows = sourced(tmp_path)
    (found,) = find_differences(rows, rows._replace(rows=choose_base(rows.rows, "first")), rows.rows)
    assert found.paired is not None
    assert (found.paired.n, found.paired.difference) == (2, 0.5)  # a: 0 to 1, c: 1 to 1


@pytest.mark.parametrize("name", ["first", "first-weights", "first@first-weights"])
def test_a_run_is_named_by_model_or_weights(store: Store, name: str) -> None:
    assert [row.model for row in choose_base(sourced(store.folder).rows, name)] == ["first"]


def test_the_base_of_the_same_settings_is_taken(store: Store, tmp_path: Path) -> None:
    record(store, "first", [0, 0, 0])  # of other settings
    rows = sourced(store.folder)
    base = rows._replace(rows=[row for row in rows.rows if row.model == "first"])
    (found,) = find_differences(rows, base, [row for row in rows.rows if row.model == "second"])
    assert found.base.n == 8


def test_another_store_is_compared_with(store: Store, tmp_path: Path) -> None:
    record(Store(tmp_path / "other"), "first", [0] * 8)
    mine, other = sourced(store.folder), sourced(tmp_path / "other")
    found = find_differences(mine, other, mine.rows)
    assert [(one.row.model, one.row.value - one.base.value) for one in found] == [("first", 12.5), ("second", 87.5)]
    assert "Compared with first@first-weights." in difference_sheet(found, "other").notes


def test_a_run_without_details_has_a_difference_and_no_test(store: Store) -> None:
    for path in store.details_folder.iterdir():
        path.unlink()
    rows = sourced(store.folder)
    (found,) = find_differences(rows, rows._replace(rows=choose_base(rows.rows, "first")), rows.rows)
    assert found.paired is None
    cells = [cell.text for cell in difference_sheet([found], "first").lines[0]]
    assert cells[-4:] == ["+75.00", "", "", ""]
    assert math.isnan(difference_frame([found]).loc[0, "p"])


def test_nobody_of_that_name(store: Store) -> None:
    with pytest.raises(CocaError, match=r"no result is called 'fist'.* such as first@first-weights, second@"):
        choose_base(sourced(store.folder).rows, "fist")


def test_nothing_in_common(store: Store, tmp_path: Path) -> None:
    record(Store(tmp_path / "other"), "first", [0, 1], dataset="digits")
    with pytest.raises(CocaError, match="nothing can be compared: no result here has the task"):
        find_differences(sourced(store.folder), sourced(tmp_path / "other"), sourced(store.folder).rows)


def test_classes_count_alike_in_mean_per_class_recall(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record(store, "first", [1, 0, 1])  # class 0: two of two, class 1: none of one
    details = store.details(store.runs()[0])
    assert details is not None
    found = scores_behind(details, "mean per-class recall")
    assert found is not None
    assert found.weighed().mean() == pytest.approx((1.0 + 0.0) / 2)
    assert found.part([0, 2]).weighed().mean() == pytest.approx(1.0)
    assert scores_behind(details, "BLEU-4") is None
    assert scores_behind(details, "image-to-text recall@5") is None


def test_equal_predictions_on_a_part_of_a_set_differ_by_nothing(tmp_path: Path) -> None:
    hits = [1, 0, 0, 1, 1, 1, 0, 0]
    names = [f"{number}.jpg" for number in range(8)]
    store = Store(tmp_path)
    for metric in ("top-1", "mean per-class recall"):
        record(store, "first", hits, names, metric=metric)
        record(store, "second", hits[:3], names[:3], metric=metric)
    rows = sourced(tmp_path)
    for found in find_differences(rows, rows._replace(rows=choose_base(rows.rows, "first")), rows.rows):
        assert found.paired is not None
        assert found.paired.difference == 0
        assert found.value == found.base_value


def test_ranks_and_cider_of_other_sets_are_not_tested(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for model, size in (("first", 4), ("second", 3)):
        row = make_row(
            task="caption", metric="CIDEr", model=model, checkpoint=model, settings=settings_hash({}), when=WHEN[model]
        )
        run = Run(task="caption", dataset="imagenet", command="", settings={}, versions={}, seconds=1.0, when=row.when)
        table = {"id": list("abcd"[:size]), "CIDEr": [0.5] * size}
        store.append([row], run, Details(tables={"examples": table}))
    rows = sourced(tmp_path)
    (found,) = find_differences(rows, rows._replace(rows=choose_base(rows.rows, "first")), rows.rows)
    assert found.paired is None


def test_the_same_model_of_another_store_is_taken_and_of_several_strangers_none(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    record(other, "first", [1] * 8)
    record(other, "third", [0] * 8)
    mine, theirs = sourced(store.folder), sourced(other.folder)
    (found,) = find_differences(mine, theirs, [row for row in mine.rows if row.model == "first"])
    assert found.base.model == "first"
    with pytest.raises(CocaError, match=r"has several results to compare second with: first@.*, third@"):
        find_differences(mine, theirs, [row for row in mine.rows if row.model == "second"])


def test_recall_follows_from_ranks_at_any_k(tmp_path: Path) -> None:
    store = Store(tmp_path)
    row = make_row(task="retrieval", metric="text-to-image recall@1", settings=settings_hash({}))
    run = Run(task="retrieval", dataset="imagenet", command="", settings={}, versions={}, seconds=1.0, when=row.when)
    table = {"id": ["a#0", "a#1", "b#0"], "of": ["a", "a", "b"], "rank": [1, 3, 20]}
    store.append([row], run, Details(tables={"text-to-image": table}))
    details = store.details(store.runs()[0])
    assert details is not None
    for k, hits in ((1, [1, 0, 0]), (3, [1, 1, 0]), (20, [1, 1, 1])):
        found = scores_behind(details, f"text-to-image recall@{k}")
        assert found is not None
        assert found.scores.tolist() == hits
        assert found.of == ["a", "a", "b"]
