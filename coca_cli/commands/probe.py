"""`coca probe`: a head on frozen features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coca_cli.errors import CocaError
from coca_cli.options import (
    DEFAULT_CACHE,
    DEFAULT_DATA_ROOT,
    DEFAULT_RESULTS,
    OUTPUT_PANEL,
    RECIPE_PANEL,
    RUN_PANEL,
    BatchSizeOption,
    CacheDirOption,
    CacheOption,
    DataRootOption,
    DatasetOption,
    DecayChoice,
    Device,
    DeviceOption,
    FormatOption,
    FramesOption,
    HeadChoice,
    ImageSizeOption,
    LimitOption,
    ModelOption,
    OptimizerChoice,
    OutputFormat,
    OverwriteOption,
    Precision,
    PrecisionOption,
    PredictionsOption,
    PretrainedOption,
    QuietOption,
    RecipeOption,
    ResultsOption,
    SamplingChoice,
    SamplingOption,
    SeedOption,
    SplitOption,
    StrictOption,
    WorkersOption,
    source_of,
)
from coca_cli.training_options import (
    ClipOption,
    DecayOption,
    EmaOption,
    EpochsOption,
    FeaturesOption,
    FlipOption,
    LabelSmoothingOption,
    MinCropOption,
    OptimizerOption,
    RandAugmentOption,
    StepsOption,
    TimesOption,
    TrainSplitOption,
    TurnOption,
    ValPartOption,
    ValSplitOption,
    WarmupOption,
    check_length,
    parse_rand_augment,
)


def probe(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    *,
    model: ModelOption,
    dataset: DatasetOption,
    pretrained: PretrainedOption = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    split: SplitOption = None,
    train_split: TrainSplitOption = None,
    val_split: ValSplitOption = None,
    val_part: ValPartOption = 0.1,
    frozen: Annotated[
        bool,
        typer.Option(
            "--frozen/--no-frozen",
            help="The encoder stays as it is, or is trained too, as coca finetune does.",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = True,
    encoder_learning_rate: Annotated[
        float,
        typer.Option(min=0.0, help="Peak rate of the encoder with --no-frozen.", rich_help_panel=RECIPE_PANEL),
    ] = 1e-4,
    head: Annotated[
        HeadChoice,
        typer.Option(
            help="attentional is the paper's pooler with one query; linear and knn look at one vector.",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = HeadChoice.attentional,
    features: FeaturesOption = None,
    learning_rates: Annotated[
        str,
        typer.Option(
            metavar="R,R,...",
            help="Peak rates; a head is trained with each, and with each weight decay, side by side.",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = "5e-4,1e-3,2e-3,5e-3",
    weight_decays: Annotated[
        str, typer.Option(metavar="D,D,...", help="Decoupled weight decays.", rich_help_panel=RECIPE_PANEL)
    ] = "0,0.01",
    steps: StepsOption = 2000,
    epochs: EpochsOption = None,
    head_batch_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="Examples in each step of the heads.", rich_help_panel=RECIPE_PANEL)
    ] = 128,
    warmup: WarmupOption = 0.0,
    decay: DecayOption = DecayChoice.cosine,
    optimizer: OptimizerOption = OptimizerChoice.adafactor,
    clip: ClipOption = 1.0,
    ema: EmaOption = 0.999,
    label_smoothing: LabelSmoothingOption = 0.1,
    min_crop: MinCropOption = 1.0,
    flip: FlipOption = False,
    turn: TurnOption = False,
    rand_augment: RandAugmentOption = None,
    shots: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Train on so many examples of each class, and give the mean over several draws.",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, metavar="N", help="Draws of --shots.", rich_help_panel=RECIPE_PANEL)] = 3,
    frames: FramesOption = 16,
    sampling: SamplingOption = SamplingChoice.uniform,
    times: TimesOption = False,
    image_size: ImageSizeOption = None,
    batch_size: BatchSizeOption = 64,
    precision: PrecisionOption = Precision.auto,
    device: DeviceOption = Device.auto,
    workers: WorkersOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    strict: StrictOption = False,
    cache_dir: CacheDirOption = DEFAULT_CACHE,
    cache: CacheOption = True,
    cache_budget: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="GB",
            help="How much new features may take; if they need more they are computed on the fly. Without it half of "
            "what is free.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    classifier_folder: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write the classifier here.", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    overwrite: OverwriteOption = False,
    predictions: PredictionsOption = None,
    results: ResultsOption = DEFAULT_RESULTS,
    format: FormatOption = OutputFormat.table,
    quiet: QuietOption = False,
) -> None:
    """Train a classifier on the frozen encoder: the paper's attentional pooler, a linear one, or nearest neighbours.

    Features are computed once and kept. Example: coca probe -m runs/small -d imagenet --data-root /data -o runs/probe
    """
    from coca_cli.datasets import find_dataset
    from coca_cli.media.video import Sampling
    from coca_cli.model.checkpoint import load
    from coca_cli.model.placement import choose_device, place
    from coca_cli.progress import Reporter
    from coca_cli.reports.tables import render
    from coca_cli.store import Store
    from coca_cli.tasks.media_features import Reading
    from coca_cli.training.augment import Augmentation
    from coca_cli.training.head_sweep import HeadRecipe
    from coca_cli.training.probe_request import ProbeRequest
    from coca_cli.training.probe_run import check_request, run_probe, sweep
    from coca_cli.training.probe_unfrozen import run_unfrozen, unfrozen_request
    from coca_cli.training.rand_augment import RandAugmentStrength
    from coca_cli.world import joined_world, local_device

    store = Store(results)
    request = ProbeRequest(
        dataset=find_dataset(dataset),
        root=data_root,
        train_split=train_split,
        val_split=val_split,
        val_part=val_part,
        test_split=split,
        head=head,
        features=features,
        settings=sweep(_numbers("--learning-rates", learning_rates), _numbers("--weight-decays", weight_decays)),
        recipe=HeadRecipe(
            steps=steps,
            batch_size=head_batch_size,
            warmup=warmup,
            decay=decay,
            optimizer=optimizer,
            clip=clip,
            ema=ema,
            label_smoothing=label_smoothing,
            seed=seed,
        ),
        epochs=check_length(ctx, steps, epochs),
        augmentation=Augmentation(
            min_area=min_crop,
            flip=flip,
            turn=turn,
            rand_augment=RandAugmentStrength(*parse_rand_augment(rand_augment)),
        ),
        cache_budget=None if cache_budget is None else round(cache_budget * 1e9),
        times=times,
        reading=Reading(
            batch_size=batch_size,
            workers=workers,
            cache=cache_dir if cache else None,
            sampling=Sampling(frames, sampling.value),
        ),
        output=classifier_folder,
        overwrite=overwrite,
        predictions=predictions,
        shots=_shots(shots),
        draws=draws,
        limit=limit,
        strict=strict,
    )
    named = (model, pretrained, image_size)
    finetuning = None
    if not frozen:
        rates = "5e-4" if source_of(ctx, "learning_rates") == "DEFAULT" else learning_rates  # the paper's, Table 9
        decays = "0.01" if source_of(ctx, "weight_decays") == "DEFAULT" else weight_decays
        settings = sweep(_numbers("--learning-rates", rates), _numbers("--weight-decays", decays))
        finetuning = unfrozen_request(request, named, encoder_learning_rate, precision, device, settings)
    elif source_of(ctx, "encoder_learning_rate") != "DEFAULT":
        raise CocaError("--encoder-learning-rate is for --no-frozen: a frozen encoder learns nothing")
    parts = check_request(request, store, frozen=frozen)
    where = local_device(choose_device(device))
    with joined_world(where) as world:
        reporter = Reporter(quiet=quiet or not world.first)
        if finetuning is not None:
            rows = run_unfrozen(request, finetuning, parts, store, reporter, world, where)
        else:
            placed = place(load(model, pretrained, image_size), device, precision)
            rows = run_probe(request, parts, placed, named, store, reporter, world)
    if world.first:
        print(render(rows, format), end="")
        if classifier_folder is not None:
            reporter.notice(f"next: coca eval classification -m {classifier_folder} -d NAME")


def _numbers(option: str, text: str) -> list[float]:
    """The numbers of an option, each once.

    Raises:
        CocaError: They are none, or below 0.
    """
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [-1.0]
    if min(found) < 0:
        raise CocaError(f"{option} {text}: give numbers from 0 on with commas between them, such as 5e-4,1e-3")
    return list(dict.fromkeys(found))


def _shots(text: str | None) -> list[int]:
    """The numbers of --shots, each once.

    Raises:
        CocaError: They are none, or below 1.
    """
    if text is None:
        return []
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise CocaError(f"--shots {text}: give whole numbers from 1 on with commas between them, such as 1,2,4")
    return list(dict.fromkeys(int(part) for part in parts))
