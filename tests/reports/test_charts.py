from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coca_cli.errors import CocaError
from coca_cli.reports.charts import Curve, interval_chart, line_chart, recall_curve, save_chart, to_svg
from coca_cli.reports.report_charts import plain_name, training_charts


def test_recall_at_every_k_by_hand() -> None:
    ks, recalls = recall_curve(np.array([1, 3, 3, 9]), 10)
    found = dict(zip(ks, recalls, strict=True))
    assert (found[1], found[2], found[3], found[8], found[9], found[10]) == (25, 25, 75, 75, 100, 100)


def test_charts_are_written_as_pictures_and_drawings(tmp_path: Path) -> None:
    chart = line_chart("loss", "Loss", [Curve("a", [1, 2, 3], [3.0, 2.0, 1.0])], x="step", y="loss")
    for suffix in (".png", ".svg", ".pdf"):
        save_chart(chart, tmp_path / f"loss{suffix}")
    with Image.open(tmp_path / "loss.png") as picture:
        assert picture.size == (1280, 720)
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    again = line_chart("loss", "Loss", [Curve("a", [1, 2, 3], [3.0, 2.0, 1.0])], x="step", y="loss")
    save_chart(again, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == (tmp_path / "loss.svg").read_text()  # the same each time
    with pytest.raises(CocaError, match=r"charts are written as .png, .svg, .pdf; the ending says which"):
        save_chart(chart, tmp_path / "loss.bmp")


def test_a_chart_on_a_page_takes_its_colours_and_its_width() -> None:
    values = {"digits test, top-1": [("a", 50.0, 40.0, 60.0), ("b", 55.0, float("nan"), float("nan"))]}
    chart = interval_chart("results", "Results", values)
    svg = to_svg(chart)
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert "#010203" not in svg
    head = svg[: svg.index(">")]
    assert "viewBox" in head
    assert "height=" not in head
    assert chart.words == "digits test, top-1: a 50.00, b 55.00"


def test_long_training_runs_are_averaged_and_half_lines_left_out(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "loss": 2.0 if step % 2 else 4.0}) for step in range(1, 5001)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 5001, "lo')
    (chart,) = training_charts({"mine": tmp_path, "gone": tmp_path / "gone"})
    assert chart.title == "Training of mine"
    curve = chart.figure.axes[0].lines[0]
    assert len(curve.get_xdata()) == 300
    assert np.asarray(curve.get_ydata()) == pytest.approx(3.0, abs=0.2)


def test_names_of_files_are_plain() -> None:
    assert plain_name("folder:/a b/c, test") == "folder-a-b-c-test"
    assert plain_name("///") == "chart"


def test_names_with_dollars_and_underscores_are_shown_as_they_are(tmp_path: Path) -> None:
    curves = [Curve("run_$HOME_$USER", [1, 2], [1.0, 2.0]), Curve("_hidden", [1, 2], [2.0, 3.0])]
    svg = to_svg(line_chart("loss", "Loss", curves, x="step", y="loss"))
    assert "run_$HOME_$USER" in svg
    assert "_hidden" in svg
    values = {r"$\nope$ test, top-1": [(r"$\nope$", 50.0, 40.0, 60.0)]}
    assert svg_text(to_svg(interval_chart("results", "Results", values))).count(r"$\nope$") == 2


def svg_text(svg: str) -> str:
    return html.unescape(svg)
