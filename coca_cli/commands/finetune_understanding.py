"""`coca finetune vqa`, `snli-ve` and `nlvr2`: a trained model -> one that answers questions or judges statements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coca_cli.errors import CocaError
from coca_cli.options import (
    DEFAULT_DATA_ROOT,
    MODEL_PANEL,
    RECIPE_PANEL,
    SOURCE_PANEL,
    BatchSizeOption,
    DataRootOption,
    DatasetOption,
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
    DecayOption,
    EmaOption,
    EpochsOption,
    EvalEveryOption,
    FreezeOption,
    HeadLearningRateOption,
    KeepCheckpointsOption,
    LearningRateOption,
    LogOption,
    OptimizerOption,
    ParallelOption,
    RandAugmentOption,
    ResumeOption,
    SaveEveryOption,
    StepsOption,
    TrainSplitOption,
    ValPartOption,
    ValSplitOption,
    WarmupOption,
    WeightDecayOption,
    check_length,
    parse_rand_augment,
)

TASKS = {"vqa": "questions", "snli-ve": "entailment", "nlvr2": "reasoning"}


def understanding(
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
    answer_list: Annotated[
        str,
        typer.Option(
            metavar="N|FILE",
            help="What a classifier of open questions knows: the N most frequent training answers, or those of a text "
            "file, one a line.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = "3129",
    image_size: ImageSizeOption = None,
    whole_pictures: Annotated[
        bool,
        typer.Option(
            "--whole-pictures/--centre-crops",
            help="Squash pictures to the model's square, so that nothing at their edges is lost, or cut out its "
            "centre; the model that is written keeps to it.",
            rich_help_panel=SOURCE_PANEL,
        ),
    ] = True,
    only_head: Annotated[
        bool,
        typer.Option(
            "--frozen",
            help="Train the pooler and the classifier alone; the model stays as it is.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = False,
    freeze: FreezeOption = None,
    steps: StepsOption = 10_000,
    epochs: EpochsOption = None,
    batch_size: BatchSizeOption = 64,
    learning_rate: LearningRateOption = 2e-5,
    head_learning_rate: HeadLearningRateOption = 5e-4,
    generative_weight: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Weight of the captioning loss on question and answer; without it 1 for vqa, and 0 for statements and "
            "with --frozen.",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    warmup: WarmupOption = 0.01,
    decay: DecayOption = DecayChoice.cosine,
    optimizer: OptimizerOption = OptimizerChoice.adafactor,
    weight_decay: WeightDecayOption = 0.1,
    clip: ClipOption = 1.0,
    ema: EmaOption = 0.0,
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
    """Train the model with a new pooler on its decoder, for questions or statements about pictures.

    The folder that is written is a model that answers. RandAugment leaves colours and sides alone here. A run that was
    stopped goes on with the same command.
    """
    from coca_cli.datasets import find_dataset
    from coca_cli.datasets.held_out import share_examples
    from coca_cli.model.understanding_folder import load_understanding
    from coca_cli.progress import Reporter
    from coca_cli.training.augment import Augmentation
    from coca_cli.training.rand_augment import RandAugmentStrength
    from coca_cli.training.understanding_request import UnderstandingRequest, UnderstandingSchedule
    from coca_cli.training.understanding_run import run_understanding

    chosen, task = find_dataset(dataset), TASKS[str(ctx.info_name)]
    if chosen.task != task:
        other = next((name for name, kind in TASKS.items() if kind == chosen.task), None)
        advice = f"use coca finetune {other}" if other else "it asks nothing about its pictures; see coca data list"
        raise CocaError(f"{dataset} is for {chosen.task}, and coca finetune {ctx.info_name} for {task}: {advice}")
    request = UnderstandingRequest(
        dataset=chosen,
        root=data_root,
        train_split=train_split,
        val_split=val_split,
        val_part=val_part,
        model=model,
        pretrained=pretrained,
        image_size=image_size,
        whole_pictures=whole_pictures,
        answers=_answer_list(answer_list),
        frozen=only_head,
        schedule=UnderstandingSchedule(
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            head_learning_rate=head_learning_rate,
            generative_weight=_generative_weight(generative_weight, task, frozen=only_head),
            warmup=warmup,
            decay=decay,
            optimizer=optimizer,
            weight_decay=weight_decay,
            clip=clip,
            precision=precision,
            ema=ema,
            seed=seed,
        ),
        epochs=check_length(ctx, steps, epochs),
        freeze=freeze or (),
        augmentation=Augmentation(
            min_area=1.0, rand_augment=RandAugmentStrength(*parse_rand_augment(rand_augment)), keep_colours=True
        ),
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
    trained = run_understanding(request, reporter)
    if trained is None:
        return
    last, unreadable = trained.last, f"; {trained.unreadable}" if trained.unreadable else ""
    print(f"{output}: {last.step:,} steps, loss {last.loss:.3f}{unreadable}")
    trained_split = load_understanding(output).described.split
    fresh = next((split for split in chosen.splits if not share_examples(chosen, split, trained_split)), None)
    if fresh is not None:
        where = f" --data-root {data_root}" if data_root != DEFAULT_DATA_ROOT else ""
        part = f" --split {fresh}" if fresh != chosen.splits[0] else ""
        reporter.notice(f"next: coca eval understanding -m {output} -d {dataset}{part}{where}")


def _answer_list(text: str) -> int | Path:
    """A number of answers, or a file of them.

    Raises:
        CocaError: Fewer than two.
    """
    if not text.isdecimal():
        return Path(text).expanduser()
    if int(text) < 2:
        raise CocaError(f"--answer-list {text}: a classifier needs two answers at least; the paper's has 3129")
    return int(text)


def _generative_weight(given: float | None, task: str, *, frozen: bool) -> float:
    """The weight that the user gave, or the usual one.

    Raises:
        CocaError: It is given where there is nothing to write, or nothing that could learn to.
    """
    if given and task != "questions":
        raise CocaError(f"--generative-weight {given:g} is for questions, whose answers are texts; leave it out here")
    if given and frozen:
        raise CocaError(f"--generative-weight {given:g} trains the decoder, and --frozen leaves it alone; choose one")
    usual = 1.0 if task == "questions" and not frozen else 0.0
    return usual if given is None else given
