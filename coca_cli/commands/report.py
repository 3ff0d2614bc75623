"""`coca report`: what the store of results holds, as a table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from coca_cli.errors import CocaError
from coca_cli.options import DEFAULT_RESULTS, OUTPUT_PANEL, FormatOption, OutputFormat, ResultsOption

FILTER_PANEL = "Which results"


def report(
    results: ResultsOption = DEFAULT_RESULTS,
    format: FormatOption = OutputFormat.table,
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
    table_file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write a file instead of stdout; .csv, .md and .json choose their format.",
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
    """Print the results of earlier runs: the newest of each setting."""
    # Loading the tables takes a while, and every command's --help imports this file.
    from coca_cli.reports.tables import render, write_table
    from coca_cli.results import latest, select
    from coca_cli.store import Store

    rows = Store(results).rows()
    if not rows:
        raise CocaError(
            f"no results in {results} yet. Run coca demo or coca eval zeroshot first, "
            "or name the folder of another store with --results DIR."
        )
    rows = select(rows, task=only_task, dataset=only_dataset, model=only_model)
    rows = rows if everything else latest(rows)
    if table_file is None:
        print(render(rows, format, wide=wide), end="")
    else:
        write_table(table_file, rows, format, wide=wide)
        print(f"coca: wrote {len(rows):,} rows to {table_file}", file=sys.stderr)
