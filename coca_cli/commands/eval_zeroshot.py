"""`coca eval zeroshot`: pictures or clips classified by prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coca_cli.commands.collection import without_collection
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
    FrameMean,
    FrameMeanOption,
    FramesOption,
    ImageSizeOption,
    LimitOption,
    ModelOption,
    OutputFormat,
    Precision,
    PrecisionOption,
    PredictionsOption,
    PretrainedOption,
    QuietOption,
    ResultsOption,
    SamplingChoice,
    SamplingOption,
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
    frames: FramesOption = 16,
    sampling: SamplingOption = SamplingChoice.uniform,
    frame_mean: FrameMeanOption = FrameMean.mean_first,
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
    predictions: PredictionsOption = None,
    results: ResultsOption = DEFAULT_RESULTS,
    format: FormatOption = OutputFormat.table,
    quiet: QuietOption = False,
) -> None:
    """Classify pictures or clips by prompts: top-1, top-5 and mean per-class recall with 95 % intervals.

    A clip is the mean of its frames' embeddings.
    Example: coca eval zeroshot -m coca_ViT-L-14 --pretrained laion2b_s13b_b90k -d imagenet --data-root /data
    """
    with without_collection():
        from coca_cli.datasets import find_dataset
        from coca_cli.media.video import Sampling
        from coca_cli.model.checkpoint import load
        from coca_cli.model.placement import choose_device, place
        from coca_cli.progress import Reporter
        from coca_cli.store import Store
        from coca_cli.tasks.media_features import Reading
        from coca_cli.tasks.zeroshot_run import ZeroShotRequest, check_request, run_zeroshot
        from coca_cli.world import joined_world, local_device

    store = Store(results)
    request = ZeroShotRequest(
        dataset=find_dataset(dataset),
        root=data_root,
        split=split,
        class_names=classnames,
        templates=templates,
        predictions=predictions,
        reading=Reading(
            batch_size=batch_size,
            workers=workers,
            cache=cache_dir if cache else None,
            sampling=Sampling(frames, sampling.value),
            frame_mean=frame_mean,
        ),
        limit=limit,
        strict=strict,
        seed=seed,
    )
    check_request(request, store)
    with joined_world(local_device(choose_device(device))) as world:
        placed = place(load(model, pretrained, image_size), device, precision)
        rows = run_zeroshot(request, placed, store, Reporter(quiet=quiet or not world.first), world)
    if world.first:
        from coca_cli.reports.tables import render  # with pandas, which nothing before needs

        print(render(rows, format), end="")
