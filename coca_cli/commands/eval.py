"""`coca eval`: score a model on a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coca_cli.options import (
    DEFAULT_CACHE,
    DEFAULT_DATA_ROOT,
    DEFAULT_RESULTS,
    OUTPUT_PANEL,
    SOURCE_PANEL,
    BatchSizeOption,
    CacheDirOption,
    CacheOption,
    DataRootOption,
    DatasetOption,
    Device,
    DeviceOption,
    FormatOption,
    ImageSizeOption,
    LimitOption,
    ModelOption,
    OutputFormat,
    Precision,
    PrecisionOption,
    PretrainedOption,
    QuietOption,
    ResultsOption,
    SeedOption,
    SplitOption,
    StrictOption,
    WorkersOption,
)


def zeroshot(
    model: ModelOption,
    dataset: DatasetOption,
    pretrained: PretrainedOption = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    split: SplitOption = None,
    classnames: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Other class names: one a line in class order, a JSON list, or a JSON object old -> new.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = None,
    templates: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Other prompts: one a line or a JSON list, with {c} for the class name.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = None,
    image_size: ImageSizeOption = None,
    batch_size: BatchSizeOption = 64,
    precision: PrecisionOption = Precision.auto,
    device: DeviceOption = Device.auto,
    workers: WorkersOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    strict: StrictOption = False,
    cache_dir: CacheDirOption = DEFAULT_CACHE,
    cache: CacheOption = True,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write each example's id, label, five best classes and scores; .csv or .jsonl.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    results: ResultsOption = DEFAULT_RESULTS,
    format: FormatOption = OutputFormat.table,
    quiet: QuietOption = False,
) -> None:
    """Classify pictures by prompts: top-1, top-5 and mean per-class recall with 95 % intervals.

    Example: coca eval zeroshot -m coca_ViT-L-14 --pretrained laion2b_s13b_b90k -d imagenet --data-root /data
    """
    from coca_cli.datasets import find_dataset
    from coca_cli.model.checkpoint import load
    from coca_cli.model.placement import place
    from coca_cli.progress import Reporter
    from coca_cli.reports.tables import render
    from coca_cli.store import Store
    from coca_cli.tasks.zeroshot_run import ZeroShotRequest, check_request, run_zeroshot

    store, reporter = Store(results), Reporter(quiet=quiet)
    request = ZeroShotRequest(
        dataset=find_dataset(dataset),
        root=data_root,
        split=split,
        class_names=classnames,
        templates=templates,
        predictions=predictions,
        cache=cache_dir if cache else None,
        limit=limit,
        batch_size=batch_size,
        workers=workers,
        strict=strict,
        seed=seed,
    )
    check_request(request, store)
    placed = place(load(model, pretrained, image_size), device, precision)
    print(render(run_zeroshot(request, placed, store, reporter), format), end="")
