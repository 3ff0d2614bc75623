"""`coca caption`: captions for the user's own pictures and clips."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from coca_cli.decoding_options import (
    BeamsOption,
    DecodingOption,
    LengthPenaltyOption,
    MaxLengthOption,
    MinLengthOption,
    NBestOption,
    PrefixOption,
    RepetitionPenaltyOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
)
from coca_cli.options import (
    DEFAULT_CACHE,
    OUTPUT_PANEL,
    BatchSizeOption,
    CacheDirOption,
    CacheOption,
    CaptionFormat,
    DecodingMethod,
    Device,
    DeviceOption,
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
    SeedOption,
    StrictOption,
    WorkersOption,
)


def caption(
    paths: PathsArgument,
    model: ModelOption,
    pretrained: PretrainedOption = None,
    frames: FramesOption = 16,
    sampling: SamplingOption = SamplingChoice.uniform,
    image_size: ImageSizeOption = None,
    decoding: DecodingOption = DecodingMethod.beam,
    beams: BeamsOption = 3,
    n_best: NBestOption = 1,
    length_penalty: LengthPenaltyOption = 0.0,
    min_length: MinLengthOption = 1,
    max_length: MaxLengthOption = 30,
    temperature: TemperatureOption = 1.0,
    top_k: TopKOption = 0,
    top_p: TopPOption = 1.0,
    repetition_penalty: RepetitionPenaltyOption = 1.0,
    prefix: PrefixOption = "",
    seed: SeedOption = 0,
    batch_size: BatchSizeOption = 64,
    precision: PrecisionOption = Precision.auto,
    device: DeviceOption = Device.auto,
    workers: WorkersOption = None,
    strict: StrictOption = False,
    cache_dir: CacheDirOption = DEFAULT_CACHE,
    cache: CacheOption = True,
    captions_file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file to write: .txt, .jsonl, .csv, or .json as COCO's results; without it stdout.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    write_as: Annotated[
        CaptionFormat | None,
        typer.Option("--as", help="The format, whatever the file's ending.", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    with_scores: Annotated[
        bool,
        typer.Option("--with-scores", help="Write what captions are ranked by, too.", rich_help_panel=OUTPUT_PANEL),
    ] = False,
    embed: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write embeddings, too, from the same pass of the encoder; .npz or .parquet.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Caption pictures and clips; the patches of a clip's frames are pooled together, --frames 1 is the middle one.

    A stopped run goes on with the same command. Example: coca caption photos 'clips/*.mp4' -m runs/mine -o mine.jsonl
    """
    from coca_cli.datasets.output_files import check_output_file
    from coca_cli.datasets.user_files import find_user_files, read_list
    from coca_cli.media.video import Sampling
    from coca_cli.model.checkpoint import load
    from coca_cli.model.decoding_terms import Decoding
    from coca_cli.model.placement import choose_device, place
    from coca_cli.progress import Reporter
    from coca_cli.tasks.caption_files import check_format, choose_format
    from coca_cli.tasks.caption_run import CaptionRequest, run_caption
    from coca_cli.tasks.captioning import Writing
    from coca_cli.tasks.embedding_files import check_ending
    from coca_cli.tasks.media_features import Reading
    from coca_cli.world import joined_world, local_device

    search = Decoding(
        method=decoding,
        beams=beams,
        n_best=n_best,
        length_penalty=length_penalty,
        min_length=min_length,
        max_length=max_length,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
    )
    form = choose_format(captions_file, write_as)
    check_format(form, n_best)
    words = read_list(sys.stdin) if paths == ["-"] else paths
    request = CaptionRequest(
        files=find_user_files(words),
        words=paths,
        writing=Writing(decoding=search, prefix=prefix, embed=embed is not None),
        form=form,
        scores=with_scores,
        output=captions_file,
        embeddings=embed,
        reading=Reading(
            batch_size=batch_size,
            workers=workers,
            cache=cache_dir if cache else None,
            sampling=Sampling(frames, sampling.value),
        ),
        strict=strict,
    )
    if embed is not None:
        check_ending(embed, "--embed")
    for file in (captions_file, embed):
        if file is not None:
            check_output_file(file, [], Path(), overwrite=overwrite)
    with joined_world(local_device(choose_device(device))) as world:
        reporter = Reporter(quiet=quiet or not world.first)
        done = run_caption(request, place(load(model, pretrained, image_size), device, precision), reporter, world)
    if not world.first:
        return
    for reason in done.unreadable.values():
        reporter.warn(f"no caption: {reason}")
    if captions_file is not None:
        lost = len(done.unreadable)
        left_out = f", {lost:,} {'file' if lost == 1 else 'files'} could not be read" if lost else ""
        print(f"{captions_file}: captions of {done.files:,} {'file' if done.files == 1 else 'files'}{left_out}")
