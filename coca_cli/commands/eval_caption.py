"""`coca eval caption`: captions scored against those of people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coca_cli.commands.collection import without_collection
from coca_cli.decoding_options import (
    BeamsOption,
    DecodingOption,
    LengthPenaltyOption,
    MaxLengthOption,
    MinLengthOption,
    PrefixOption,
    RepetitionPenaltyOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
)
from coca_cli.errors import CocaError
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
    DatasetOption,
    DecodingMethod,
    Device,
    DeviceOption,
    FormatOption,
    FramesOption,
    ImageSizeOption,
    LimitOption,
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
    offered,
)


def caption(
    dataset: DatasetOption,
    captioner: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|DIR",
            autocompletion=offered("model"),
            help="The model that writes: a folder that coca wrote, open_clip's name, or hf-hub:OWNER/NAME.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Score these captions, without a model: COCO's results JSON, or .jsonl or .csv with image_id (or "
            "file) and caption.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = None,
    pretrained: PretrainedOption = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    split: SplitOption = None,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial",
            help="Score the pictures that --captions has, where it lacks some; CIDEr cannot be compared then.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = False,
    frames: FramesOption = 16,
    sampling: SamplingOption = SamplingChoice.uniform,
    image_size: ImageSizeOption = None,
    decoding: DecodingOption = DecodingMethod.beam,
    beams: BeamsOption = 3,
    length_penalty: LengthPenaltyOption = 0.0,
    min_length: MinLengthOption = 1,
    max_length: MaxLengthOption = 30,
    temperature: TemperatureOption = 1.0,
    top_k: TopKOption = 0,
    top_p: TopPOption = 1.0,
    repetition_penalty: RepetitionPenaltyOption = 1.0,
    prefix: PrefixOption = "",
    batch_size: BatchSizeOption = 64,
    precision: PrecisionOption = Precision.auto,
    device: DeviceOption = Device.auto,
    workers: WorkersOption = None,
    java: Annotated[
        str | None,
        typer.Option(
            metavar="PROGRAM",
            help="Run tokenizer, METEOR and SPICE with this Java, not with the one that comes with coca.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    strict: StrictOption = False,
    cache_dir: CacheDirOption = DEFAULT_CACHE,
    cache: CacheOption = True,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the model's captions go, as COCO's results JSON; without it captions/ below --results.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    results: ResultsOption = DEFAULT_RESULTS,
    format: FormatOption = OutputFormat.table,
    quiet: QuietOption = False,
) -> None:
    """Score captions against those of people: CIDEr, BLEU, METEOR, ROUGE-L, and SPICE where its models are.

    Give one of --model and --captions. Needs no Java on the machine.
    Example: coca eval caption -m runs/mine -d coco --data-root /data
    """
    with without_collection():
        from coca_cli.datasets import find_dataset
        from coca_cli.media.video import Sampling
        from coca_cli.model.checkpoint import load
        from coca_cli.model.decoding_terms import Decoding
        from coca_cli.model.placement import choose_device, place
        from coca_cli.progress import Reporter
        from coca_cli.store import Store
        from coca_cli.tasks.caption_eval_run import CaptionEvalRequest, check_request, run_caption_eval
        from coca_cli.tasks.captioning import Writing
        from coca_cli.tasks.media_features import Reading
        from coca_cli.world import joined_world, local_device

    if (captioner is None) == (captions is None):
        raise CocaError("give one of --model, which writes captions, and --captions, a file that has them")
    store = Store(results)
    search = Decoding(
        method=decoding,
        beams=beams,
        length_penalty=length_penalty,
        min_length=min_length,
        max_length=max_length,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
    )
    request = CaptionEvalRequest(
        dataset=find_dataset(dataset),
        root=data_root,
        split=split,
        captions=captions,
        partial=partial,
        writing=Writing(decoding=search, prefix=prefix),
        reading=Reading(
            batch_size=batch_size,
            workers=workers,
            cache=cache_dir if cache else None,
            sampling=Sampling(frames, sampling.value),
        ),
        java=java,
        limit=limit,
        strict=strict,
        seed=seed,
        save=save,
    )
    chosen = check_request(request, store)
    with joined_world(local_device(choose_device(device))) as world:
        placed = place(load(captioner, pretrained, image_size), device, precision) if captioner is not None else None
        reporter = Reporter(quiet=quiet or not world.first)
        done = run_caption_eval(request, chosen, placed, store, reporter, world)
    if done.saved is not None:
        reporter.notice(f"captions: {done.saved}")
    if done.rows:
        from coca_cli.reports.tables import render  # with pandas, which nothing before needs

        print(render(done.rows, format), end="")
    elif world.first:
        reporter.notice(f"{request.dataset.name} {chosen.split} keeps its captions back: give this file to its server")
