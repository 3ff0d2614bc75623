"""What `coca report` prints: the store's rows, alone or beside the paper, another run, or CLIP_benchmark's files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from rich.console import Console, Group

from coca_cli.errors import CocaError
from coca_cli.reports.clip_benchmark import read_files
from coca_cli.reports.differences import (
    Difference,
    Sourced,
    choose_base,
    difference_frame,
    difference_json,
    difference_sheet,
    find_differences,
)
from coca_cli.reports.paper_tables import (
    PAPER,
    check_against,
    check_tables,
    paper_frame,
    paper_json,
    paper_sheet,
    paper_tables,
)
from coca_cli.reports.rich_sheets import to_rich_sheet
from coca_cli.reports.settings_words import spell_settings
from coca_cli.reports.sheets import Sheet, to_markdown_sheet
from coca_cli.reports.tables import FOOTNOTE, SUFFIXES, render, to_csv, to_latex_document, write_text
from coca_cli.results import Result, latest, select
from coca_cli.store import Store

PAGES = {".html": "html", ".htm": "html"}
PLAIN = {"": "table", ".txt": "table"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """What the user asks of `coca report`.

    Attributes:
        results: The store.
        everything: Every row, not only the newest of each setting.
        task: Only this one, or a pattern.
        dataset: The same.
        model: The same.
        beside: Results of CLIP_benchmark that are shown, too.
        against: "paper", "paper:MODEL", a run, or the folder of another store.
        title: Of the page.
        training: Run folders whose curves the page shows.
        wide: Show every column that tells runs apart.
    """

    results: Path
    everything: bool = False
    task: str | None = None
    dataset: str | None = None
    model: str | None = None
    beside: Sequence[Path] = ()
    against: str | None = None
    title: str = ""
    training: Sequence[Path] = ()
    wide: bool = False


def choose_rows(request: ReportRequest) -> list[Result]:
    """The rows that the user wants to see.

    Raises:
        CocaError: There are none, or a file cannot be read.
    """
    rows = Store(request.results).rows()
    rows += [row for path in request.beside for row in read_files(path)]
    if not rows:
        raise CocaError(
            f"no results in {request.results} yet. Run coca demo or coca eval zeroshot first, "
            "or name the folder of another store with --results DIR."
        )
    rows = select(rows, task=request.task, dataset=request.dataset, model=request.model)
    return rows if request.everything else latest(rows)


def make_report(request: ReportRequest, format: str, *, to_file: bool = False) -> str:
    """The report as text that ends in a line's end.

    Args:
        request: What the user asked.
        format: "table", "csv", "markdown", "latex", "html" or "json".
        to_file: A table is not for this terminal: no colours, no limit of its width.

    Raises:
        CocaError: There is nothing to show, or a file cannot be read.
    """
    rows, name = choose_rows(request), request.against
    paper = name.partition(":")[2] or None if name and _of_paper(name) else None
    if paper is not None:
        check_against(paper)
    if format == "html":
        from coca_cli.reports.html_page import build_page  # tables alone need none of its packages

        sheet = None
        if name and not _of_paper(name):
            sheet = difference_sheet(_differences(request, rows, name), _short(name), fill=True)
        return build_page(
            Store(request.results),
            rows,
            title=request.title or "CoCa: results",
            wide=request.wide,
            against=paper,
            differences=sheet,
            folders=request.training,
        )
    if name is None:
        if format not in ("csv", "json") and not request.wide:
            rows = spell_settings(rows, Store(request.results).runs)
        return render(rows, format, wide=request.wide, to_file=to_file)
    if not _of_paper(name):
        found = _differences(request, rows, name)
        if format in ("csv", "json"):
            return to_csv(difference_frame(found)) if format == "csv" else difference_json(found)
        return _sheets([difference_sheet(found, _short(name))], format, to_file)
    tables = paper_tables(rows, Store(request.results).runs())
    check_tables(tables, rows)
    if format in ("csv", "json"):
        return to_csv(paper_frame(tables)) if format == "csv" else paper_json(tables)
    return _sheets([paper_sheet(table, paper) for table in tables], format, to_file)


def _of_paper(name: str) -> bool:
    return name == PAPER or name.startswith(f"{PAPER}:")


def _short(name: str) -> str:
    folder, wanted = _other_store(name)
    return (wanted or folder.resolve().name) if folder is not None else name


def _other_store(name: str) -> tuple[Path | None, str]:
    """The folder of another store that is named, and which of its models; a model here may be called as a folder."""
    for cut in range(len(name), 0, -1):
        if cut == len(name) or name[cut] == "@":
            folder = Path(name[:cut])
            if Store(folder).rows_path.is_file():
                return folder, name[cut + 1 :]
    return None, ""


def _differences(request: ReportRequest, rows: Sequence[Result], name: str) -> list[Difference]:
    store = Store(request.results)
    mine = Sourced(store, list(rows), store.runs())
    folder, wanted = _other_store(name)
    if folder is None:
        return find_differences(mine, Sourced(store, choose_base(latest(store.rows()), name), mine.runs), rows)
    other = Store(folder)
    theirs = latest(other.rows())
    if wanted:
        theirs = choose_base(theirs, wanted)
    return find_differences(mine, Sourced(other, theirs, other.runs()), rows)


def _sheets(sheets: Sequence[Sheet], format: str, to_file: bool) -> str:
    if format == "markdown":
        return "\n".join(to_markdown_sheet(sheet) for sheet in sheets)
    if format == "latex":
        return to_latex_document(sheets, FOOTNOTE)
    console = Console(file=StringIO(), width=10_000, force_terminal=False) if to_file else Console()
    with console.capture() as capture:
        console.print(Group(*(to_rich_sheet(sheet, console.width) for sheet in sheets)))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().split("\n")[:-1])


def write_report(request: ReportRequest, path: Path, format: str) -> None:
    """Write the report to a file, whole or not at all; its ending chooses the format where that is "table".

    Raises:
        CocaError: There is nothing to show, or the file cannot be written.
    """
    if format == "table":
        known = SUFFIXES | PAGES | PLAIN
        if path.suffix.lower() not in known:
            raise CocaError(f"{path}: a report is written as {', '.join(filter(None, known))}, or without an ending")
        format = known[path.suffix.lower()]
    write_text(path, make_report(request, format, to_file=True))


def write_charts(request: ReportRequest, folder: Path) -> list[Path]:
    """Write each chart of the report as PNG and SVG.

    Returns:
        The files.

    Raises:
        CocaError: There is nothing to draw, or the folder cannot be written.
    """
    from coca_cli.reports.charts import save_chart
    from coca_cli.reports.report_charts import (
        model_folders,
        recall_charts,
        result_chart,
        training_charts,
        with_folders,
    )

    rows, store = choose_rows(request), Store(request.results)
    runs = store.runs()
    folders = with_folders(model_folders(runs, rows), request.training)
    first = result_chart(rows)
    charts = [*([first] if first else []), *recall_charts(store, runs, rows), *training_charts(folders)]
    if not charts:
        raise CocaError("there is nothing to draw in these results: they have no metric that charts show")
    paths = [folder / f"{chart.name}{suffix}" for chart in charts for suffix in (".png", ".svg")]
    for chart in charts:
        for suffix in (".png", ".svg"):
            save_chart(chart, folder / f"{chart.name}{suffix}")
    return paths
