"""`coca embed`: embeddings of the user's own files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from coca_cli.options import (
    DEFAULT_CACHE,
    OUTPUT_PANEL,
    BatchSizeOption,
    CacheDirOption,
    CacheOption,
    Device,
    DeviceOption,
    FrameMean,
    FrameMeanOption,
    FramesOption,
    ImageSizeOption,
    ModelOption,
    OverwriteOption,
    PathsArgument,
    Precision,
    PrecisionOption,
    PretrainedOption,
    QuietOption,
    SamplingChoice,
    SamplingOption,
    StrictOption,
    WorkersOption,
)


def embed(
    paths: PathsArgument,
    model: ModelOption,
    embeddings_file: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file to write: .npz (ids, kinds, embeddings) or .parquet (id, kind, embedding).",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ],
    pretrained: PretrainedOption = None,
    frames: FramesOption = 16,
    sampling: SamplingOption = SamplingChoice.uniform,
    frame_mean: FrameMeanOption = FrameMean.mean_first,
    image_size: ImageSizeOption = None,
    batch_size: BatchSizeOption = 64,
    precision: PrecisionOption = Precision.auto,
    device: DeviceOption = Device.auto,
    workers: WorkersOption = None,
    strict: StrictOption = False,
    cache_dir: CacheDirOption = DEFAULT_CACHE,
    cache: CacheOption = True,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Embed pictures, clips and texts (.txt, one a line): one row of unit length each, pictures first, then clips.

    A stopped run goes on with the same command. Example: coca embed photos 'clips/*.mp4' -m runs/mine -o mine.npz
    """
    from coca_cli.datasets.output_files import check_output_file
    from coca_cli.datasets.user_files import find_user_files, read_list
    from coca_cli.media.video import Sampling
    from coca_cli.model.checkpoint import load
    from coca_cli.model.placement import choose_device, place
    from coca_cli.progress import Reporter
    from coca_cli.tasks.embed_run import EmbedRequest, run_embed
    from coca_cli.tasks.embedding_files import check_ending
    from coca_cli.tasks.media_features import Reading
    from coca_cli.world import joined_world, local_device

    check_ending(embeddings_file)
    words = read_list(sys.stdin) if paths == ["-"] else paths
    request = EmbedRequest(
        files=find_user_files(words, texts=True),
        words=paths,
        output=embeddings_file,
        reading=Reading(
            batch_size=batch_size,
            workers=workers,
            cache=cache_dir if cache else None,
            sampling=Sampling(frames, sampling.value),
            frame_mean=frame_mean,
        ),
        strict=strict,
    )
    check_output_file(embeddings_file, [], Path(), overwrite=overwrite)
    with joined_world(local_device(choose_device(device))) as world:
        reporter = Reporter(quiet=quiet or not world.first)
        done = run_embed(request, place(load(model, pretrained, image_size), device, precision), reporter, world)
    if not world.first:
        return
    for reason in done.unreadable.values():
        reporter.warn(f"no embedding: {reason}")
    lost = len(done.unreadable)
    left_out = f", {lost:,} {'file' if lost == 1 else 'files'} could not be read" if lost else ""
    print(f"{embeddings_file}: {done.rows:,} embeddings{left_out}")
