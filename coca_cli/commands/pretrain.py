"""`coca pretrain`: image-text pairs and labelled pictures -> CoCa weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coca_cli.options import (
    DEFAULT_DATA_ROOT,
    MODEL_PANEL,
    OUTPUT_PANEL,
    RECIPE_PANEL,
    SOURCE_PANEL,
    BatchSizeOption,
    DataRootOption,
    DecayChoice,
    Device,
    DeviceOption,
    LimitOption,
    OptimizerChoice,
    OutputFolderOption,
    Precision,
    PrecisionOption,
    QuietOption,
    SeedOption,
    StrictOption,
    VocabSizeOption,
    WorkersOption,
)


def pretrain(
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="SRC",
            help="Training data, may be given several times: a table (.csv, .tsv, .jsonl) of pictures and captions, "
            "tar shards, a folder of pictures with .txt files, a class-per-folder tree, or a dataset's name.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ],
    output: OutputFolderOption,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    arch: Annotated[
        str, typer.Option(metavar="NAME", help="Architecture; see coca models list.", rich_help_panel=MODEL_PANEL)
    ] = "coca_tiny",
    set: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Change one number of the architecture, such as vision.patch_size=16; may be given several times.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Start from this model's weights.", rich_help_panel=MODEL_PANEL),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="clip|FILE",
            help="CLIP's, or a sentencepiece model; without it open_clip's architectures take CLIP's, "
            "the others learn one from the captions.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    vocab_size: VocabSizeOption = None,
    steps: Annotated[
        int, typer.Option(min=1, metavar="N", help="Optimiser steps.", rich_help_panel=RECIPE_PANEL)
    ] = 10_000,
    epochs: Annotated[
        float | None,
        typer.Option(
            min=0.0, metavar="N", help="Passes over the data, in place of --steps.", rich_help_panel=RECIPE_PANEL
        ),
    ] = None,
    batch_size: BatchSizeOption = 64,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Peak rate.", rich_help_panel=RECIPE_PANEL)] = 8e-4,
    warmup: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Part of the steps with a rising rate.", rich_help_panel=RECIPE_PANEL),
    ] = 0.02,
    decay: Annotated[
        DecayChoice, typer.Option(help="How the rate falls to zero.", rich_help_panel=RECIPE_PANEL)
    ] = DecayChoice.linear,
    optimizer: Annotated[
        OptimizerChoice, typer.Option(help="Optimiser.", rich_help_panel=RECIPE_PANEL)
    ] = OptimizerChoice.adafactor,
    weight_decay: Annotated[
        float, typer.Option(min=0.0, help="Decoupled weight decay.", rich_help_panel=RECIPE_PANEL)
    ] = 0.01,
    clip: Annotated[
        float, typer.Option(min=0.0, help="Largest gradient norm; 0 clips nothing.", rich_help_panel=RECIPE_PANEL)
    ] = 1.0,
    contrastive_weight: Annotated[
        float,
        typer.Option(
            min=0.0, help="Weight of the contrastive loss, the mean of both directions.", rich_help_panel=RECIPE_PANEL
        ),
    ] = 1.0,
    caption_weight: Annotated[
        float, typer.Option(min=0.0, help="Weight of the captioning loss.", rich_help_panel=RECIPE_PANEL)
    ] = 2.0,
    min_crop: Annotated[
        float,
        typer.Option(
            min=0.01, max=1.0, help="Smallest part of a picture that a random crop keeps.", rich_help_panel=RECIPE_PANEL
        ),
    ] = 0.9,
    flip: Annotated[
        bool,
        typer.Option(
            "--flip",
            help="Mirror half of the pictures; wrong where captions say left or right.",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = False,
    precision: PrecisionOption = Precision.auto,
    device: DeviceOption = Device.auto,
    workers: WorkersOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    strict: StrictOption = False,
    save_every: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Save every N steps; 0 saves at the end.", rich_help_panel=OUTPUT_PANEL),
    ] = 1000,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model that is already there.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Train a CoCa with both losses of the paper: caption weight 2, contrastive weight 1.

    Example: coca pretrain --data 'shards/train-{0000..0099}.tar' --output runs/mine --epochs 30
    """
    from coca_cli.progress import Reporter
    from coca_cli.training.augment import Augmentation
    from coca_cli.training.loop import Recipe
    from coca_cli.training.pretrain_run import PretrainRequest, run_pretrain

    recipe = Recipe(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup=warmup,
        decay=decay,
        optimizer=optimizer,
        weight_decay=weight_decay,
        clip=clip,
        contrastive_weight=contrastive_weight,
        caption_weight=caption_weight,
        precision=precision,
        seed=seed,
    )
    request = PretrainRequest(
        data=data,
        root=data_root,
        output=output,
        architecture=arch,
        changes=set or (),
        init=init,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        recipe=recipe,
        epochs=epochs,
        augmentation=Augmentation(min_area=min_crop, flip=flip),
        save_every=save_every,
        overwrite=overwrite,
        device=device,
        limit=limit,
        workers=workers,
        strict=strict,
    )
    reporter = Reporter(quiet=quiet)
    last = run_pretrain(request, reporter)
    print(f"{output}: {last.step:,} steps, contrastive loss {last.contrastive:.3f}, caption loss {last.caption:.3f}")
    reporter.notice(f"next: coca eval zeroshot -m {output} -d NAME")
