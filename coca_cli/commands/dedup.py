"""`coca data dedup`: take what shows pictures of evaluation sets out of training data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coca_cli.options import (
    DEFAULT_DATA_ROOT,
    OUTPUT_PANEL,
    SOURCE_PANEL,
    BatchSizeOption,
    DataRootOption,
    Device,
    DeviceOption,
    LimitOption,
    OverwriteOption,
    Precision,
    PrecisionOption,
    PretrainedOption,
    QuietOption,
    StrictOption,
    WorkersOption,
)


def dedup(
    train: Annotated[str, typer.Argument(metavar="TRAIN", help="Training data, as coca pretrain --data takes them.")],
    against: Annotated[
        list[str],
        typer.Option(
            "--against",
            metavar="EVAL",
            help="An evaluation set, may be given several times: a dataset's name (its evaluated split, or "
            "NAME@SPLIT), folder:PATH or wds:PATH (all splits but train), a table, tar shards, a folder of pictures.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ],
    keep_list: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The keep-list to write, for coca pretrain; what is removed goes into FILE.removed.csv.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ],
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    embedder: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|DIR",
            help="Compare this model's embeddings, too; named as in the other commands.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = None,
    pretrained: PretrainedOption = None,
    min_cosine: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="With --model: embeddings as near as this are of one picture. Depends on the model; look at --sheet.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = 0.97,
    batch_size: BatchSizeOption = 64,
    precision: PrecisionOption = Precision.auto,
    device: DeviceOption = Device.auto,
    workers: WorkersOption = None,
    limit: LimitOption = None,
    strict: StrictOption = False,
    show: Annotated[
        int, typer.Option(min=0, metavar="N", help="Print the N least certain pairs.", rich_help_panel=OUTPUT_PANEL)
    ] = 5,
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the least certain pairs side by side, to be judged by eye; .png or .jpg.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find training pictures that are in an evaluation set: copies, re-encoded, resized, cropped or mirrored.

    Example: coca data dedup pairs.csv --against imagenet --against flickr30k --data-root /data -o keep.txt
    """
    from coca_cli.errors import CocaError
    from coca_cli.model.checkpoint import load
    from coca_cli.model.placement import place
    from coca_cli.progress import Reporter
    from coca_cli.reports.duplicates import render_duplicates
    from coca_cli.tasks.dedup_run import DedupRequest, check_request, run_dedup

    if pretrained is not None and embedder is None:
        raise CocaError(f"--pretrained {pretrained} is of no use without --model; name the model of these weights")
    request = DedupRequest(
        train=train,
        against=against,
        root=data_root,
        keep_list=keep_list,
        least_cosine=min_cosine,
        batch_size=batch_size,
        limit=limit,
        workers=workers,
        strict=strict,
        sheet=sheet,
        overwrite=overwrite,
    )
    check_request(request)
    placed = None if embedder is None else place(load(embedder, pretrained), device, precision)
    found = run_dedup(request, placed, Reporter(quiet=quiet))
    print(render_duplicates(found.origin), end="")
    for pair in found.doubtful[:show]:
        print(pair.in_words())
