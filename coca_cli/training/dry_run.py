"""What a run would do: `coca pretrain ... --dry-run`."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from io import BytesIO, TextIOWrapper

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from coca_cli.options import Parallel
from coca_cli.training.memory import Memory, estimate_memory
from coca_cli.training.mixture import Draw, Feed
from coca_cli.training.objective import pack_texts
from coca_cli.training.optim import learning_rate_at
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.pretrain_setup import Prepared
from coca_cli.world import World

SAMPLES = 5
WIDTH = 100
"""Columns where there is no terminal."""
TEXTS_MEASURED = 512
MIB, GIB = 2**20, 2**30


def describe_plan(request: PretrainRequest, prepared: Prepared, world: World) -> str:
    """Sources with sample pairs, model, memory and schedule, as text for stdout: of its width and in its encoding.

    Args:
        request: What the user asked.
        prepared: What became of it.
        world: The processes.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    written = BytesIO()
    file = TextIOWrapper(written, encoding, errors="backslashreplace", newline="\n")  # rich draws what it can show
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    console = Console(file=file, width=width, highlight=False)
    console.print(_sources(prepared))
    for feed in prepared.mixture.feeds:
        console.print(_samples(feed, width // 2))
    console.print(_model(request, prepared, world))
    console.print(_schedule(request, prepared, world))
    file.flush()
    return "\n".join(line.rstrip() for line in written.getvalue().decode(encoding).splitlines()) + "\n"


def _sources(prepared: Prepared) -> Table:
    table = Table(
        "source", "kind", "pictures", "left out", "of each batch", "passes", title="Data", title_justify="left"
    )
    recipe, mixture = prepared.recipe, prepared.mixture
    for feed, share in zip(mixture.feeds, mixture.shares, strict=True):
        drawn = share * recipe.steps * recipe.batch_size
        table.add_row(
            escape(feed.source.name),
            "pairs" if feed.source.kind == "pairs" else "labels as text",
            "streamed" if feed.size is None else f"{feed.size:,}",
            f"{feed.left_out:,}",
            f"{share:.1%}",
            "?" if feed.size is None else f"{drawn / feed.size:.1f}",
        )
    return table


def _samples(feed: Feed, width: int) -> Table:
    title = f"The first pairs of {escape(feed.source.name)}"
    table = Table(Column("picture", no_wrap=True), "text", title=title, title_justify="left")
    for draw in _first(feed):
        table.add_row(escape(_end_of(draw.example.id, width)), escape(draw.caption))
    return table


def _end_of(path: str, width: int) -> str:
    """The path, cut at its beginning where it is wider: the file's name says most."""
    if cell_len(path) <= width:
        return path
    end = path[-width:]
    while cell_len(end) > width - 3:
        end = end[1:]
    return f"...{end}"


def _first(feed: Feed) -> list[Draw]:
    return [feed.draw(number) for number in range(min(SAMPLES, feed.size or SAMPLES))]


def _model(request: PretrainRequest, prepared: Prepared, world: World) -> Table:
    model = prepared.model
    table = Table("part", "size", title="Model and memory of one process", title_justify="left", show_header=False)
    total = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    table.add_row("architecture", escape(request.start))
    table.add_row("parameters", f"{total:,}" + (f", {trained:,} of them trained" if trained < total else ""))
    config = model.config
    table.add_row("pictures", f"{config.image.size} px, patches of {config.vision.patch_size}")
    table.add_row("texts", f"{config.text.vocab_size:,} words, {config.text.context} positions")
    memory = _memory(request, prepared, world)
    for name in ("weights", "gradients", "optimizer", "activations", "logits"):
        table.add_row(name, _in_words(getattr(memory, name)))
    table.add_row("memory together", f"{_in_words(memory.total)} (estimate)")
    return table


def _in_words(size: int) -> str:
    return f"{size / GIB:,.2f} GiB" if size >= GIB else f"{size / MIB:,.1f} MiB"


def _memory(request: PretrainRequest, prepared: Prepared, world: World) -> Memory:
    """With the texts of the first batch."""
    rows = prepared.recipe.batch_size // world.size // request.accumulate
    first = replace(prepared.mixture, taken=[], batches=0).next_batch(min(rows, TEXTS_MEASURED))
    captions = [row.draw().caption for row in first]
    typical = [captions[i % len(captions)] for i in range(rows)]
    return estimate_memory(
        prepared.model,
        pack_texts(prepared.model, prepared.tokenizer.encode(typical)),
        prepared.recipe.optimizer,
        pictures=rows,
        mixed=prepared.recipe.precision == "bf16",
        average=bool(prepared.recipe.ema),
        checkpointed=request.checkpoint_activations,
        shards=world.size if request.parallel is Parallel.fsdp else 1,
    )


def _schedule(request: PretrainRequest, prepared: Prepared, world: World) -> Table:
    recipe = prepared.recipe
    table = Table("what", "how", title="Schedule", title_justify="left", show_header=False)
    parts = f", {request.accumulate} parts each" if request.accumulate > 1 else ""
    shared = f", {world.size} processes ({request.parallel})" if world.size > 1 else ""
    table.add_row("steps", f"{recipe.steps:,} of {recipe.batch_size} pairs{shared}{parts}")
    table.add_row("optimiser", f"{recipe.optimizer}, weight decay {recipe.weight_decay:g}, clip {recipe.clip:g}")
    table.add_row("precision", recipe.precision)
    table.add_row("losses", f"{recipe.contrastive_weight:g} contrastive + {recipe.caption_weight:g} caption")
    warmup = round(recipe.warmup * recipe.steps)
    marks = sorted({0, warmup, recipe.steps // 2, recipe.steps - 1})
    for step in marks:
        rate = learning_rate_at(step, steps=recipe.steps, warmup=warmup, peak=recipe.learning_rate, decay=recipe.decay)
        table.add_row(f"rate at step {step + 1:,}", f"{rate:.2e}")
    every = f"every {request.save_every:,} steps and at the end" if request.save_every else "at the end"
    table.add_row("saved", f"{every}, in {escape(str(request.output))}")
    sets = [*request.eval_caption, *request.eval_zeroshot, *request.eval_retrieval]
    if sets:
        every = f"every {request.eval_every:,} steps and at the end" if request.eval_every else "at the end"
        every = f"before the first step, {every}" if request.eval_first else every
        table.add_row("evaluated", f"{every}: {escape(', '.join(sets))}")
    return table
