"""`coca eval retrieval`: pictures or clips found by captions, captions by them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coca_cli.commands.collection import without_collection
from coca_cli.options import (
    DEFAULT_CACHE,
    DEFAULT_DATA_ROOT,
    DEFAULT_RESULTS,
    OUTPUT_PANEL,
    SOURCE_PANEL,
    BatchSizeOption,
    CacheDirOption,
    CacheOption,
    CaptionsChoice,
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


def retrieval(
    model: ModelOption,
    dataset: DatasetOption,
    pretrained: PretrainedOption = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    split: SplitOption = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How papers measure this set, such as 5k or 1k (coco), full or 1k-a (msrvtt); without it the first.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = None,
    captions_per_image: Annotated[
        CaptionsChoice,
        typer.Option(help="Every caption of a picture or clip, or its first alone.", rich_help_panel=SOURCE_PANEL),
    ] = CaptionsChoice.all,
    prompt: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="What captions are put into, with {} in their place, such as 'a photo of {}'.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = "{}",
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
    grid: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw five captions, evenly spread over the set, with the five pictures found first; .png or .jpg.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    results: ResultsOption = DEFAULT_RESULTS,
    format: FormatOption = OutputFormat.table,
    quiet: QuietOption = False,
) -> None:
    """Find captions by pictures or clips, and them by captions: recall at 1, 5, 10 and ranks, both ways.

    Equal scores count against the model. Example: coca eval retrieval -m runs/small -d flickr30k --data-root /data
    """
    with without_collection():
        from coca_cli.datasets import find_dataset
        from coca_cli.media.video import Sampling
        from coca_cli.model.checkpoint import load
        from coca_cli.model.placement import choose_device, place
        from coca_cli.progress import Reporter
        from coca_cli.store import Store
        from coca_cli.tasks.media_features import Reading
        from coca_cli.tasks.retrieval_run import RetrievalRequest, check_request, run_retrieval
        from coca_cli.world import joined_world, local_device

    request = RetrievalRequest(
        dataset=find_dataset(dataset),
        root=data_root,
        split=split,
        protocol=protocol,
        captions=captions_per_image,
        prompt=prompt,
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
        grid=grid,
    )
    store = Store(results)
    chosen = check_request(request, store)
    with joined_world(local_device(choose_device(device))) as world:
        placed = place(load(model, pretrained, image_size), device, precision)
        rows = run_retrieval(request, chosen, placed, store, Reporter(quiet=quiet or not world.first), world)
    if world.first:
        from coca_cli.reports.tables import render  # with pandas, which nothing before needs

        print(render(rows, format), end="")
