"""`coca doctor`: whether this machine and this installation are ready."""

from __future__ import annotations

from typing import Annotated

import typer

from coca_cli.options import (
    DEFAULT_CACHE,
    DEFAULT_DATA_ROOT,
    DEFAULT_RESULTS,
    RUN_PANEL,
    CacheDirOption,
    DataRootOption,
    ResultsOption,
)


def doctor(
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    cache_dir: CacheDirOption = DEFAULT_CACHE,
    results: ResultsOption = DEFAULT_RESULTS,
    network: Annotated[
        bool,
        typer.Option("--network/--no-network", help="Ask the hub whether it answers.", rich_help_panel=RUN_PANEL),
    ] = True,
) -> None:
    """Look at versions, device, extras, Java, hub, folders and data, and say what is in the way.

    Ends with 1 where something is. Example: coca doctor --data-root /data
    """
    from rich.console import Console

    from coca_cli.errors import CocaError
    from coca_cli.reports.findings import render_finding

    try:
        from coca_cli.doctor import examine
    except (ImportError, OSError) as error:  # one that everything needs
        told = str(error).strip().splitlines()[0]
        raise CocaError(f"a package cannot be loaded ({told}): run pip install --force-reinstall coca-cli") from None

    console = Console(highlight=False)
    problems = 0
    for finding in examine(data_root, cache_dir, results, network=network):
        problems += finding.state == "problem"
        console.print(render_finding(finding.state, finding.subject, finding.text, console.width), soft_wrap=True)
    console.print(f"{problems} in the way." if problems else "Nothing is in the way.")
    if problems:
        raise typer.Exit(1)
