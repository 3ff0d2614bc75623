"""`coca eval understanding`: VQA v2, SNLI-VE, NLVR2 and the like, with a finetuned model or a file of answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coca_cli.errors import CocaError
from coca_cli.options import (
    DEFAULT_DATA_ROOT,
    DEFAULT_RESULTS,
    OUTPUT_PANEL,
    SOURCE_PANEL,
    BatchSizeOption,
    DataRootOption,
    DatasetOption,
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
    SplitOption,
    StrictOption,
    WorkersOption,
    offered,
)


def understanding(
    dataset: DatasetOption,
    answerer: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            metavar="DIR",
            autocompletion=offered("model"),
            help="The folder of a model that coca finetune vqa, snli-ve or nlvr2 wrote.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Score these answers, without a model: VQA's results JSON, or .jsonl or .csv with question_id (or id) "
            "and answer.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    split: SplitOption = None,
    shuffle_pictures: Annotated[
        bool,
        typer.Option(
            "--shuffle-pictures",
            help="Ask each question about another example's picture: what the questions alone tell.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = False,
    question_types: Annotated[
        bool,
        typer.Option("--question-types", help="A row for each type of question, too.", rich_help_panel=OUTPUT_PANEL),
    ] = False,
    batch_size: BatchSizeOption = 64,
    precision: PrecisionOption = Precision.auto,
    device: DeviceOption = Device.auto,
    workers: WorkersOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    strict: StrictOption = False,
    save_answers: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FILE",
            help="Where the model's answers go: .json as VQA's server takes them, .csv or .jsonl with question, score "
            "and accuracy; without it answers/ below --results.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw six questions, evenly spread over the split, with their pictures and answers; .png or .jpg.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    results: ResultsOption = DEFAULT_RESULTS,
    format: FormatOption = OutputFormat.table,
    quiet: QuietOption = False,
) -> None:
    """Score answers to questions, or judgements of statements, about pictures; with 95 % intervals.

    VQA's accuracy is the official evaluator's. Splits whose answers are kept back give a file for their server.
    Example: coca eval understanding -m runs/vqa -d vqav2 --data-root /data
    """
    from coca_cli.datasets import find_dataset
    from coca_cli.model.checkpoint import load
    from coca_cli.model.placement import choose_device, place
    from coca_cli.model.understanding_folder import load_understanding
    from coca_cli.progress import Reporter
    from coca_cli.reports.tables import render
    from coca_cli.store import Store
    from coca_cli.tasks.understanding_run import UnderstandingEvalRequest, check_request, run_understanding
    from coca_cli.world import joined_world, local_device

    if (answerer is None) == (answers is None):
        raise CocaError("give one of --model, which answers, and --answers, a file that has been written before")
    if answerer is None and shuffle_pictures:
        raise CocaError("--shuffle-pictures asks a model anew; answers in a file have seen their pictures already")
    store = Store(results)
    request = UnderstandingEvalRequest(
        dataset=find_dataset(dataset),
        root=data_root,
        split=split,
        answers=answers,
        shuffle_pictures=shuffle_pictures,
        by_kind=question_types,
        save=save_answers,
        show=draw,
        batch_size=batch_size,
        workers=workers,
        limit=limit,
        strict=strict,
        seed=seed,
    )
    saved = load_understanding(answerer) if answerer is not None else None
    chosen = check_request(request, saved, store)
    with joined_world(local_device(choose_device(device))) as world:
        placed = place(load(str(answerer)), device, precision) if answerer is not None else None
        reporter = Reporter(quiet=quiet or not world.first)
        done = run_understanding(request, chosen, saved, placed, store, reporter, world)
    if done.saved is not None:
        reporter.notice(f"answers: {done.saved}")
    if done.usual is not None:
        kinds = " by type of question" if request.dataset.task == "questions" else ""
        reporter.notice(f"the most frequent training answer{kinds} alone would reach {100 * done.usual:.2f}")
    if done.rows:
        print(render(done.rows, format), end="")
    elif world.first:
        reporter.notice(f"{request.dataset.name} {chosen.split} keeps its answers back: give this file to its server")
