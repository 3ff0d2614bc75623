"""The options of every command that trains; `options.py` has all others.

What stands in the panel "Recipe" is the same option everywhere, but each command has its task's own default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coca_cli.errors import CocaError
from coca_cli.options import (
    DATA_PANEL,
    EVALUATION_PANEL,
    MODEL_PANEL,
    OUTPUT_PANEL,
    RECIPE_PANEL,
    RUN_PANEL,
    SOURCE_PANEL,
    DecayChoice,
    FeatureChoice,
    LogChoice,
    OptimizerChoice,
    Parallel,
    source_of,
)

MAX_MAGNITUDE = 30
"""Of RandAugment's operations, in torchvision's 31 steps."""

DataSourcesOption = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="SRC",
        help="Training data, may be given several times: a table (.csv, .tsv, .jsonl, .parquet) of pictures and "
        "captions, COCO or Karpathy JSON, tar shards (also pipe:COMMAND or a URL), a folder of pictures with .txt "
        "files, a class-per-folder tree, or a dataset's name. pairs:SRC and labels:SRC choose what is read.",
        rich_help_panel=DATA_PANEL,
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="W,W,...",
        help="Part of each batch from each --data; without it half pairs and half labels, by size within each.",
        rich_help_panel=DATA_PANEL,
    ),
]
KeepOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--keep",
        metavar="FILE",
        help="Train only on what this list of coca data dedup keeps of its source; may be given several times.",
        rich_help_panel=DATA_PANEL,
    ),
]
ArchOption = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="NAME",
        help="Architecture; see coca models list. Without it coca_tiny.",
        rich_help_panel=MODEL_PANEL,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one number of the architecture, such as vision.patch_size=16; may be given several times.",
        rich_help_panel=MODEL_PANEL,
    ),
]
TokenizerOption = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        metavar="clip|FILE",
        help="CLIP's, or a sentencepiece model; without it open_clip's architectures take CLIP's, "
        "the others learn one from the captions.",
        rich_help_panel=MODEL_PANEL,
    ),
]
FreezeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--freeze",
        metavar="PATTERN",
        help="Leave these weights as they are, such as image or 'text.blocks.[0-5]'; may be given several times.",
        rich_help_panel=MODEL_PANEL,
    ),
]
StepsOption = Annotated[
    int, typer.Option("--steps", min=1, metavar="N", help="Optimiser steps.", rich_help_panel=RECIPE_PANEL)
]
EpochsOption = Annotated[
    float | None,
    typer.Option(
        "--epochs",
        min=0.0,
        metavar="N",
        help="Passes over the data, in place of --steps.",
        rich_help_panel=RECIPE_PANEL,
    ),
]
LearningRateOption = Annotated[
    float, typer.Option("--learning-rate", min=0.0, help="Peak rate.", rich_help_panel=RECIPE_PANEL)
]
WarmupOption = Annotated[
    float,
    typer.Option(
        "--warmup", min=0.0, max=1.0, help="Part of the steps with a rising rate.", rich_help_panel=RECIPE_PANEL
    ),
]
DecayOption = Annotated[
    DecayChoice, typer.Option("--decay", help="How the rate falls to zero.", rich_help_panel=RECIPE_PANEL)
]
OptimizerOption = Annotated[
    OptimizerChoice, typer.Option("--optimizer", help="Optimiser.", rich_help_panel=RECIPE_PANEL)
]
WeightDecayOption = Annotated[
    float, typer.Option("--weight-decay", min=0.0, help="Decoupled weight decay.", rich_help_panel=RECIPE_PANEL)
]
ClipOption = Annotated[
    float, typer.Option("--clip", min=0.0, help="Largest gradient norm; 0 clips nothing.", rich_help_panel=RECIPE_PANEL)
]
EmaOption = Annotated[
    float,
    typer.Option(
        "--ema",
        min=0.0,
        max=0.999999,
        help="Keep a moving average of the weights, this part of it at each step; the model is then the average.",
        rich_help_panel=RECIPE_PANEL,
    ),
]
MinCropOption = Annotated[
    float,
    typer.Option(
        "--min-crop",
        min=0.01,
        max=1.0,
        help="Smallest part of a picture that a random crop keeps.",
        rich_help_panel=RECIPE_PANEL,
    ),
]
WordDropoutOption = Annotated[
    float,
    typer.Option(
        "--word-dropout",
        min=0.0,
        max=0.9,
        help="Part of the words of a text that the model does not get to read, while it learns to write them all.",
        rich_help_panel=RECIPE_PANEL,
    ),
]
RandAugmentOption = Annotated[
    str | None,
    typer.Option(
        "--rand-augment",
        metavar="N,M",
        help="RandAugment: N random operations on each training picture, of magnitude M (0 to 30).",
        rich_help_panel=RECIPE_PANEL,
    ),
]
TrainSplitOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What is trained on; without it train.", rich_help_panel=SOURCE_PANEL),
]
ValSplitOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What settings are chosen on and a model is scored on while it is trained; without it a part of the "
        "training split that is held out.",
        rich_help_panel=SOURCE_PANEL,
    ),
]
ValPartOption = Annotated[
    float,
    typer.Option(min=0.01, max=0.9, help="How much of the training split is held out.", rich_help_panel=SOURCE_PANEL),
]
FeaturesOption = Annotated[
    FeatureChoice | None,
    typer.Option(
        help="patches (the paper's) or generative for attentional; embedding or mean for the others.",
        rich_help_panel=RECIPE_PANEL,
    ),
]
HeadLearningRateOption = Annotated[
    float, typer.Option(min=0.0, help="Peak rate of the new head.", rich_help_panel=RECIPE_PANEL)
]
LabelSmoothingOption = Annotated[
    float,
    typer.Option(min=0.0, max=0.99, help="Part of each target that all classes share.", rich_help_panel=RECIPE_PANEL),
]
TimesOption = Annotated[
    bool,
    typer.Option(
        "--times/--no-times",
        help="Learned positions in time for the frames of clips; without them (the paper) a clip and the same clip "
        "backwards look the same.",
        rich_help_panel=RECIPE_PANEL,
    ),
]
MaskEqualTextsOption = Annotated[
    bool,
    typer.Option(
        "--mask-equal-texts/--no-mask-equal-texts",
        help="Pictures of a batch that have the same text are no negatives of each other in the contrastive loss.",
        rich_help_panel=RECIPE_PANEL,
    ),
]
FlipOption = Annotated[
    bool,
    typer.Option(
        "--flip/--no-flip",
        help="Mirror half of the pictures; wrong where captions say left or right.",
        rich_help_panel=RECIPE_PANEL,
    ),
]
TurnOption = Annotated[
    bool,
    typer.Option(
        "--turn/--no-turn",
        help="Turn pictures by random quarter turns, for views from above.",
        rich_help_panel=RECIPE_PANEL,
    ),
]
AccumulateOption = Annotated[
    int,
    typer.Option(
        "--accumulate",
        min=1,
        metavar="N",
        help="Take each batch through the model in N parts; the losses stay those of the whole batch.",
        rich_help_panel=RUN_PANEL,
    ),
]
CheckpointActivationsOption = Annotated[
    bool,
    typer.Option(
        "--checkpoint-activations",
        help="Compute each layer twice instead of keeping what is inside it.",
        rich_help_panel=RUN_PANEL,
    ),
]
ParallelOption = Annotated[
    Parallel,
    typer.Option(
        "--parallel",
        help="Under torchrun: ddp keeps the whole model on every process, fsdp a part of it.",
        rich_help_panel=RUN_PANEL,
    ),
]
CompileOption = Annotated[
    bool, typer.Option("--compile", help="Compile the model (torch.compile).", rich_help_panel=RUN_PANEL)
]
EvalZeroshotOption = Annotated[
    list[str] | None,
    typer.Option(
        "--eval-zeroshot",
        metavar="NAME",
        help="Classify this dataset while training; may be given several times.",
        rich_help_panel=EVALUATION_PANEL,
    ),
]
EvalRetrievalOption = Annotated[
    list[str] | None,
    typer.Option(
        "--eval-retrieval",
        metavar="NAME",
        help="Retrieval and caption loss on this set of pairs while training; may be given several times.",
        rich_help_panel=EVALUATION_PANEL,
    ),
]
EvalCaptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--eval-caption",
        metavar="NAME",
        help="CIDEr on this set of pairs while training, which then chooses the best model; may be given several "
        "times.",
        rich_help_panel=EVALUATION_PANEL,
    ),
]
EvalEveryOption = Annotated[
    int,
    typer.Option(
        "--eval-every",
        min=0,
        metavar="N",
        help="Evaluate every N steps and at the end; 0 at the end alone.",
        rich_help_panel=EVALUATION_PANEL,
    ),
]
SaveEveryOption = Annotated[
    int,
    typer.Option(
        "--save-every",
        min=0,
        metavar="N",
        help="Save every N steps and at the end; 0 at the end alone.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
KeepCheckpointsOption = Annotated[
    int,
    typer.Option(
        "--keep-checkpoints",
        min=1,
        metavar="N",
        help="Checkpoints to go on from that stay.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
LogOption = Annotated[
    list[LogChoice] | None,
    typer.Option(
        "--log", help="A log besides metrics.jsonl; may be given several times.", rich_help_panel=OUTPUT_PANEL
    ),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Refuse to begin anew. Without it, too, a run goes on in its folder.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print sources, sample pairs, parameters, memory and schedule, and train nothing.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]


def check_length(ctx: typer.Context, steps: int, epochs: float | None) -> float | None:
    """The passes over the data that the user means; None where steps are meant.

    Raises:
        CocaError: One command line, or one recipe, gives both.
    """
    lengths = source_of(ctx, "steps"), source_of(ctx, "epochs")
    if lengths[0] == lengths[1] != "DEFAULT":
        raise CocaError(
            f"both --steps {steps} and --epochs {epochs:g} are given for the length of one run; leave one of them out"
        )
    return None if lengths[0] == "COMMANDLINE" else epochs


def parse_rand_augment(text: str | None) -> tuple[int, int]:
    """Operations and magnitude of `--rand-augment 2,20`; none without it.

    Raises:
        CocaError: They are no such numbers.
    """
    if text is None:
        return 0, 0
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isdecimal() for part in parts) or int(parts[1]) > MAX_MAGNITUDE:
        raise CocaError(
            f"--rand-augment {text}: give the number of operations and their magnitude from 0 to {MAX_MAGNITUDE}, such "
            "as 2,20"
        )
    return int(parts[0]), int(parts[1])


def parse_weights(text: str | None) -> list[float] | None:
    """The numbers of `--weights 8,1`.

    Raises:
        CocaError: They are none.
    """
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise CocaError(f"--weights {text}: give numbers with commas between them, such as 1,1") from None
