"""`coca finetune classification` and `coca finetune video`: a trained model -> a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coca_cli.errors import CocaError
from coca_cli.options import (
    DEFAULT_DATA_ROOT,
    RECIPE_PANEL,
    BatchSizeOption,
    DataRootOption,
    DatasetOption,
    DecayChoice,
    Device,
    DeviceOption,
    FeatureChoice,
    FramesOption,
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
    SamplingChoice,
    SamplingOption,
    SeedOption,
    StrictOption,
    WorkersOption,
)
from coca_cli.training_options import (
    AccumulateOption,
    CheckpointActivationsOption,
    ClipOption,
    CompileOption,
    DecayOption,
    EmaOption,
    EpochsOption,
    EvalEveryOption,
    FeaturesOption,
    FlipOption,
    FreezeOption,
    HeadLearningRateOption,
    KeepCheckpointsOption,
    LabelSmoothingOption,
    LearningRateOption,
    LogOption,
    MinCropOption,
    OptimizerOption,
    ParallelOption,
    RandAugmentOption,
    ResumeOption,
    SaveEveryOption,
    StepsOption,
    TimesOption,
    TrainSplitOption,
    TurnOption,
    ValPartOption,
    ValSplitOption,
    WarmupOption,
    WeightDecayOption,
    check_length,
    parse_rand_augment,
)


def classifier(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    *,
    model: ModelOption,
    dataset: DatasetOption,
    output: OutputFolderOption,
    pretrained: PretrainedOption = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    train_split: TrainSplitOption = None,
    val_split: ValSplitOption = None,
    val_part: ValPartOption = 0.1,
    init_head: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Begin with the head of a classifier that coca probe wrote, not with random weights.",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    features: FeaturesOption = None,
    frames: FramesOption = 16,
    sampling: SamplingOption = SamplingChoice.uniform,
    times: TimesOption = False,
    image_size: ImageSizeOption = None,
    freeze: FreezeOption = None,
    steps: StepsOption = 10_000,
    epochs: EpochsOption = None,
    batch_size: BatchSizeOption = 64,
    learning_rate: LearningRateOption = 1e-4,
    head_learning_rate: HeadLearningRateOption = 5e-4,
    layer_decay: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=1.0,
            help="Each layer of the encoder learns so many times as fast as the one after it.",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = 1.0,
    drop_path: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=0.9,
            help="Part of the residual branches left out at random in the last layer, fewer before it.",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = 0.0,
    warmup: WarmupOption = 0.0,
    decay: DecayOption = DecayChoice.cosine,
    optimizer: OptimizerOption = OptimizerChoice.adafactor,
    weight_decay: WeightDecayOption = 0.01,
    clip: ClipOption = 1.0,
    ema: EmaOption = 0.999,
    label_smoothing: LabelSmoothingOption = 0.1,
    min_crop: MinCropOption = 1.0,
    flip: FlipOption = False,
    turn: TurnOption = False,
    rand_augment: RandAugmentOption = None,
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
    eval_every: EvalEveryOption = 0,
    save_every: SaveEveryOption = 1000,
    keep_checkpoints: KeepCheckpointsOption = 1,
    log: LogOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train the encoder with a new attentional pooler on top, for the classes of a dataset.

    The folder that is written is a model and a classifier. A run that was stopped goes on with the same command.
    """
    from coca_cli.datasets import find_dataset
    from coca_cli.media.video import Sampling
    from coca_cli.progress import Reporter
    from coca_cli.tasks.media_features import Reading
    from coca_cli.training.augment import Augmentation
    from coca_cli.training.classifier_request import ClassifierRequest, ClassifierSchedule
    from coca_cli.training.classifier_run import run_finetune
    from coca_cli.training.rand_augment import RandAugmentStrength

    chosen = find_dataset(dataset)
    clips = ctx.info_name == "video"
    if (chosen.media == "video") != clips:
        kind, other = ("clips", "video") if chosen.media == "video" else ("pictures", "classification")
        raise CocaError(f"{dataset} has {kind}: use coca finetune {other}")
    request = ClassifierRequest(
        dataset=chosen,
        root=data_root,
        train_split=train_split,
        val_split=val_split,
        val_part=val_part,
        model=model,
        pretrained=pretrained,
        image_size=image_size,
        head=init_head,
        features=_tokens(features),
        schedule=ClassifierSchedule(
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            head_learning_rate=head_learning_rate,
            layer_decay=layer_decay,
            drop_path=drop_path,
            warmup=warmup,
            decay=decay,
            optimizer=optimizer,
            weight_decay=weight_decay,
            clip=clip,
            precision=precision,
            ema=ema,
            label_smoothing=label_smoothing,
            seed=seed,
        ),
        epochs=check_length(ctx, steps, epochs),
        freeze=freeze or (),
        augmentation=Augmentation(
            min_area=min_crop,
            flip=flip,
            turn=turn,
            rand_augment=RandAugmentStrength(*parse_rand_augment(rand_augment)),
        ),
        times=times,
        reading=Reading(batch_size=batch_size, workers=workers, sampling=Sampling(frames, sampling.value)),
        output=output,
        accumulate=accumulate,
        parallel=parallel,
        checkpoint_activations=checkpoint_activations,
        compile=compile,
        save_every=save_every,
        keep_checkpoints=keep_checkpoints,
        eval_every=eval_every,
        logs=log or (),
        overwrite=overwrite,
        resume=resume,
        device=device,
        limit=limit,
        workers=workers,
        strict=strict,
    )
    reporter = Reporter(quiet=quiet)
    trained = run_finetune(request, reporter)
    if trained is None:
        return
    last, unreadable = trained.last, f"; {trained.unreadable}" if trained.unreadable else ""
    print(f"{output}: {last.step:,} steps, loss {last.loss:.3f}{unreadable}")
    reporter.notice(f"next: coca eval classification -m {output} -d {dataset}")


def _tokens(features: FeatureChoice | None) -> FeatureChoice:
    """What the head looks at.

    Raises:
        CocaError: One vector, which needs no pooler.
    """
    if features in (FeatureChoice.embedding, FeatureChoice.mean):
        raise CocaError(f"--features {features.value} is one vector: finetuning looks at patches or generative")
    return features or FeatureChoice.patches
