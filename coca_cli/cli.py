"""The app: one line per subcommand. A CocaError becomes one message on stderr and exit code 1."""

from __future__ import annotations

import io
import logging
import math
import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperCommand

from coca_cli.commands import (
    ablate,
    caption,
    data,
    dedup,
    demo,
    doctor,
    embed,
    eval_caption,
    eval_classification,
    eval_retrieval,
    eval_understanding,
    eval_zeroshot,
    finetune,
    finetune_classifier,
    finetune_understanding,
    models,
    pretrain,
    probe,
    report,
    suite,
)
from coca_cli.errors import CocaError
from coca_cli.options import OFFERS
from coca_cli.printable import printable
from coca_cli.redaction import without_secrets
from coca_cli.refusals import explain_refusal
from coca_cli.version import __version__

CONTEXT = {"help_option_names": ["-h", "--help"]}


LOG = logging.getLogger("coca_cli")


def _offer_models(incomplete: str) -> list[str]:
    from coca_cli.completion import offer_models

    return offer_models(incomplete)


def _offer_datasets(incomplete: str) -> list[str]:
    from coca_cli.completion import offer_datasets

    return offer_datasets(incomplete)


KEEPING = ("zeroshot", "retrieval", "caption", "classification", "embed")
"""Commands whose embeddings or captions are kept while they are computed; those that train say so themselves."""

OFFERS.update(model=_offer_models, dataset=_offer_datasets)


class _Discreet(logging.Formatter):
    """What libraries log, without secrets and control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        return printable(without_secrets(super().format(record)))


def _be_verbose(wanted: bool) -> None:
    if wanted:
        handler = logging.StreamHandler()
        handler.setFormatter(_Discreet("%(name)s: %(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[handler])
        LOG.setLevel(logging.DEBUG)


@cache
def _verbose_option() -> Any:
    """An option that every command has, made as typer makes options of a function's parameters."""

    def command(
        verbose: Annotated[
            bool,
            typer.Option(
                "--verbose",
                "-v",
                callback=_be_verbose,
                expose_value=False,
                help="Also what libraries log, and where a refusal comes from.",
            ),
        ] = False,
    ) -> None: ...

    app = typer.Typer(add_completion=False)
    app.command()(command)
    built: Any = typer.main.get_command(app)
    return built.params[0]


class _Command(TyperCommand):
    """A command with --verbose, whose numbers are numbers: the ranges of options let infinity and NaN through."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params.append(_verbose_option())

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        for name, value in ctx.params.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise typer.BadParameter(f"{value} is no finite number", ctx, param_hint=f"--{name.replace('_', '-')}")
            if isinstance(value, int) and abs(value) > sys.maxsize:
                raise typer.BadParameter("too large a number", ctx, param_hint=f"--{name.replace('_', '-')}")
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            speaks = os.environ.get("RANK", "0") == "0" and not ctx.params.get("quiet")
            if speaks and ctx.params.get("cache") and ctx.info_name in KEEPING:
                print("coca: stopped; what was computed is kept, and the same command goes on", file=sys.stderr)
            raise


class _App(typer.Typer):
    def command(self, *arguments: Any, **options: Any) -> Any:
        """As in Typer."""
        return super().command(*arguments, cls=_Command, **options)


app = _App(
    name="coca",
    help="Pretrain CoCa models and evaluate any CoCa checkpoint. Start with: coca demo",
    pretty_exceptions_enable=False,
    add_completion=True,
    no_args_is_help=True,
    context_settings=CONTEXT,
)
eval_app = _App(help="Score a model on a benchmark.", no_args_is_help=True)
data_app = _App(help="Datasets: what exists, and what is made from them.", no_args_is_help=True)
cache_app = _App(help="What earlier runs left for later ones: list, clear.", no_args_is_help=True)
finetune_app = _App(help="Train a model for one task.", no_args_is_help=True)
suite_app = _App(help="Many benchmarks and models in one run that goes on after a stop.", no_args_is_help=True)
models_app = _App(help="Presets and checkpoints: list, look at, convert, mix.", no_args_is_help=True)

BEGIN, TRAIN, MEASURE, USE, KEEP = "Begin", "Train", "Measure", "Use a model", "Data and models"

app.command("demo", rich_help_panel=BEGIN)(demo.demo)
app.command("doctor", rich_help_panel=BEGIN)(doctor.doctor)
app.command("pretrain", rich_help_panel=TRAIN, no_args_is_help=True)(pretrain.pretrain)
app.add_typer(finetune_app, name="finetune", rich_help_panel=TRAIN)
finetune_app.command("caption", no_args_is_help=True)(finetune.caption)
for _task, _function, _data in (
    ("classification", finetune_classifier.classifier, "imagenet"),
    ("video", finetune_classifier.classifier, "kinetics-400"),
    ("vqa", finetune_understanding.understanding, "vqav2"),
    ("snli-ve", finetune_understanding.understanding, "snli-ve"),
    ("nlvr2", finetune_understanding.understanding, "nlvr2"),
):
    _example = (
        f"Example: coca finetune {_task} -m runs/base -d {_data} --data-root /data --recipe paper -o runs/{_task}"
    )
    finetune_app.command(_task, no_args_is_help=True, epilog=_example)(_function)
app.add_typer(eval_app, name="eval", rich_help_panel=MEASURE)
eval_app.command("zeroshot", no_args_is_help=True)(eval_zeroshot.zeroshot)
eval_app.command("retrieval", no_args_is_help=True)(eval_retrieval.retrieval)
eval_app.command("caption", no_args_is_help=True)(eval_caption.caption)
eval_app.command("classification", no_args_is_help=True)(eval_classification.classification)
eval_app.command("understanding", no_args_is_help=True)(eval_understanding.understanding)
app.command("probe", rich_help_panel=TRAIN, no_args_is_help=True)(probe.probe)
app.command("caption", rich_help_panel=USE, no_args_is_help=True)(caption.caption)
app.command("embed", rich_help_panel=USE, no_args_is_help=True)(embed.embed)
app.command("ablate", rich_help_panel=TRAIN)(ablate.ablate)
app.command("report", rich_help_panel=MEASURE)(report.report)
app.add_typer(suite_app, name="suite", rich_help_panel=MEASURE)
suite_app.command("run", no_args_is_help=True)(suite.run)
suite_app.command("list")(suite.list_suites)
suite_app.command("show", no_args_is_help=True)(suite.show)
app.add_typer(data_app, name="data", rich_help_panel=KEEP)
data_app.command("list")(data.list_datasets)
data_app.command("check")(data.check)
data_app.command("tokenizer", no_args_is_help=True)(data.tokenizer)
data_app.command("pack", no_args_is_help=True)(data.pack)
data_app.command("dedup", no_args_is_help=True)(dedup.dedup)
data_app.add_typer(cache_app, name="cache")
cache_app.command("list")(data.list_cache)
cache_app.command("clear")(data.clear_cache)
app.add_typer(models_app, name="models", rich_help_panel=KEEP)
models_app.command("list")(models.list_models)
models_app.command("show", no_args_is_help=True)(models.show)
models_app.command("convert", no_args_is_help=True)(models.convert)
models_app.command("interpolate", no_args_is_help=True)(models.interpolate)


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            import torch

            from coca_cli.model.placement import choose_device

            told = f"torch {torch.__version__}, device {choose_device('auto').type}"
        except (ImportError, OSError) as error:  # of a wheel for another machine
            told = f"torch cannot be loaded ({str(error).strip().splitlines()[0]})"
        typer.echo(f"coca {__version__}, {told}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print versions and the device.",
        ),
    ] = False,
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code; typer itself ends an interrupted command with 130.

    Args:
        argv: The words after `coca`; the process's own without it.

    Raises:
        SystemExit: Always: 0 done, 1 a mistake the user can mend, 2 wrong usage, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without a letter must not lose a table
    try:
        app(args=None if argv is None else list(argv), prog_name="coca")
    except CocaError as error:
        _end(str(error))
    except BrokenPipeError:  # the reader of stdout, such as `head`, has seen enough
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:  # what nobody foresaw: a full disk, a folder that is gone
        _end(explain_refusal(error))
    except MemoryError:
        _end("the memory is full; give a smaller --batch-size, or fewer --workers")


def _end(message: str) -> None:
    if LOG.isEnabledFor(logging.DEBUG):
        print(printable(without_secrets(traceback.format_exc())), end="", file=sys.stderr)
    print(f"coca: {printable(without_secrets(message))}", file=sys.stderr)
    sys.exit(1)
