"""The report as one page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from coca_cli.details import RunDetails
from coca_cli.extras import needs
from coca_cli.reports.charts import Chart, to_svg
from coca_cli.reports.confusions import Confusions, find_confusions
from coca_cli.reports.paper_tables import MINUS, paper_sheet, paper_tables
from coca_cli.reports.report_charts import (
    model_folders,
    recall_charts,
    result_chart,
    shorten,
    training_charts,
    with_folders,
)
from coca_cli.reports.run_scores import find_run
from coca_cli.reports.settings_words import spell_settings
from coca_cli.reports.sheets import Cell, Sheet
from coca_cli.reports.tables import FOOTNOTE, SKIPPED_NOTE, task_sheets
from coca_cli.results import Result
from coca_cli.store import RunFile, Store, write_atomically
from coca_cli.version import __version__

with needs("report", "writing the page"):
    import matplotlib
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

OVERLAY_SIDE = 160
"""Pixels of a picture with attention over it."""
SMALL = 100
"""Pictures below so many pixels are shown larger, pixel by pixel."""
SETTINGS = 6_000
"""Letters of a run's settings that are shown."""


class Seen(NamedTuple):
    """A run of which there is something to see.

    Attributes:
        name: Dataset, split and model.
        details: What it kept.
        samples: Its samples.
    """

    name: str
    details: RunDetails
    samples: list[dict[str, Any]]


def build_page(
    store: Store,
    rows: Sequence[Result],
    *,
    title: str = "CoCa: results",
    wide: bool = False,
    against: str | None = None,
    differences: Sheet | None = None,
    folders: Sequence[Path] = (),
) -> str:
    """The whole page.

    Args:
        store: Where the rows come from.
        rows: The newest of each setting.
        title: Its heading.
        wide: Tables show every column that tells runs apart.
        against: A model of the paper to which differences are shown.
        differences: A table of differences to another run.
        folders: Training runs whose curves are shown, besides those of the models in the store.

    Raises:
        CocaError: A file of the store is damaged.
    """
    runs = store.runs()
    made = _runs_of(runs, rows)
    seen = _seen(store, made, rows)
    trained = with_folders(model_folders(runs, rows), folders)
    parts: dict[str, Any] = {
        "paper": [
            (table, sheet, _shaded(sheet, len(table.mine)))
            for table in paper_tables(rows, runs)
            for sheet in [paper_sheet(table, against)]
        ],
        "sheets": task_sheets(rows if wide else spell_settings(rows, lambda: runs), wide=wide),
        "result_chart": result_chart(rows),
        "differences": differences,
        "recalls": recall_charts(store, runs, rows),
        "confusions": _confusions(seen),
        "retrievals": _samples(seen, "retrieval"),
        "captions": _samples(seen, "caption"),
        "answers": _samples(seen, "answer"),
        "looks": [(name, [_look(sample) for sample in found]) for name, found in _samples(seen, "look")],
        "trainings": training_charts(trained),
        "runs": [_shown(run) for run in made],
    }
    return _render(parts, rows, title)


def write_page(path: Path, store: Store, rows: Sequence[Result], *, title: str) -> None:
    """Write the page of these rows to a file, whole or not at all; see `build_page`.

    Raises:
        CocaError: The folder cannot be written.
        OSError: The disk is full.
    """
    write_atomically(path, build_page(store, rows, title=title))


def _render(parts: dict[str, Any], rows: Sequence[Result], title: str) -> str:
    folder = files("coca_cli.reports") / "page"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.globals.update(svg=_svg, uri=_uri, small=_small)
    template = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8"))
    names = (
        ("paper", "Paper"),
        ("results", "Results"),
        ("differences", "Differences"),
        ("recall", "Recall"),
        ("confusions", "Confusions"),
        ("retrieval", "Retrieval"),
        ("captions", "Captions"),
        ("questions", "Questions"),
        ("attention", "Attention"),
        ("training", "Training"),
        ("runs", "Runs"),
    )
    keys = {
        "recall": "recalls",
        "retrieval": "retrievals",
        "questions": "answers",
        "attention": "looks",
        "training": "trainings",
    }
    newest = max((row.when for row in rows), default="")
    text = template.render(
        **parts,
        title=title,
        version=__version__,
        rows=rows,
        models=sorted({(row.model, row.checkpoint) for row in rows}),
        datasets=sorted({row.dataset for row in rows}),
        newest=f"The newest is of {newest}." if newest else "",
        sections=[(name, words) for name, words in names if name == "results" or parts.get(keys.get(name, name))],
        footnote=FOOTNOTE + SKIPPED_NOTE,
        css=Markup((folder / "page.css").read_text(encoding="utf-8")),  # nosec B704 - a file of the package
        js=Markup((folder / "page.js").read_text(encoding="utf-8")),  # nosec B704 - the same
    )
    return text.encode(errors="backslashreplace").decode()  # a file name that is not UTF-8 must not stop a page


def _runs_of(runs: list[RunFile], rows: Sequence[Result]) -> list[RunFile]:
    found = [find_run(runs, row) for row in rows]
    return list({run.path: run for run in found if run is not None}.values())


def _seen(store: Store, made: Sequence[RunFile], rows: Sequence[Result]) -> list[Seen]:
    found = []
    for run in made:
        details = store.details(run)
        if details is not None:
            row = next(row for row in rows if run.made(row))
            name = f"{shorten(row.dataset)}, {row.split}, {row.model}"
            found.append(Seen(name if row.task != "probe" else f"{name}, probe", details, details.samples))
    return found


def _samples(seen: Sequence[Seen], kind: str) -> list[tuple[str, list[dict[str, Any]]]]:
    found = ((one.name, [sample for sample in one.samples if sample["kind"] == kind]) for one in seen)
    return [(name, samples) for name, samples in found if samples]


def _confusions(seen: Sequence[Seen]) -> list[tuple[str, Confusions, Sheet]]:
    found = []
    for one in seen:
        confusions = find_confusions(one.details)
        if confusions is not None:
            found.append((one.name, confusions, _pair_sheet(confusions)))
    return found


def _pair_sheet(confusions: Confusions) -> Sheet:
    lines = [
        [
            Cell(pair.true),
            Cell(pair.said),
            Cell(f"{pair.times:,}", order=float(pair.times)),
            Cell(f"{pair.part:.1f}", order=pair.part),
        ]
        for pair in confusions.pairs
    ]
    header = ["right class", "taken for", "examples", "% of the class"]
    return Sheet("Classes taken for others", header, lines, 2)


def _shaded(sheet: Sheet, mine: int) -> list[int]:
    """The lines of the user, which are the last, with the differences below each of them, if any."""
    each = 2 if sheet.lines[-1][0].text.startswith(MINUS) else 1
    return list(range(len(sheet.lines) - each * mine, len(sheet.lines)))


def _shown(run: RunFile) -> dict[str, Any]:
    """A run file for the page."""
    told = run.document
    settings = json.dumps(told.get("settings", {}), indent=2, ensure_ascii=False)
    if len(settings) > SETTINGS:
        settings = f"{settings[:SETTINGS]}\n... (the rest stands in runs/{run.path.name})"
    if told.get("chosen"):
        settings += f"\n\nchosen: {json.dumps(told['chosen'], indent=2, ensure_ascii=False)[:SETTINGS]}"
    wanted = ("task", "dataset", "model", "checkpoint", "command", "when", "seconds", "skipped", "versions")
    empty: dict[str, Any] = {"skipped": [], "versions": {}}
    return {name: told.get(name) or empty.get(name, "") for name in wanted} | {"shown": settings}


def _look(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample with each picture's attention drawn over it."""
    maps = sample.get("maps") or [None] * len(sample["pictures"])
    clip = len(sample["pictures"]) > 1
    brightest = max((float(np.max(grid)) for grid in maps if grid is not None), default=0.0)
    frames = []
    for picture, grid in zip(sample["pictures"], maps, strict=True):
        part = "" if not clip or grid is None else f"{100 * float(np.sum(grid)):.1f} %"
        try:
            overlay = None if grid is None else _overlaid(picture, np.array(grid), brightest)
        except OSError:  # a damaged picture
            overlay = None
        frames.append({"picture": picture, "overlay": overlay, "part": part})
    return sample | {"frames": frames}


def _overlaid(picture: bytes, grid: np.ndarray, brightest: float) -> bytes:
    """The picture in grey with attention over it, as JPEG."""
    with Image.open(io.BytesIO(picture)) as opened:
        side = (OVERLAY_SIDE, OVERLAY_SIDE)
        grey = np.asarray(opened.convert("L").resize(side, Image.Resampling.BICUBIC), dtype=np.float64) / 255
    scaled = Image.fromarray((grid / (brightest or 1)).astype(np.float32))
    heat = np.asarray(scaled.resize(side, Image.Resampling.BILINEAR), dtype=np.float64).clip(0, 1)
    colour = matplotlib.colormaps["inferno"](heat)[..., :3]
    mixed = 0.35 * grey[..., None] + 0.65 * colour
    data = io.BytesIO()
    Image.fromarray((255 * mixed).clip(0, 255).astype(np.uint8)).save(data, "JPEG", quality=80)
    return data.getvalue()


def _svg(chart: Chart) -> Markup:
    return Markup(to_svg(chart))  # nosec B704 - matplotlib escapes the names in it


def _uri(picture: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


def _small(picture: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(picture)) as opened:
            return max(opened.size) < SMALL
    except OSError:  # damaged; the browser shows its description
        return False
