"""What an ablation trains: variants that differ in what they name alone, each once per seed."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from coca_cli.errors import CocaError, UnknownName
from coca_cli.model.config import CoCaConfig, tiny_config
from coca_cli.training.ablation_plan import base_config, make_plan, pretraining_of
from coca_cli.training.ablation_request import Measure, parse_measures
from coca_cli.training.ablation_variants import DEFAULT, WORDS, build_tables, table_names
from coca_cli.training.pretrain_request import PretrainRequest
from tests.training.ablations import ablation

ALL = tuple(WORDS.values())
HERE = Path("there")


# --- tables ---


def test_tables_go_by_two_names() -> None:
    assert table_names(()) == list(ALL)
    assert table_names(["poolers", "8b", "objectives"]) == ["8b", "8f"]
    with pytest.raises(UnknownName, match=r"unknown table 'poler'\. Did you mean poolers"):
        table_names(["poler"])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("8d", "text.unimodal_layers=3", "3 and 2 layers cannot be cut so: take halves of equal and even number"),
        ("8d", "text.unimodal_layers=6", "6 and 2 layers cannot be cut so"),
        ("8e", "text.cls_tokens=2", "table 8e compares one [CLS] token with 8, and this architecture has 2"),
        ("8f", "pooler.wiring=parallel", "table 8f varies a cascade of poolers with 16 queries at least"),
        ("8f", "pooler.queries=15", "this architecture has cascade poolers with 15"),
    ],
)
def test_an_architecture_that_cannot_be_varied_is_refused(name: str, change: str, message: str) -> None:
    config = tiny_config(50).with_changes([change])
    with pytest.raises(CocaError) as caught:
        build_tables([name], config)
    assert message in str(caught.value)
    build_tables([other for other in ALL if other != name], config)


# --- what differs ---


def flat(config: CoCaConfig) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.to_dict().items():
        found |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return found


def differences(one: PretrainRequest, other: PretrainRequest) -> dict[str, Any]:
    """What another run has that the first has not: recipe, architecture and all else by name."""
    found: dict[str, Any] = {
        field.name: getattr(other, field.name)
        for field in fields(PretrainRequest)
        if field.name not in ("recipe", "changes", "output") and getattr(one, field.name) != getattr(other, field.name)
    }
    numbers, others = asdict(one.recipe), asdict(other.recipe)
    found |= {name: value for name, value in others.items() if value != numbers[name]}
    before = flat(base_config(one))
    return found | {name: value for name, value in flat(base_config(other)).items() if value != before[name]}


def test_variants_differ_in_what_they_name_alone() -> None:
    request = ablation(HERE)
    plan = make_plan(request)
    first = {run.variant.name: pretraining_of(request, run) for run in plan.runs if run.seed == 0}
    found = {name: differences(first["default"], training) for name, training in first.items()}
    assert found == {
        "default": {},
        "labels-classes": {"data": ["digits"]},
        "labels-captions": {"data": ["digits"], "contrastive_weight": 0.0},
        "contrastive-alone": {"caption_weight": 0.0},
        "captioning-alone": {"contrastive_weight": 0.0},
        "ratio-1-1": {"caption_weight": 1.0},
        "ratio-1-2": {"contrastive_weight": 2.0, "caption_weight": 1.0},
        "unimodal-1": {"text.unimodal_layers": 1, "text.multimodal_layers": 3},
        "unimodal-3": {"text.unimodal_layers": 3, "text.multimodal_layers": 1},
        "cls-8": {"text.cls_tokens": 8},
        "parallel": {"pooler.wiring": "parallel"},
        "queries-0": {"pooler.queries": 0},
        "queries-1": {"pooler.queries": 1},
        "queries-2": {"pooler.queries": 2},
    }
    assert (first["default"].recipe.contrastive_weight, first["default"].recipe.caption_weight) == (1.0, 2.0)


def test_seeds_differ_in_the_seed_alone() -> None:
    request = ablation(HERE, ("8f",), seeds=3)
    request = replace(request, base=replace(request.base, recipe=replace(request.base.recipe, seed=5)))
    plan = make_plan(request)
    runs = [run for run in plan.runs if run.variant.name == "parallel"]
    assert [run.seed for run in runs] == [5, 6, 7]
    one, other, _ = (pretraining_of(request, run) for run in runs)
    assert differences(one, other) == {"seed": 6}
    assert (one.output, other.output) == (HERE / "runs" / "parallel-seed5", HERE / "runs" / "parallel-seed6")


def test_each_variant_is_trained_once_per_seed_whatever_tables_show_it() -> None:
    plan = make_plan(ablation(HERE))
    names = [run.name for run in plan.runs]
    assert len(names) == len(set(names)) == 2 * 14
    assert [run.seed for run in plan.runs] == [0] * 14 + [1] * 14
    assert plan.tables_of(DEFAULT) == ["8b", "8c", "8d", "8e", "8f"]
    assert len(make_plan(ablation(HERE, ("ratio",))).runs) == 2 * 3


# --- what is measured ---


def test_tables_show_what_the_paper_measures_there() -> None:
    plan = make_plan(ablation(HERE))
    shown = {name: [measure.kind for measure in measures] for name, measures in plan.shown.items()}
    both = ["zeroshot", "questions"]
    assert shown == {
        "8a": ["probe", "linear"],
        "8b": both,
        "8c": both,
        "8d": both,
        "8e": ["probe", "retrieval"],
        "8f": both,
    }
    measured = {run.variant.name: [measure.kind for measure in run.measures] for run in plan.runs}
    assert measured["default"] == ["zeroshot", "questions", "probe", "retrieval"]
    assert measured["captioning-alone"] == ["questions"]  # it has no embeddings to compare
    assert measured["cls-8"] == ["probe", "retrieval"]


def test_every_table_shows_what_the_user_names() -> None:
    plan = make_plan(ablation(HERE, ("8b", "8c"), measures=("retrieval:scenes", "linear:digits"), everywhere=True))
    assert {len(measures) for measures in plan.shown.values()} == {2}
    measured = {run.variant.name: [measure.name for measure in run.measures] for run in plan.runs}
    assert measured["captioning-alone"] == ["linear:digits"]
    assert measured["ratio-1-1"] == ["retrieval:scenes", "linear:digits"]


def test_a_table_without_a_measure_is_refused() -> None:
    with pytest.raises(CocaError, match="nothing is measured for table 8e: the paper has probe and retrieval there"):
        make_plan(ablation(HERE, ("8e",), measures=("zeroshot:digits",)))


def test_measures_are_read() -> None:
    assert parse_measures(["zeroshot:folder:a:b", "probe:digits", "probe:digits"]) == (
        Measure("zeroshot", "folder:a:b"),
        Measure("probe", "digits"),
    )
    with pytest.raises(UnknownName, match=r"unknown measure 'zershot'\. Did you mean zeroshot"):
        parse_measures(["zershot:digits"])
    with pytest.raises(CocaError, match="--measures zeroshot names no dataset: write it behind a colon"):
        parse_measures(["zeroshot"])
    with pytest.raises(CocaError, match="nothing is to be measured: give --measures"):
        parse_measures([])


# --- labelled pictures ---


def test_classes_and_captions_of_8a_are_learned_from_the_labelled_pictures_alone() -> None:
    data, shares = ("labels:digits", "scenes", "digits"), (1.0, 2.0, 3.0)
    request = ablation(HERE, ("8a",), data=data, shares=shares)
    for run in make_plan(request).runs:
        training = pretraining_of(request, run)
        assert (training.data, training.shares) == (["labels:digits", "digits"], [1.0, 3.0])


def test_without_labelled_pictures_there_is_no_table_8a() -> None:
    with pytest.raises(CocaError, match="table 8a is trained on labelled pictures, and --data has none: give some"):
        make_plan(ablation(HERE, ("8a",), data=("scenes",)))
    plan = make_plan(ablation(HERE, data=("scenes",)))
    assert [table.name for table in plan.tables] == list(ALL[1:])
    assert plan.left_out == "table 8a is trained on labelled pictures, and --data has none: it is left out"
