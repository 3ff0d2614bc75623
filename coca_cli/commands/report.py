"""`coca report`: what the store of results holds, as tables, charts or a page."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coca_cli.errors import CocaError
from coca_cli.options import DEFAULT_RESULTS, OUTPUT_PANEL, ResultsOption

FILTER_PANEL = "Which results"
BESIDE_PANEL = "Beside what"


class ReportFormat(StrEnum):
    """What a report can be."""

    table = "table"
    csv = "csv"
    markdown = "markdown"
    latex = "latex"
    html = "html"
    json = "json"


def report(
    results: ResultsOption = DEFAULT_RESULTS,
    report_format: Annotated[
        ReportFormat,
        typer.Option(
            "--format",
            help="How the report is written; html is one page with charts, samples and the commands of each row.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = ReportFormat.table,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Every row, not only the newest of each setting.", rich_help_panel=FILTER_PANEL),
    ] = False,
    only_task: Annotated[
        str | None,
        typer.Option("--task", metavar="NAME", help="Only this task.", rich_help_panel=FILTER_PANEL),
    ] = None,
    only_dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            "-d",
            metavar="NAME",
            help="Only this dataset, or these: 'imagenet*'.",
            rich_help_panel=FILTER_PANEL,
        ),
    ] = None,
    only_model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="NAME", help="Only this model, or these: 'coca_*'.", rich_help_panel=FILTER_PANEL
        ),
    ] = None,
    compared: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="paper|RUN",
            help="Beside the paper's Tables 2 to 7 (paper:CoCa-Large shows differences, too), or by how much results "
            "differ from those of another model here, MODEL or MODEL@HASH, or of another --results folder, with a "
            "paired test.",
            rich_help_panel=BESIDE_PANEL,
        ),
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Show results of CLIP_benchmark, too: its .json or .csv, or a folder of .json; may be repeated.",
            rich_help_panel=BESIDE_PANEL,
        ),
    ] = None,
    table_file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write a file instead of stdout; .csv, .md, .tex, .html and .json choose their format.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the charts as PNG and SVG into this folder.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = None,
    clip_benchmark: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write CLIP_benchmark's files into this folder: a .json for each evaluation, and benchmark.csv.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="The heading of the page.", rich_help_panel=OUTPUT_PANEL)
    ] = "",
    training: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="A training run whose curves page and charts show, besides those of the models; may be repeated.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    wide: Annotated[
        bool,
        typer.Option(
            "--wide", help="Show weights, settings, seed, precision and time too.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False,
) -> None:
    """Print the results of earlier runs, beside the paper's or another run's, as tables, charts or a page.

    Example: coca report --against paper --format html -o report.html
    """
    # Loading the tables takes a while, and every command's --help imports this file.
    from coca_cli.reports.clip_benchmark import write_files
    from coca_cli.reports.reporting import ReportRequest, choose_rows, make_report, write_charts, write_report

    request = ReportRequest(
        results=results,
        everything=everything,
        task=only_task,
        dataset=only_dataset,
        model=only_model,
        beside=beside or (),
        against=compared,
        title=title,
        training=training or (),
        wide=wide,
    )
    for folder in training or ():
        if not (folder / "metrics.jsonl").is_file():
            raise CocaError(f"--training {folder}: there is no metrics.jsonl, which every training run writes")
    if plots is not None:
        _tell(f"{len(write_charts(request, plots)):,} charts", plots)
    if clip_benchmark is not None:
        _tell(f"{len(write_files(clip_benchmark, choose_rows(request))):,} evaluations", clip_benchmark)
    if table_file is None and report_format is ReportFormat.html and sys.stdout.isatty():
        table_file = results / "report.html"  # a page on a terminal helps nobody
    if table_file is not None:
        write_report(request, table_file, report_format.value)
        _tell(f"{len(choose_rows(request)):,} rows", table_file)
    elif plots is None and clip_benchmark is None:
        print(make_report(request, report_format.value), end="")


def _tell(what: str, where: Path) -> None:
    print(f"coca: wrote {what} to {where}", file=sys.stderr)
