"""The commands' straight path for Python and notebooks: load a model, evaluate it, get a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from coca_cli.commands.task_commands import build_commands
from coca_cli.errors import CocaError, MissingFile, UnknownName
from coca_cli.media.images import ImageSettings
from coca_cli.model.baselines import Baseline
from coca_cli.model.loaded import Loaded
from coca_cli.model.placement import choose_device, place
from coca_cli.model.tokenizer import OpenClipTokenizer
from coca_cli.model.weights import hash_weights
from coca_cli.progress import Reporter
from coca_cli.registry import unknown_name
from coca_cli.reports.tables import frame
from coca_cli.store import Store
from coca_cli.suites.candidates import Bound, Candidate, Kind, describe_candidate, load_candidate
from coca_cli.suites.command_options import read_benchmarks
from coca_cli.suites.suite_files import TASKS, Entry
from coca_cli.suites.work import WORKS
from coca_cli.world import joined_world, local_device

WRAPPED = "wrapped"
"""In the place of a stamp of files, of which a wrapped network has none."""
OF_THE_MODEL = ("image_size", "precision", "device")
"""Options of the commands that `load` takes here."""


def load(
    model: str | Path,
    pretrained: str | Path | None = None,
    *,
    image_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Bound:
    """A model where it runs, ready for `evaluate`; its network is `.placed.model`.

    Args:
        model: What `--model` takes: a folder, open_clip's name, or hf-hub:OWNER/NAME.
        pretrained: What `--pretrained` takes: a tag, which is downloaded, or a file.
        image_size: Pixels; another size than the checkpoint's interpolates its positions.
        device: auto, cpu, cuda or mps.
        precision: auto, fp32, bf16 or fp16.

    Raises:
        UnknownName: No such architecture or tag.
        MissingFile: No such folder or file.
        BadCheckpoint: It is damaged, unsafe or does not fit.
        CocaError: The device or the format is not to be had.
    """
    candidate = describe_candidate(str(model) if pretrained is None else f"{model},{pretrained}")
    if candidate.classifier is not None and image_size is not None:
        raise CocaError(f"{model} is a classifier, which has its own picture size: leave out image_size")
    local_device(choose_device(device))
    bound = load_candidate(candidate, image_size, device, precision)
    if candidate.kind is not Kind.hub:
        return bound
    kind = Kind.open_clip if isinstance(bound.placed.model, Baseline) else Kind.coca
    return bound._replace(candidate=replace(candidate, kind=kind))


def wrap(
    model: nn.Module,
    tokenize: Callable[[list[str]], Tensor],
    *,
    image: ImageSettings,
    name: str,
    device: str = "auto",
    precision: str = "fp32",
) -> Bound:
    """A network of your own as a baseline, for the tasks zeroshot and retrieval.

    What it gives is not kept between runs: its weights tell one network from another, its code does not.

    Args:
        model: With `encode_image`, (B, 3, H, W) -> (B, D), and `encode_text`, (B, T) -> (B, D); lengths do not
            matter. It is the network itself that is moved and cast, no copy.
        tokenize: Texts -> (B, T) int64.
        image: How pictures become its input.
        name: What result rows call it.
        device: auto, cpu, cuda or mps.
        precision: auto, fp32, bf16 or fp16.

    Raises:
        CocaError: The device or the format is not to be had.
    """
    identity = hash_weights(dict(model.state_dict()))
    local_device(choose_device(device))
    loaded = Loaded(Baseline(model), OpenClipTokenizer(tokenize), image, name, identity)
    candidate = Candidate(
        text=name, model=name, pretrained=None, kind=Kind.open_clip, name=name, config=None, stamp=WRAPPED
    )
    return Bound(candidate, place(loaded, device, precision), identity)


def evaluate(
    model: Bound,
    task: str,
    dataset: str,
    *,
    data_root: str | Path | None = None,
    results: str | Path | None = None,
    cache_dir: str | Path | None = None,
    cache: bool = True,
    quiet: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """What `coca eval TASK` measures, or `coca probe`, with the same defaults, checks and rows.

    Args:
        model: From `load` or `wrap`.
        task: zeroshot, retrieval, caption, probe, classification or understanding.
        dataset: What `--dataset` takes.
        data_root: The folder that holds the datasets; None for the command's default, as for the next two.
        results: The store that rows are appended to.
        cache_dir: Where embeddings are kept between runs.
        cache: Whether they are kept.
        quiet: No progress and no notices.
        options: Further options of the command, such as `limit=100`, but for those that name a file of one run.

    Returns:
        A row for each number, with the columns of `results.csv`; none on other processes than the first.

    Raises:
        UnknownName: No such task, dataset or option.
        MissingFile: The data are not there.
        CocaError: The model cannot do it, or an option is refused.
    """
    if task not in TASKS:
        raise UnknownName(unknown_name("task", task, TASKS))
    for name in OF_THE_MODEL:
        if name in options:
            raise CocaError(f"evaluate() takes no {name}: a model has it from load({name}=...)")
    given = {name: _plain(value) for name, value in options.items() if value is not None}
    entry = Entry(where="evaluate()", task=task, dataset=dataset, options=given)
    wrapped = model.candidate.stamp == WRAPPED
    folders = {"data_root": data_root, "results": results, "cache_dir": cache_dir}
    of_the_run = {name: Path(folder) for name, folder in folders.items() if folder is not None}
    benchmark = read_benchmarks([entry], build_commands(), {}, {**of_the_run, "cache": cache and not wrapped})[0]
    if benchmark.missing:
        raise MissingFile(benchmark.missing)
    store = Store(benchmark.values["results"])
    work = WORKS[task](benchmark)
    if not work.suits(model.candidate.kind):
        raise CocaError(f"{model.candidate.name} is {model.candidate.kind}, and the task {task} needs {work.needs}")
    if refusal := work.refusal(model.candidate, store):
        raise CocaError(refusal)
    with joined_world(local_device(model.placed.device)) as world:
        scored = work.run(model, store, Reporter(quiet=quiet or not world.first), world)
    return frame(scored.rows)


def _plain(value: Any) -> Any:
    """A path as text, NumPy's numbers as Python's."""
    if isinstance(value, Path):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value
