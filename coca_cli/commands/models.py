"""`coca models`: presets and published checkpoints; what is in a checkpoint; to and from open_clip's format."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from coca_cli.options import (
    ImageSizeOption,
    OutputFolderOption,
    PretrainedOption,
)


class CheckpointFormat(StrEnum):
    """Formats of model folders."""

    coca = "coca"
    open_clip = "open_clip"


ModelArgument = Annotated[
    str, typer.Argument(metavar="NAME|DIR", help="An architecture's name, a model folder, or hf-hub:OWNER/NAME.")
]


def list_models() -> None:
    """Architectures that coca pretrain builds, and published CoCa weights."""
    from coca_cli.reports.models import render_architectures

    print(render_architectures(), end="")


def show(model: ModelArgument, pretrained: PretrainedOption = None, image_size: ImageSizeOption = None) -> None:
    """Towers, poolers, parameters, operations per picture and caption, tokenizer, image settings.

    Example: coca models show coca_base
    """
    from coca_cli.model.architectures import architectures
    from coca_cli.model.checkpoint import load
    from coca_cli.model.coca import CoCa
    from coca_cli.reports.models import render_baseline, render_config

    if pretrained is None and model in (known := architectures()):
        config = known[model] if image_size is None else known[model].with_image_size(image_size)
        print(render_config(model, config, None), end="")
        return
    loaded = load(model, pretrained, image_size)
    if isinstance(loaded.model, CoCa):
        print(render_config(loaded.name, loaded.model.config, loaded), end="")
    else:
        print(render_baseline(loaded), end="")


def convert(
    model: ModelArgument,
    output: OutputFolderOption,
    to: Annotated[CheckpointFormat, typer.Option("--to", help="Format of the folder that is written.")],
    pretrained: PretrainedOption = None,
) -> None:
    """Write a checkpoint in another format: config, safetensors weights, tokenizer.

    Example: coca models convert coca_ViT-L-14 --pretrained FILE --to coca -o models/l14
    """
    from coca_cli.errors import BadCheckpoint, CocaError
    from coca_cli.model.checkpoint import load, save_folder
    from coca_cli.model.coca import CoCa
    from coca_cli.model.open_clip_checkpoints import save_open_clip
    from coca_cli.model.tokenizer import ClipTokenizer, SentencePieceTokenizer

    if output.is_dir() and any(output.iterdir()):
        raise CocaError(f"the folder {output} is not empty; choose another --output")
    loaded = load(model, pretrained)
    coca, tokenizer = loaded.model, loaded.tokenizer
    if not isinstance(coca, CoCa) or not isinstance(tokenizer, ClipTokenizer | SentencePieceTokenizer):
        raise BadCheckpoint(f"{loaded.name} is no CoCa; only CoCa checkpoints are converted")
    if to is CheckpointFormat.coca:
        save_folder(output, coca, tokenizer, loaded.name)
    else:
        save_open_clip(output, coca, tokenizer)
    print(output)
    print(f"coca: wrote {loaded.name} ({loaded.checkpoint}) in {to} format", file=sys.stderr)


def interpolate(
    finetuned: Annotated[str, typer.Argument(metavar="FINETUNED", help="A finetuned model's folder.")],
    start: Annotated[str, typer.Argument(metavar="PRETRAINED", help="The model folder that it was finetuned from.")],
    output: OutputFolderOption,
    alpha: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Part of the finetuned model: 1 is that model, 0 the pretrained one."),
    ] = 0.5,
) -> None:
    """Mix a finetuned model with its pretrained one, weight by weight (WiSE-FT), so that zero-shot ability is kept.

    Example: coca models interpolate runs/finetuned runs/base --alpha 0.5 -o runs/mixed
    """
    from coca_cli.model import interpolation

    checkpoint = interpolation.interpolate(finetuned, start, alpha, output)
    print(output)
    print(f"coca: wrote {alpha:g} x {finetuned} + {1 - alpha:g} x {start} ({checkpoint})", file=sys.stderr)
