"""The paper's Table 8 with ours beside it, on hand-made numbers."""

from __future__ import annotations

import csv
import io
import json

import pytest

from coca_cli.model.config import paper_config, tiny_config
from coca_cli.reports.ablation_table import FINETUNED, PAPER_METRICS, count_comparisons, records, render_ablation
from coca_cli.reports.published import published_rows
from coca_cli.tasks.ablation_scores import TableScores, VariantScores
from coca_cli.training.ablation_variants import WORDS, Table, build_tables

BASE = paper_config(width=96, heads=12, vision_layers=1, vision_mlp=8, text_layers=6, text_mlp=8)


def line(label: str, paper: str, one: list[float], two: list[float], seconds: float = 1.0) -> VariantScores:
    scores = {"zeroshot:digits": dict(enumerate(one)), "questions:asked": dict(enumerate(two))}
    return VariantScores(
        label=label,
        paper=paper,
        scores={name: values for name, values in scores.items() if values},
        seconds=dict.fromkeys(range(3), seconds),
        operations=100.0 * seconds,
        parameters=1_500_000,
    )


OBJECTIVES = TableScores(
    name="8b",
    title="Training objectives",
    measures=("zeroshot:digits", "questions:asked"),
    lines=(
        line("contrastive", "L_Con only", [70.0, 72.0, 74.0], [10.0, 11.0, 12.0]),
        line("captioning", "L_Cap only", [], [38.0, 43.0, 39.0], 1.5),
        line("both", "L_CoCa (default)", [71.0, 73.0, 75.0], [40.0, 41.0, 42.0], 2.0),
    ),
    reference=2,
    cost_base=0,
    notes=("A note.",),
)


def test_ours_stand_beside_the_paper_s() -> None:
    text = render_ablation([OBJECTIVES], "markdown")
    rows = [[cell.strip() for cell in row.strip("| ").split("|")] for row in text.splitlines() if row.startswith("|")]
    assert text.startswith("### 8b: Training objectives\n\n|")
    assert rows[0] == [
        *("paper: ImageNet zero-shot top-1", "zeroshot:digits", "difference", "paper: VQA v2 vqa-score"),
        *("questions:asked", "difference", "paper: cost", "seconds", "operations", "parameters"),
    ]
    assert rows[2] == [
        *("contrastive", "70.7", "72.0 ± 2.0", "-1.0 [-1.0, -1.0]*", "59.2", "11.0 ± 1.0", "-30.0 [-30.0, -30.0]*"),
        *("1x", "1.00x", "1.00x", "1.50M"),
    ]
    assert rows[3] == [
        *("captioning", "-", "-", "-", "68.9", "40.0 ± 2.6", "-1.0 [-7.6, +5.6]"),
        *("1.17x", "1.50x", "1.50x", "1.50M"),
    ]
    assert rows[4][:4] == ["both", "71.6", "73.0 ± 2.0", "-"]
    assert "\nA note.\n" in text
    assert "2 of 3 differences are beyond it; where no variant differed at all, 0.2 would look so by chance." in text


def test_few_seeds_say_nothing_of_noise() -> None:
    one = OBJECTIVES.lines[0]
    few = [
        VariantScores(
            label=kept.label,
            paper=kept.paper,
            scores={name: {0: values[0]} for name, values in kept.scores.items()},
            seconds={0: 1.0},
            operations=1.0,
            parameters=1,
        )
        for kept in (one, OBJECTIVES.lines[2])
    ]
    shown = TableScores(
        name="8b", title="", measures=("zeroshot:digits",), lines=tuple(few), reference=1, cost_base=0, notes=()
    )
    text = render_ablation([shown], "markdown")
    contrastive = next(row for row in text.splitlines() if row.startswith("| contrastive"))
    assert [cell.strip() for cell in contrastive.strip("| ").split("|")][:4] == ["contrastive", "70.7", "70.0", "-1.0"]
    assert "*" not in text.split("Ours in points")[0]
    assert "With fewer than 3 seeds nothing can be said of their noise." in text
    assert count_comparisons([shown]).startswith("With fewer than 3 seeds")


def test_csv_and_json_hold_the_same_records() -> None:
    found = json.loads(render_ablation([OBJECTIVES], "json"))
    assert found == records([OBJECTIVES])
    rows = list(csv.DictReader(io.StringIO(render_ablation([OBJECTIVES], "csv"))))
    assert [{k: "" if v is None else str(v) for k, v in record.items()} for record in found] == rows
    assert len(found) == 6
    captioning = found[3]
    assert (captioning["variant"], captioning["measure"], captioning["paper"]) == (
        "captioning",
        "questions:asked",
        68.9,
    )
    assert (captioning["mean"], captioning["difference"], captioning["beyond_noise"]) == (40.0, -1.0, False)
    assert (found[2]["mean"], found[2]["seeds"], found[2]["paper"]) == (None, 0, None)
    assert [record["default"] for record in found] == [False, False, False, False, True, True]


def test_the_terminal_sees_lines_notes_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = render_ablation([OBJECTIVES], "table")
    for words in ("8b  Training objectives", "captioning", "-1.0 [-7.6, +5.6]", "A note.", "1.17x"):
        assert words in text
    with pytest.raises(ValueError, match="no table format"):
        render_ablation([OBJECTIVES], "html")


def empty(table: Table) -> TableScores:
    lines = tuple(
        VariantScores(label=one.label, paper=one.paper, scores={}, seconds={}, operations=0.0, parameters=0)
        for one in table.lines
    )
    return TableScores(
        name=table.name,
        title=table.title,
        measures=tuple(f"{kind}:x" for kind in table.kinds),
        lines=lines,
        reference=table.reference,
        cost_base=table.cost_base,
        notes=table.notes,
    )


@pytest.mark.parametrize("name", WORDS.values())
def test_every_number_of_the_paper_s_table_is_shown_once(name: str) -> None:
    (table,) = build_tables([name], BASE)
    shown = records([empty(table)])
    found = sorted(record["paper"] for record in shown if record["paper"] is not None)
    metrics = {*PAPER_METRICS.values(), FINETUNED}
    expected = sorted(row.value for row in published_rows() if row.table == name and row.metric in metrics)
    assert found == expected
    assert len(found) >= 2
    assert [one.paper for one in table.lines] == list(
        dict.fromkeys(row.model for row in published_rows() if row.table == name)
    )


def test_the_default_is_the_paper_s_default() -> None:
    for table in build_tables(list(WORDS.values()), tiny_config(50)):
        marked = [place for place, one in enumerate(table.lines) if "(default)" in one.paper]
        assert marked == [] if table.name == "8a" else marked == [table.reference]
