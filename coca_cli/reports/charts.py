"""Charts of results: for papers as files, and for the page as SVG that takes the page's colours."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coca_cli.errors import CocaError
from coca_cli.extras import needs
from coca_cli.files import written_whole

with needs("report", "drawing charts"):
    import matplotlib
    from matplotlib.figure import Figure

INK = "#010203"
"""Text and axes; on the page it becomes the colour of the text around it."""
COLOURS = ("#3b8ecb", "#e08a00", "#169c74", "#c9689f", "#d2552a", "#8a7fd1", "#7a8b3c", "#888888")
"""By Okabe and Ito's choice, told apart by those who see fewer colours, and clear on white and on black."""
SUFFIXES = (".png", ".svg", ".pdf")
SIZE = (6.4, 3.6)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.color": INK,
    "font.family": "sans-serif",
    "font.size": 10,
    "legend.frameon": False,
    "savefig.transparent": True,
    "text.parse_math": False,  # a dollar in a name is a dollar
}


class Curve(NamedTuple):
    """A line of a chart.

    Attributes:
        name: What stands in the legend.
        x: (n,) rising.
        y: (n,).
        dashed: Drawn so.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


LONGEST_NAME = 40
"""Letters of a name beside or below a chart."""


class Chart(NamedTuple):
    """A chart and what it says in words.

    Attributes:
        name: Of its file.
        title: Above it.
        words: For those who do not see it.
        figure: It.
    """

    name: str
    title: str
    words: str
    figure: Figure


def recall_curve(ranks: NDArray[np.int64], total: int) -> tuple[list[float], list[float]]:
    """k from 1 on, and recall@k in points, at the places where it is drawn.

    Args:
        ranks: (n,) places from 1 on.
        total: How many were searched.
    """
    ks = np.unique(np.geomspace(1, max(2, total), 60).round().astype(int))
    ordered = np.sort(ranks)
    recalls = 100 * np.searchsorted(ordered, ks, side="right") / len(ordered)
    return ks.astype(float).tolist(), recalls.tolist()


def line_chart(
    name: str, title: str, curves: Sequence[Curve], *, x: str, y: str, log_x: bool = False, log_y: bool = False
) -> Chart:
    """Curves over one axis.

    Args:
        name: Of a file.
        title: Above it.
        curves: At least one.
        x: What the axis across is.
        y: What the axis up is.
        log_x: It is logarithmic.
        log_y: The same.
    """
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        for number, curve in enumerate(curves):
            colour = COLOURS[number % len(COLOURS)]
            style = "--" if curve.dashed else "-"
            marker = "o" if len(curve.x) < 8 else ""
            axes.plot(curve.x, curve.y, style, marker=marker, color=colour, label=_told(curve.name), linewidth=1.8)
        _scale(axes, log_x, log_y)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if len(curves) > 1 or curves[0].name:
            axes.legend(fontsize=9)
    words = "; ".join(
        f"{curve.name or title}: from {curve.y[0]:.4g} at {curve.x[0]:g} to {curve.y[-1]:.4g} at {curve.x[-1]:g}"
        for curve in curves
    )
    return Chart(name, title, f"{y} over {x}. {words}.", figure)


def _told(name: str) -> str:
    """A name as a legend shows it: of a long one both ends, so that it leaves room for what is drawn; one that begins
    with an underscore would be left out.
    """
    short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME // 2]}…{name[-LONGEST_NAME // 2 + 1 :]}"
    return f" {short}" if short.startswith("_") else short


def _scale(axes: Any, log_x: bool, log_y: bool) -> None:
    if log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter("")


def interval_chart(name: str, title: str, groups: Mapping[str, Sequence[tuple[str, float, float, float]]]) -> Chart:
    """Values with their intervals, one below the other; models told apart by colour.

    Args:
        name: Of a file.
        title: Above it.
        groups: What is measured -> (model, value, low, high), in points; a limit may be NaN.
    """
    models = list(dict.fromkeys(model for values in groups.values() for model, *_ in values))
    rows = sum(len(values) for values in groups.values()) + len(groups)
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(SIZE[0], max(1.6, 0.7 + 0.24 * rows)), layout="constrained")
        axes = figure.subplots()
        place, ticks = 0.0, []
        for values in groups.values():
            first = place
            for model, value, low, high in values:
                colour = COLOURS[models.index(model) % len(COLOURS)]
                if not np.isnan([low, high]).any():
                    axes.plot([low, high], [place, place], color=colour, linewidth=2.2, alpha=0.6)
                axes.plot([value], [place], "o", color=colour, markersize=5)
                place += 1
            ticks.append((first + place - 1) / 2)
            place += 0.8
        axes.set_yticks(ticks, list(map(_told, groups)))
        axes.invert_yaxis()
        axes.set_xlabel("points")
        axes.grid(visible=False, axis="y")
        for number, model in enumerate(models):
            axes.plot([], [], "o", color=COLOURS[number % len(COLOURS)], label=_told(model))
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    words = "; ".join(
        f"{group}: {', '.join(f'{model} {value:.2f}' for model, value, *_ in values)}"
        for group, values in groups.items()
    )
    return Chart(name, title, words, figure)


def to_svg(chart: Chart) -> str:
    """The chart as an `<svg>` element for a page: no size of its own, text in the page's font and colour."""
    text = io.StringIO()
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": chart.name}):
        chart.figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    found = re.search(r"<svg.*</svg>", text.getvalue(), re.DOTALL)
    assert found is not None
    svg = re.sub(r"<metadata>.*?</metadata>", "", found[0], flags=re.DOTALL)
    svg = svg.replace(INK, "currentColor")
    head, end, rest = svg.partition(">")
    return re.sub(r' (?:width|height)="[^"]*"', "", head) + end + rest


def save_chart(chart: Chart, path: Path) -> None:
    """Write a file for a paper: black on white as PNG, on nothing as SVG and PDF.

    Args:
        chart: What to write.
        path: Its ending says the format.

    Raises:
        CocaError: Another ending, or a folder that cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise CocaError(f"{path}: charts are written as {', '.join(SUFFIXES)}; the ending says which")
    metadata: dict[str, Any] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[suffix[1:]]
    with (
        written_whole(path) as temporary,
        matplotlib.rc_context(_STYLE | {"svg.hashsalt": chart.name, "savefig.transparent": suffix != ".png"}),
    ):
        chart.figure.savefig(temporary, format=suffix[1:], dpi=200, facecolor="white", metadata=metadata)
