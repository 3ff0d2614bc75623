"""`coca eval classification`: a classifier that was trained, on a split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coca_cli.options import (
    DEFAULT_CACHE,
    DEFAULT_DATA_ROOT,
    DEFAULT_RESULTS,
    SOURCE_PANEL,
    BatchSizeOption,
    CacheDirOption,
    CacheOption,
    DataRootOption,
    DatasetOption,
    Device,
    DeviceOption,
    FormatOption,
    LimitOption,
    OutputFormat,
    Precision,
    PrecisionOption,
    PredictionsOption,
    QuietOption,
    ResultsOption,
    SeedOption,
    SplitOption,
    StrictOption,
    WorkersOption,
    offered,
)


def classification(
    classifier: Annotated[
        Path,
        typer.Option(
            "--model",
            "-m",
            metavar="DIR",
            autocompletion=offered("model"),
            help="The folder of a classifier that coca probe or coca finetune wrote.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ],
    dataset: DatasetOption,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help="Where its encoder lies now; without it where it was when the classifier was trained.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    split: SplitOption = None,
    views: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Stretches of each clip, evenly spread, whose class probabilities are averaged.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = 1,
    span: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            metavar="SECONDS",
            help="How long each stretch is; without it the whole clip.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = None,
    crops: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Squares of each frame along its longer side, whose class probabilities are averaged too.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = 1,
    batch_size: BatchSizeOption = 64,
    precision: PrecisionOption = Precision.auto,
    device: DeviceOption = Device.auto,
    workers: WorkersOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    strict: StrictOption = False,
    cache_dir: CacheDirOption = DEFAULT_CACHE,
    cache: CacheOption = True,
    predictions: PredictionsOption = None,
    results: ResultsOption = DEFAULT_RESULTS,
    format: FormatOption = OutputFormat.table,
    quiet: QuietOption = False,
) -> None:
    """Score a classifier on a split: top-1, top-5 and mean per-class recall with 95 % intervals.

    Example: coca eval classification -m runs/probe -d imagenet --data-root /data
    """
    from coca_cli.datasets import find_dataset
    from coca_cli.media.video import Sampling
    from coca_cli.model.checkpoint import load
    from coca_cli.model.classifier_folder import encoder_of, load_classifier
    from coca_cli.model.placement import choose_device, place
    from coca_cli.progress import Reporter
    from coca_cli.reports.tables import render
    from coca_cli.store import Store
    from coca_cli.tasks.classification_run import ClassificationRequest, check_request, run_classification
    from coca_cli.tasks.media_features import Reading
    from coca_cli.world import joined_world, local_device

    saved = load_classifier(classifier)
    described = saved.described
    request = ClassificationRequest(
        dataset=find_dataset(dataset),
        root=data_root,
        split=split,
        reading=Reading(
            batch_size=batch_size,
            workers=workers,
            cache=cache_dir if cache else None,
            sampling=Sampling(max(1, described.frames), described.sampling, views, span),
            crops=crops,
        ),
        predictions=predictions,
        limit=limit,
        strict=strict,
        seed=seed,
    )
    store = Store(results)
    check_request(request, saved, store)
    with joined_world(local_device(choose_device(device))) as world:
        named = (backbone, None) if backbone else encoder_of(classifier, described)
        placed = place(load(*named, described.image_size), device, precision)
        rows = run_classification(request, saved, placed, store, Reporter(quiet=quiet or not world.first), world)
    if world.first:
        print(render(rows, format), end="")
