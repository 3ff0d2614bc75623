"""`coca ablate`: the paper's Table 8 at any scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coca_cli.options import (
    DEFAULT_DATA_ROOT,
    EVALUATION_PANEL,
    OUTPUT_PANEL,
    RECIPE_PANEL,
    RUN_PANEL,
    BatchSizeOption,
    DataRootOption,
    DecayChoice,
    Device,
    DeviceOption,
    FormatOption,
    ImageSizeOption,
    LimitOption,
    OptimizerChoice,
    OutputFolderOption,
    OutputFormat,
    OverwriteOption,
    Parallel,
    Precision,
    PrecisionOption,
    QuietOption,
    SeedOption,
    VocabSizeOption,
    WorkersOption,
    source_of,
)
from coca_cli.recipes import merge_changes, read_recipe, recipe_names, recipe_text
from coca_cli.training_options import (
    AccumulateOption,
    ArchOption,
    CheckpointActivationsOption,
    ClipOption,
    CompileOption,
    DataSourcesOption,
    DecayOption,
    FlipOption,
    HeadLearningRateOption,
    LearningRateOption,
    MaskEqualTextsOption,
    MinCropOption,
    OptimizerOption,
    ParallelOption,
    SaveEveryOption,
    SetOption,
    StepsOption,
    TokenizerOption,
    WarmupOption,
    WeightDecayOption,
    WeightsOption,
    parse_weights,
)

if TYPE_CHECKING:
    from coca_cli.training.pretrain_request import PretrainRequest

COMMAND = "ablate"


def _take_preset(ctx: typer.Context, text: str) -> str:
    """Let a preset's values stand where the command line gives none; or show it and leave."""
    if text.startswith("show:"):
        typer.echo(recipe_text(text.removeprefix("show:"), COMMAND), nl=False)
        raise typer.Exit
    options = {p.name: p for p in ctx.command.params if p.name and p.name not in ("preset", "tables", "help")}
    ctx.default_map = {**(ctx.default_map or {}), **read_recipe(text, options, COMMAND)}
    return text


def ablate(
    ctx: typer.Context,
    tables: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TABLE]...",
            help="pretraining, objectives, ratio, layers, cls, poolers, or 8a to 8f; without one all of them.",
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help=f"Data, architecture, budget and measures where no option is given: {', '.join(recipe_names(COMMAND))}"
            ", or a TOML or YAML file; show:NAME prints one.",
            is_eager=True,
            callback=_take_preset,
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = "tiny",
    *,
    data: DataSourcesOption,
    output: OutputFolderOption,
    weights: WeightsOption = None,
    data_root: DataRootOption = DEFAULT_DATA_ROOT,
    arch: ArchOption = None,
    set: SetOption = None,
    image_size: ImageSizeOption = None,
    tokenizer: TokenizerOption = None,
    vocab_size: VocabSizeOption = None,
    seeds: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Runs of each variant, from --seed on.", rich_help_panel=RECIPE_PANEL),
    ] = 3,
    steps: StepsOption = 10_000,
    batch_size: BatchSizeOption = 64,
    learning_rate: LearningRateOption = 8e-4,
    warmup: WarmupOption = 0.02,
    decay: DecayOption = DecayChoice.linear,
    optimizer: OptimizerOption = OptimizerChoice.adafactor,
    weight_decay: WeightDecayOption = 0.01,
    clip: ClipOption = 1.0,
    mask_equal_texts: MaskEqualTextsOption = False,
    min_crop: MinCropOption = 0.9,
    flip: FlipOption = False,
    measures: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND:DATASET",
            help="zeroshot, retrieval, probe (attentional), linear or questions (a frozen model with a new head) on a "
            "dataset; may be given several times, and then every table shows all of them.",
            rich_help_panel=EVALUATION_PANEL,
        ),
    ] = None,
    head_steps: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Steps of the heads on frozen models.", rich_help_panel=EVALUATION_PANEL),
    ] = 1000,
    head_batch_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="Examples in each step of the heads.", rich_help_panel=RECIPE_PANEL)
    ] = 128,
    head_learning_rate: HeadLearningRateOption = 1e-3,
    accumulate: AccumulateOption = 1,
    checkpoint_activations: CheckpointActivationsOption = False,
    parallel: ParallelOption = Parallel.ddp,
    compile: CompileOption = False,
    precision: PrecisionOption = Precision.auto,
    device: DeviceOption = Device.auto,
    workers: WorkersOption = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Models trained at a time, each on its part of the cores.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = 1,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    save_every: SaveEveryOption = 1000,
    overwrite: OverwriteOption = False,
    plan_only: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the plan with the time it takes, and run nothing.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False,
    format: FormatOption = OutputFormat.table,
    quiet: QuietOption = False,
) -> None:
    """Train the variants of the paper's Table 8 with one budget and several seeds, and print them beside the paper's.

    What is finished is kept: the same command goes on after a stop. Example: coca ablate objectives --preset tiny
    """
    from coca_cli.progress import Reporter
    from coca_cli.reports.ablation_table import render_ablation
    from coca_cli.training.ablation_dry_run import plan_ablation
    from coca_cli.training.ablation_request import AblationRequest, HeadNumbers, parse_measures
    from coca_cli.training.ablation_run import run_ablation
    from coca_cli.training.augment import Augmentation
    from coca_cli.training.pretrain_request import PretrainRequest
    from coca_cli.training.schedule import Recipe

    base = PretrainRequest(
        data=data,
        shares=parse_weights(weights),
        root=data_root,
        output=output,
        architecture=arch,
        changes=set or (),
        image_size=image_size,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        recipe=Recipe(
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            warmup=warmup,
            decay=decay,
            optimizer=optimizer,
            weight_decay=weight_decay,
            clip=clip,
            mask_equal_texts=mask_equal_texts,
            precision=precision,
            seed=seed,
        ),
        augmentation=Augmentation(min_area=min_crop, flip=flip),
        accumulate=accumulate,
        checkpoint_activations=checkpoint_activations,
        parallel=parallel,
        compile=compile,
        save_every=save_every,
        overwrite=overwrite,
        device=device,
        limit=limit,
        workers=workers,
    )
    request = AblationRequest(
        tables=tables or (),
        base=_beside_preset(ctx, base),
        seeds=seeds,
        measures=parse_measures(measures or ()),
        everywhere=source_of(ctx, "measures") == "COMMANDLINE",
        heads=HeadNumbers(head_steps, head_batch_size, head_learning_rate),
        jobs=jobs,
    )
    if plan_only:
        print(plan_ablation(request), end="")
        return
    found = run_ablation(request, Reporter(quiet=quiet))
    if found:
        print(render_ablation(found, format), end="")


def _beside_preset(ctx: typer.Context, base: PretrainRequest) -> PretrainRequest:
    """The base where the command line and a preset speak of the same thing.

    The preset's changes of the architecture stay but for those of keys that the command line names; its weights belong
    to its own data.
    """
    from dataclasses import replace

    if source_of(ctx, "data") == "COMMANDLINE" and source_of(ctx, "weights") == "DEFAULT_MAP":
        base = replace(base, shares=None)
    if source_of(ctx, "set") != "COMMANDLINE":
        return base
    preset = (ctx.default_map or {}).get("set", ())
    return replace(base, changes=merge_changes(preset, base.changes))
