"""`coca finetune`: a trained model -> the same model for one task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from coca_cli.errors import CocaError
from coca_cli.options import (
    DEFAULT_DATA_ROOT,
    MODEL_PANEL,
    BatchSizeOption,
    DataRootOption,
    DecayChoice,
    Device,
    DeviceOption,
    ImageSizeOption,
    LimitOption,
    ModelOption,
    OptimizerChoice,
    OutputFolderOption,
    OverwriteOption,
    Parallel,
    Precision,
    PrecisionOption,
    PretrainedOption,
    QuietOption,
    RecipeOption,
    SeedOption,
    StrictOption,
    WorkersOption,
)
from coca_cli.training_options import (
    AccumulateOption,
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
    MinCropOption,
    OptimizerOption,
    ParallelOption,
    ResumeOption,
    SaveEveryOption,
    StepsOption,
    TurnOption,
    WarmupOption,
    WeightDecayOption,
    WeightsOption,
    WordDropoutOption,
    check_length,
    parse_weights,
)


def caption(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    *,
    model: ModelOption,
    data: DataSourcesOption,
    output: OutputFolderOption,
    pretrained: PretrainedOption = None,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch",
            help="Begin with random weights of the architecture that --model names.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = False,
    weights: WeightsOption = None,
    keep: KeepOption = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    image_size: ImageSizeOption = None,
    freeze: FreezeOption = None,
    steps: StepsOption = 10_000,
    epochs: EpochsOption = None,
    batch_size: BatchSizeOption = 64,
    learning_rate: LearningRateOption = 1e-5,
    warmup: WarmupOption = 0.02,
    decay: DecayOption = DecayChoice.cosine,
    optimizer: OptimizerOption = OptimizerChoice.adafactor,
    weight_decay: WeightDecayOption = 0.1,
    clip: ClipOption = 1.0,
    ema: EmaOption = 0.0,
    word_dropout: WordDropoutOption = 0.0,
    min_crop: MinCropOption = 1.0,
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
    eval_caption: EvalCaptionOption = None,
    eval_zeroshot: EvalZeroshotOption = None,
    eval_retrieval: EvalRetrievalOption = None,
    eval_every: EvalEveryOption = 0,
    save_every: SaveEveryOption = 1000,
    keep_checkpoints: KeepCheckpointsOption = 1,
    log: LogOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train the captioning loss alone, from a trained model; sets are scored before and after.

    The paper's settings: --recipe paper (COCO), paper-nocaps. A run that was stopped goes on with the same
    command. Example: coca finetune caption -m runs/mine --data pairs:coco --eval-caption captions:val.json -o runs/cap
    """
    from coca_cli.progress import Reporter
    from coca_cli.training.augment import Augmentation
    from coca_cli.training.pretrain_request import PretrainRequest
    from coca_cli.training.pretrain_run import plan_pretrain, run_pretrain
    from coca_cli.training.retention import changes_table, score_changes
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
        contrastive_weight=0.0,
        caption_weight=1.0,
        precision=precision,
        ema=ema,
        word_dropout=word_dropout,
        seed=seed,
    )
    request = PretrainRequest(
        data=data,
        shares=parse_weights(weights),
        keep=keep or (),
        root=data_root,
        output=output,
        image_size=image_size,
        recipe=numbers,
        epochs=check_length(ctx, steps, epochs),
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
        eval_first=True,
        logs=log or (),
        overwrite=overwrite,
        resume=resume,
        device=device,
        limit=limit,
        workers=workers,
        strict=strict,
    )
    request = replace(request, **_start(model, pretrained, from_scratch=from_scratch))
    reporter = Reporter(quiet=quiet)
    if dry_run:
        print(plan_pretrain(request), end="")
        return
    trained = run_pretrain(request, reporter)
    if trained is None:
        return
    unreadable = f"; {trained.unreadable}" if trained.unreadable else ""
    print(f"{output}: {trained.last.step:,} steps, caption loss {trained.last.parts['caption']:.3f}{unreadable}")
    if changes := score_changes(output):
        print(changes_table(changes), end="")
    reporter.notice(f"next: coca eval caption -m {output} -d NAME")


def _start(model: str, pretrained: str | None, *, from_scratch: bool) -> dict[str, Any]:
    """Where the weights come from: never silently from nowhere, as captions are all alike then.

    Raises:
        CocaError: The model has no weights and the user did not ask for random ones, or has some and the user did.
    """
    from coca_cli.model.architectures import architectures

    folder = Path(model).expanduser().is_dir()
    if from_scratch and (folder or pretrained is not None):
        raise CocaError(f"--from-scratch begins with random weights, but {pretrained or model} has some; leave one out")
    if from_scratch:
        return {"architecture": model}
    if not folder and model in architectures() and pretrained is None:
        raise CocaError(
            f"{model} is an architecture, and its weights would be random: give a trained model's folder, or "
            "--pretrained with a tag or file, or say --from-scratch"
        )
    return {"model": model, "pretrained": pretrained}
