"""`coca pretrain`: image-text pairs and labelled pictures -> CoCa weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coca_cli.options import (
    DEFAULT_DATA_ROOT,
    MODEL_PANEL,
    RECIPE_PANEL,
    BatchSizeOption,
    DataRootOption,
    DecayChoice,
    Device,
    DeviceOption,
    ImageSizeOption,
    LimitOption,
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
from coca_cli.training_options import (
    AccumulateOption,
    ArchOption,
    CheckpointActivationsOption,
    ClipOption,
    CompileOption,
    DataSourcesOption,
    DecayOption,
    DryRunOption,
    EmaOption,
    EpochsOption,
    EvalCaptionOption,
    EvalEveryOption,
    EvalRetrievalOption,
    EvalZeroshotOption,
    FlipOption,
    FreezeOption,
    KeepCheckpointsOption,
    KeepOption,
    LearningRateOption,
    LogOption,
    MaskEqualTextsOption,
    MinCropOption,
    OptimizerOption,
    ParallelOption,
    ResumeOption,
    SaveEveryOption,
    SetOption,
    StepsOption,
    TokenizerOption,
    TurnOption,
    WarmupOption,
    WeightDecayOption,
    WeightsOption,
    WordDropoutOption,
    check_length,
    parse_weights,
)

if TYPE_CHECKING:
    from coca_cli.training.pretrain_request import PretrainRequest

ARCHITECTURE = {"arch": "architecture", "set": "changes", "tokenizer": "tokenizer", "vocab_size": "vocab_size"}
"""Options that a model to start from leaves no room for, with their fields in the request."""


def pretrain(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    *,
    data: DataSourcesOption,
    output: OutputFolderOption,
    weights: WeightsOption = None,
    keep: KeepOption = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    arch: ArchOption = None,
    set: SetOption = None,
    init: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Start from this model's weights.", rich_help_panel=MODEL_PANEL),
    ] = None,
    image_size: ImageSizeOption = None,
    freeze: FreezeOption = None,
    tokenizer: TokenizerOption = None,
    vocab_size: VocabSizeOption = None,
    steps: StepsOption = 10_000,
    epochs: EpochsOption = None,
    batch_size: BatchSizeOption = 64,
    learning_rate: LearningRateOption = 8e-4,
    warmup: WarmupOption = 0.02,
    decay: DecayOption = DecayChoice.linear,
    optimizer: OptimizerOption = OptimizerChoice.adafactor,
    weight_decay: WeightDecayOption = 0.01,
    clip: ClipOption = 1.0,
    ema: EmaOption = 0.0,
    word_dropout: WordDropoutOption = 0.0,
    mask_equal_texts: MaskEqualTextsOption = False,
    contrastive_weight: Annotated[
        float,
        typer.Option(
            min=0.0, help="Weight of the contrastive loss, the mean of both directions.", rich_help_panel=RECIPE_PANEL
        ),
    ] = 1.0,
    caption_weight: Annotated[
        float, typer.Option(min=0.0, help="Weight of the captioning loss.", rich_help_panel=RECIPE_PANEL)
    ] = 2.0,
    min_crop: MinCropOption = 0.9,
    flip: FlipOption = False,
    turn: TurnOption = False,
    accumulate: AccumulateOption = 1,
    checkpoint_activations: CheckpointActivationsOption = False,
    parallel: ParallelOption = Parallel.ddp,
    compile: CompileOption = False,
    precision: PrecisionOption = Precision.auto,
    device: DeviceOption = Device.auto,
    workers: WorkersOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    strict: StrictOption = False,
    eval_zeroshot: EvalZeroshotOption = None,
    eval_retrieval: EvalRetrievalOption = None,
    eval_caption: EvalCaptionOption = None,
    eval_every: EvalEveryOption = 0,
    save_every: SaveEveryOption = 1000,
    keep_checkpoints: KeepCheckpointsOption = 1,
    log: LogOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a CoCa with both losses of the paper: caption weight 2, contrastive weight 1.

    A run that was stopped goes on with the same command. Several processes: torchrun ... -m coca_cli pretrain ...

    Example: coca pretrain --data 'shards/train-{0000..0099}.tar' --output runs/mine --epochs 30
    """
    from coca_cli.progress import Reporter
    from coca_cli.training.augment import Augmentation
    from coca_cli.training.pretrain_request import PretrainRequest
    from coca_cli.training.pretrain_run import plan_pretrain, run_pretrain
    from coca_cli.training.schedule import Recipe

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
        word_dropout=word_dropout,
        mask_equal_texts=mask_equal_texts,
        seed=seed,
    )
    request = PretrainRequest(
        data=data,
        shares=parse_weights(weights),
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
        eval_caption=eval_caption or (),
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
    named = [name for name in ("contrastive", "caption") if name in last.parts]
    losses = ", ".join(f"{name} loss {last.parts[name]:.3f}" for name in named)
    print(f"{output}: {last.step:,} steps, {losses}{unreadable}")
    reporter.notice(f"next: coca eval zeroshot -m {output} -d NAME")


def _beside_recipe(ctx: typer.Context, request: PretrainRequest) -> PretrainRequest:
    """The request where the command line and a recipe speak of the same thing: the command line's word holds."""
    from dataclasses import replace

    request = replace(request, epochs=check_length(ctx, request.recipe.steps, request.epochs))
    if source_of(ctx, "init") == "COMMANDLINE":
        aside = [name for name in ARCHITECTURE if source_of(ctx, name) == "DEFAULT_MAP"]
        empty: dict[str, Any] = {ARCHITECTURE[name]: () if name == "set" else None for name in aside}
        flags = tuple(f"--{name.replace('_', '-')}" for name in aside)
        return replace(request, left_aside=flags, **empty)
    if source_of(ctx, "set") == "COMMANDLINE":
        recipe = (ctx.default_map or {}).get("set", ())
        request = replace(request, changes=merge_changes(recipe, request.changes))
    return request
