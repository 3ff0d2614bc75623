"""`coca pretrain`: image-text pairs and labelled pictures -> CoCa weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coca_cli.errors import CocaError
from coca_cli.options import (
    DATA_PANEL,
    DEFAULT_DATA_ROOT,
    EVALUATION_PANEL,
    MODEL_PANEL,
    OUTPUT_PANEL,
    RECIPE_PANEL,
    RUN_PANEL,
    BatchSizeOption,
    DataRootOption,
    DecayChoice,
    Device,
    DeviceOption,
    ImageSizeOption,
    LimitOption,
    LogChoice,
    OptimizerChoice,
    OutputFolderOption,
    OverwriteOption,
    Parallel,
    Precision,
    PrecisionOption,
    QuietOption,
    RecipeOption,
    SeedOption,
    StrictOption,
    VocabSizeOption,
    WorkersOption,
    source_of,
)
from coca_cli.recipes import merge_changes

if TYPE_CHECKING:
    from coca_cli.training.pretrain_request import PretrainRequest

ARCHITECTURE = {"arch": "architecture", "set": "changes", "tokenizer": "tokenizer", "vocab_size": "vocab_size"}
"""Options that a model to start from leaves no room for, with their fields in the request."""


def pretrain(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    *,
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="SRC",
            help="Training data, may be given several times: a table (.csv, .tsv, .jsonl, .parquet) of pictures and "
            "captions, COCO or Karpathy JSON, tar shards (also pipe:COMMAND or a URL), a folder of pictures with .txt "
            "files, a class-per-folder tree, or a dataset's name. pairs:SRC and labels:SRC choose what is read.",
            rich_help_panel=DATA_PANEL,
        ),
    ],
    output: OutputFolderOption,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="W,W,...",
            help="Part of each batch from each --data; without it half pairs and half labels, by size within each.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    keep: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Train only on what this list of coca data dedup keeps of its source; may be given several times.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    arch: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Architecture; see coca models list. Without it coca_tiny.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
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
    image_size: ImageSizeOption = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Leave these weights as they are, such as image or 'text.blocks.[0-5]'; may be given several times.",
            rich_help_panel=MODEL_PANEL,
        ),
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
    ema: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=0.999999,
            help="Keep a moving average of the weights, this part of it at each step; the model is then the average.",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = 0.0,
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
            "--flip/--no-flip",
            help="Mirror half of the pictures; wrong where captions say left or right.",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = False,
    turn: Annotated[
        bool,
        typer.Option(
            "--turn/--no-turn",
            help="Turn pictures by random quarter turns, for views from above.",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = False,
    accumulate: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Take each batch through the model in N parts; the losses stay those of the whole batch.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = 1,
    checkpoint_activations: Annotated[
        bool,
        typer.Option(
            "--checkpoint-activations",
            help="Compute each layer twice instead of keeping what is inside it.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = False,
    parallel: Annotated[
        Parallel,
        typer.Option(
            help="Under torchrun: ddp keeps the whole model on every process, fsdp a part of it.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = Parallel.ddp,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the model (torch.compile).", rich_help_panel=RUN_PANEL)
    ] = False,
    precision: PrecisionOption = Precision.auto,
    device: DeviceOption = Device.auto,
    workers: WorkersOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    strict: StrictOption = False,
    eval_zeroshot: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Classify this dataset while training; may be given several times.",
            rich_help_panel=EVALUATION_PANEL,
        ),
    ] = None,
    eval_retrieval: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Retrieval and caption loss on this set of pairs while training; may be given several times.",
            rich_help_panel=EVALUATION_PANEL,
        ),
    ] = None,
    eval_every: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Evaluate every N steps and at the end; 0 at the end alone.",
            rich_help_panel=EVALUATION_PANEL,
        ),
    ] = 0,
    save_every: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Save every N steps and at the end; 0 at the end alone.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = 1000,
    keep_checkpoints: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Checkpoints to go on from that stay.", rich_help_panel=OUTPUT_PANEL),
    ] = 1,
    log: Annotated[
        list[LogChoice] | None,
        typer.Option(help="A log besides metrics.jsonl; may be given several times.", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Refuse to begin anew. Without it, too, a run goes on in its folder.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    overwrite: OverwriteOption = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print sources, sample pairs, parameters, memory and schedule, and train nothing.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Train a CoCa with both losses of the paper: caption weight 2, contrastive weight 1.

    A run that was stopped goes on with the same command. Several processes: torchrun ... -m coca_cli pretrain ...

    Example: coca pretrain --data 'shards/train-{0000..0099}.tar' --output runs/mine --epochs 30
    """
    from coca_cli.progress import Reporter
    from coca_cli.training.augment import Augmentation
    from coca_cli.training.loop import Recipe
    from coca_cli.training.pretrain_request import PretrainRequest
    from coca_cli.training.pretrain_run import plan_pretrain, run_pretrain

    numbers = Recipe(
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
        ema=ema,
        seed=seed,
    )
    request = PretrainRequest(
        data=data,
        shares=_parse_weights(weights),
        keep=keep or (),
        root=data_root,
        output=output,
        architecture=arch,
        changes=set or (),
        init=init,
        image_size=image_size,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        recipe=numbers,
        epochs=epochs,
        freeze=freeze or (),
        augmentation=Augmentation(min_area=min_crop, flip=flip, turn=turn),
        accumulate=accumulate,
        parallel=parallel,
        checkpoint_activations=checkpoint_activations,
        compile=compile,
        save_every=save_every,
        keep_checkpoints=keep_checkpoints,
        eval_zeroshot=eval_zeroshot or (),
        eval_retrieval=eval_retrieval or (),
        eval_every=eval_every,
        logs=log or (),
        overwrite=overwrite,
        resume=resume,
        device=device,
        limit=limit,
        workers=workers,
        strict=strict,
    )
    request = _beside_recipe(ctx, request)
    reporter = Reporter(quiet=quiet)
    if dry_run:
        print(plan_pretrain(request), end="")
        return
    trained = run_pretrain(request, reporter)
    if trained is None:
        return
    last, unreadable = trained.last, f"; {trained.unreadable}" if trained.unreadable else ""
    losses = f"contrastive loss {last.contrastive:.3f}, caption loss {last.caption:.3f}"
    print(f"{output}: {last.step:,} steps, {losses}{unreadable}")
    reporter.notice(f"next: coca eval zeroshot -m {output} -d NAME")


def _beside_recipe(ctx: typer.Context, request: PretrainRequest) -> PretrainRequest:
    """The request where the command line and a recipe speak of the same thing: the command line's word holds."""
    from dataclasses import replace

    lengths = source_of(ctx, "steps"), source_of(ctx, "epochs")
    if lengths[0] == lengths[1] != "DEFAULT":
        raise CocaError(
            f"both --steps {request.recipe.steps} and --epochs {request.epochs:g} are given for the length of one run; "
            "leave one of them out"
        )
    if lengths[0] == "COMMANDLINE":
        request = replace(request, epochs=None)
    if source_of(ctx, "init") == "COMMANDLINE":
        aside = [name for name in ARCHITECTURE if source_of(ctx, name) == "DEFAULT_MAP"]
        empty: dict[str, Any] = {ARCHITECTURE[name]: () if name == "set" else None for name in aside}
        flags = tuple(f"--{name.replace('_', '-')}" for name in aside)
        return replace(request, left_aside=flags, **empty)
    if source_of(ctx, "set") == "COMMANDLINE":
        recipe = (ctx.default_map or {}).get("set", ())
        request = replace(request, changes=merge_changes(recipe, request.changes))
    return request


def _parse_weights(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise CocaError(f"--weights {text}: give numbers with commas between them, such as 1,1") from None
