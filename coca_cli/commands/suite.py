"""`coca suite`: many benchmarks and models in one run that can be stopped and goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coca_cli.commands.task_commands import build_commands
from coca_cli.errors import CocaError, MissingFile
from coca_cli.options import (
    DEFAULT_CACHE,
    DEFAULT_DATA_ROOT,
    DEFAULT_RESULTS,
    OUTPUT_PANEL,
    RUN_PANEL,
    SOURCE_PANEL,
    BatchSizeOption,
    CacheDirOption,
    CacheOption,
    DataRootOption,
    Device,
    DeviceOption,
    FormatOption,
    LimitOption,
    OutputFormat,
    Precision,
    PrecisionOption,
    QuietOption,
    ResultsOption,
    SeedOption,
    WorkersOption,
    offered,
    source_of,
)

if TYPE_CHECKING:
    from coca_cli.suites.candidates import Candidate
    from coca_cli.suites.suite_files import Suite

SuiteArgument = Annotated[
    str,
    typer.Argument(metavar="NAME|FILE", help="A suite by name (see coca suite list), or a .toml file of your own."),
]


def run(
    ctx: typer.Context,
    suite: SuiteArgument,
    suite_models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|DIR[,TAG]",
            autocompletion=offered("model"),
            help="A model to measure, as for coca eval, with its tag or file after a comma; give it several times.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Only benchmarks whose task and dataset match: imagenet, 'zeroshot*'.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    plan_only: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the plan with the time it takes, and run nothing.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Do anew what is finished.", rich_help_panel=RUN_PANEL),
    ] = False,
    complete: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Let nothing be missing: run nothing where a dataset is not on disk, and end a benchmark at the first "
            "example that cannot be read.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = False,
    batch_size: BatchSizeOption = 64,
    precision: PrecisionOption = Precision.auto,
    device: DeviceOption = Device.auto,
    workers: WorkersOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    cache_dir: CacheDirOption = DEFAULT_CACHE,
    cache: CacheOption = True,
    results: ResultsOption = DEFAULT_RESULTS,
    format: FormatOption = OutputFormat.table,
    quiet: QuietOption = False,
) -> None:
    """Run many benchmarks with one or more models; what is finished is kept, and the same command goes on after a stop.

    Data that are not on disk are listed and left out. A failure does not stop the rest: it is named at the end.
    Example: coca suite run paper-zeroshot -m coca_ViT-L-14,laion2b_s13b_b90k --data-root /data
    """
    from coca_cli.suites.suite_files import choose_entries, read_suite

    found = read_suite(suite)  # before all that takes seconds to import

    from coca_cli.model.placement import choose_device
    from coca_cli.progress import Reporter
    from coca_cli.reports.tables import render
    from coca_cli.store import Store
    from coca_cli.suites.command_options import read_benchmarks
    from coca_cli.suites.plan import check_any, check_complete, make_plan
    from coca_cli.suites.running import SuiteRun, check_failures
    from coca_cli.suites.showing import describe_plan, render_plan
    from coca_cli.world import joined_world, local_device

    typed = {"batch_size": batch_size, "precision": precision, "workers": workers, "limit": limit, "seed": seed}
    given: dict[str, Any] = {name: value for name, value in typed.items() if source_of(ctx, name) == "COMMANDLINE"}
    of_the_run = {"data_root": data_root, "device": device, "cache_dir": cache_dir, "cache": cache}
    strict = {"strict": True} if complete else {}
    benchmarks = read_benchmarks(choose_entries(found, only), build_commands(), given | strict, of_the_run)
    store = Store(results)
    items = make_plan(benchmarks, _candidates(found, suite_models), store, again=again)
    if complete and not plan_only:
        check_complete(items)
    if not plan_only:
        check_any(items, found.name)
    with joined_world(local_device(choose_device(device))) as world:
        if plan_only:
            print(render_plan(found, items) if world.first else "", end="")
            return
        reporter = Reporter(quiet=quiet or not world.first)
        for line in describe_plan(items):
            reporter.notice(line)
        running = SuiteRun(items, store, reporter, world)
        running.run()
    if world.first:
        if rows := running.rows():
            print(render(rows, format), end="", flush=True)
        check_failures(items, found.name)


def list_suites() -> None:
    """Names for coca suite run: what each measures, and how a file of one's own is named."""
    from coca_cli.suites.suite_files import read_suite, suite_names

    suites = [read_suite(name) for name in suite_names()]
    width = max(len(suite.name) for suite in suites)
    for suite in suites:
        print(f"{suite.name:{width}}  {len(suite.entries):2}  {suite.title}")
    print()
    print("The numbers count benchmarks. coca suite show NAME prints one.")
    print("A file of your own lies where you like: coca suite run FILE.toml")


def show(suite: SuiteArgument) -> None:
    """Print a suite as its file has it, to begin one of your own with: coca suite show smoke > mine.toml."""
    from coca_cli.suites.suite_files import suite_text

    print(suite_text(suite), end="")


def _candidates(suite: Suite, given: Sequence[str] | None) -> list[Candidate]:
    """The models that the user named, or those of the suite that are there."""
    from coca_cli.suites.candidates import describe_candidate

    if given:
        return [describe_candidate(text) for text in dict.fromkeys(given)]
    if not suite.models:
        raise CocaError(f"the suite {suite.name} names no model: give one or more with -m NAME|DIR[,TAG]")
    there = [text for text in suite.models if Path(text).expanduser().exists() or "/" not in text]
    if not there:
        raise MissingFile(
            f"none of the models of the suite {suite.name} is here ({', '.join(suite.models)}): name one with "
            "-m NAME|DIR[,TAG]; coca demo makes those below coca-demo"
        )
    return [describe_candidate(text) for text in there]
