"""Every option that more than one command has, once: one name, one type, one help text; defaults stand beside them.

A command writes `model: ModelOption = DEFAULT_MODEL`; the law of one option checks that nobody strays.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coca_cli.recipes import read_recipe, recipe_names, recipe_text, to_toml

SOURCE_PANEL = "Model and data"
RUN_PANEL = "How it runs"
OUTPUT_PANEL = "What comes out"
MODEL_PANEL = "Architecture"
RECIPE_PANEL = "Recipe"
DATA_PANEL = "Training data"
EVALUATION_PANEL = "Evaluation while training"


class Precision(StrEnum):
    """Number format of the weights during inference."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class Device(StrEnum):
    """Where the model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class OptimizerChoice(StrEnum):
    """Optimisers."""

    adafactor = "adafactor"
    adamw = "adamw"
    muon = "muon"


class DecayChoice(StrEnum):
    """How the learning rate falls after warm-up."""

    linear = "linear"
    cosine = "cosine"


class Parallel(StrEnum):
    """How several processes share a model in training."""

    ddp = "ddp"
    fsdp = "fsdp"


class CaptionsChoice(StrEnum):
    """Which captions of a picture are searched."""

    all = "all"
    first = "first"


class SamplingChoice(StrEnum):
    """Which frames of a clip are looked at."""

    uniform = "uniform"
    segments = "segments"


class FrameMean(StrEnum):
    """How a clip's frames become one embedding."""

    mean_first = "mean-then-normalise"
    normalise_first = "normalise-then-mean"


class HeadChoice(StrEnum):
    """What is trained on frozen features."""

    attentional = "attentional"
    linear = "linear"
    knn = "knn"


class FeatureChoice(StrEnum):
    """What of the image side a head looks at: tokens, or one vector."""

    patches = "patches"
    generative = "generative"
    embedding = "embedding"
    mean = "mean"


class DecodingMethod(StrEnum):
    """How captions are written."""

    beam = "beam"
    greedy = "greedy"
    sample = "sample"
    open_clip = "open-clip-3.3"


class CaptionFormat(StrEnum):
    """What captions are written as."""

    text = "text"
    jsonl = "jsonl"
    csv = "csv"
    coco = "coco"


class LogChoice(StrEnum):
    """Further logs of a training run."""

    tensorboard = "tensorboard"
    wandb = "wandb"


class OutputFormat(StrEnum):
    """What is printed on stdout."""

    table = "table"
    csv = "csv"
    markdown = "markdown"
    json = "json"


DEFAULT_DATA_ROOT = Path("data")
DEFAULT_RESULTS = Path("results")
DEFAULT_CACHE = Path("~/.cache/coca")

OFFERS: dict[str, Callable[[str], list[str]]] = {}
"""What the shell offers after an option, from what was typed; filled by the app, which may know what there is."""


def offered(option: str) -> Callable[[str], list[str]]:
    """What the shell is to be offered after an option of this kind: model or dataset."""
    return lambda incomplete: OFFERS[option](incomplete) if option in OFFERS else []


ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|DIR",
        help="A folder that coca wrote, open_clip's name (coca_ViT-L-14), or hf-hub:OWNER/NAME (or NAME@REVISION).",
        rich_help_panel=SOURCE_PANEL,
        autocompletion=offered("model"),
    ),
]
PretrainedOption = Annotated[
    str | None,
    typer.Option(
        "--pretrained",
        metavar="TAG|FILE",
        help="Weights for a model named by its architecture: open_clip's tag (downloaded) or a file.",
        rich_help_panel=SOURCE_PANEL,
    ),
]
PathsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH",
        help="Files, folders with all that is below them, globs in quotes; - reads a list from stdin.",
    ),
]
DatasetOption = Annotated[
    str,
    typer.Option(
        "--dataset",
        "-d",
        metavar="NAME",
        help="A dataset's name, or folder:PATH, wds:PATH, captions:FILE, python:FILE.py ... (see coca data list).",
        rich_help_panel=SOURCE_PANEL,
        autocompletion=offered("dataset"),
    ),
]
DataRootOption = Annotated[
    Path,
    typer.Option(
        "--data-root",
        metavar="DIR",
        envvar="COCA_DATA",
        help="The folder that holds the datasets.",
        rich_help_panel=SOURCE_PANEL,
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="NAME",
        help="Which part of the dataset; without it, the part that papers evaluate.",
        rich_help_panel=SOURCE_PANEL,
    ),
]
ImageSizeOption = Annotated[
    int | None,
    typer.Option(
        "--image-size",
        min=1,
        metavar="PIXELS",
        help="Run at another picture size than the checkpoint's; position embeddings are interpolated.",
        rich_help_panel=SOURCE_PANEL,
    ),
]


def _take_recipe(ctx: typer.Context, text: str | None) -> str | None:
    """Let a recipe's values stand where the command line gives none; or show them and leave."""
    if text is None:
        return None
    command = "-".join(ctx.command_path.split()[1:])
    options = {p.name: p for p in ctx.command.params if p.name and p.name not in ("recipe", "help", "verbose")}
    if text == "show":
        shown = {name: p.default for name, p in options.items() if p.default not in (None, [], ()) and not p.required}
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in shown.items()}
        others = f" Others: show:NAME of {', '.join(names)}." if (names := recipe_names(command)) else ""
        typer.echo(f"# The defaults of {ctx.command_path}.{others}")
        typer.echo(to_toml(plain), nl=False)
        raise typer.Exit
    if text.startswith("show:"):
        typer.echo(recipe_text(text.removeprefix("show:"), command), nl=False)
        raise typer.Exit
    ctx.default_map = {**(ctx.default_map or {}), **read_recipe(text, options, command)}
    return text


def source_of(ctx: typer.Context, name: str) -> str:
    """Where a parameter's value comes from: COMMANDLINE, ENVIRONMENT, DEFAULT_MAP (a recipe) or DEFAULT."""
    source = ctx.get_parameter_source(name)
    return source.name if source else "DEFAULT"


RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE|show",
        help="Take the values of a named recipe or of a TOML or YAML file where no option is given; "
        "show prints the defaults, show:NAME a recipe.",
        is_eager=True,
        callback=_take_recipe,
        rich_help_panel=RECIPE_PANEL,
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace what is already there.", rich_help_panel=OUTPUT_PANEL),
]
VocabSizeOption = Annotated[
    int | None,
    typer.Option(
        "--vocab-size",
        min=16,
        metavar="N",
        help="Words of a learned vocabulary; without it the architecture's number, or 64,000. Few captions give fewer.",
        rich_help_panel=MODEL_PANEL,
    ),
]
BatchSizeOption = Annotated[
    int,
    typer.Option("--batch-size", "-b", min=1, help="Examples in one forward pass.", rich_help_panel=RUN_PANEL),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="Weights in this format; auto is bf16 where the hardware runs it well, else fp32.",
        rich_help_panel=RUN_PANEL,
    ),
]
DeviceOption = Annotated[
    Device,
    typer.Option("--device", help="Where the model runs; auto takes a GPU if there is one.", rich_help_panel=RUN_PANEL),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=0,
        help="Threads that decode pictures; without it, as many as fit the machine.",
        rich_help_panel=RUN_PANEL,
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, metavar="N", help="Only the first N examples (smoke mode).", rich_help_panel=RUN_PANEL
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of all randomness.", rich_help_panel=RUN_PANEL)]
StrictOption = Annotated[
    bool,
    typer.Option("--strict", help="Stop at the first example that cannot be read.", rich_help_panel=RUN_PANEL),
]
CacheDirOption = Annotated[
    Path,
    typer.Option(
        "--cache-dir",
        metavar="DIR",
        envvar="COCA_CACHE",
        help="Where embeddings are kept between runs.",
        rich_help_panel=RUN_PANEL,
    ),
]
CacheOption = Annotated[
    bool,
    typer.Option("--cache/--no-cache", help="Reuse what earlier runs computed.", rich_help_panel=RUN_PANEL),
]
FramesOption = Annotated[
    int,
    typer.Option("--frames", min=1, metavar="N", help="Frames of each clip.", rich_help_panel=SOURCE_PANEL),
]
SamplingOption = Annotated[
    SamplingChoice,
    typer.Option(
        "--sampling",
        help="Frames of a clip: uniform from the first to the last, or the middle of equal segments (TSN).",
        rich_help_panel=SOURCE_PANEL,
    ),
]
FrameMeanOption = Annotated[
    FrameMean,
    typer.Option(
        "--frame-mean",
        help="Average the frames' embeddings as they are, or each at unit length; the mean is normalised either way.",
        rich_help_panel=SOURCE_PANEL,
    ),
]
ResultsOption = Annotated[
    Path,
    typer.Option(
        "--results",
        metavar="DIR",
        envvar="COCA_RESULTS",
        help="The store that result rows are appended to.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
FormatOption = Annotated[
    OutputFormat,
    typer.Option("--format", help="What is printed on stdout.", rich_help_panel=OUTPUT_PANEL),
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress and no notices on stderr.", rich_help_panel=OUTPUT_PANEL),
]
PredictionsOption = Annotated[
    Path | None,
    typer.Option(
        "--predictions",
        metavar="FILE",
        help="Write each example's id, label, five best classes and scores; .csv or .jsonl.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
OutputFolderOption = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="DIR", help="The folder to write.", rich_help_panel=OUTPUT_PANEL),
]
