"""Gradients of one batch, computed by one process and by several: what the processes run, importable by them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from coca_cli.model.coca import CoCa
from coca_cli.options import Parallel
from coca_cli.training.distributed import average_whole_gradients, parallelise
from coca_cli.training.objective import Objective, Part, Weights, backward, pack_texts
from coca_cli.training.optim import clip_gradients, freeze_contrastive
from coca_cli.world import SINGLE, World, joined_world
from tests.tasks.tiny import LetterTokenizer, tiny_coca

TEXTS = ("a cat", "the dog", "fox", "b", "quick brown", "xy", "", "over the lazy dog")
ALL_WAYS = ("ddp-1", "ddp-2", "fsdp-1", "fsdp-2")
CPU = torch.device("cpu")


def parts_of(model: CoCa, rows: slice, count: int, *, equal: bool = False) -> list[Part]:
    """The rows of the batch, in so many parts; with `equal`, two pairs of its texts count as equal."""
    pixels = torch.randint(0, 256, (8, 3, 16, 16), generator=torch.Generator().manual_seed(7), dtype=torch.uint8)[rows]
    tokens = LetterTokenizer().encode(TEXTS)[rows]
    ids = torch.tensor([0, 1, 2, 3, 4, 0, 6, 1])[rows]  # across all parts and processes
    size = len(tokens) // count
    cut = (torch.split(whole, size) for whole in (pixels, tokens, ids))
    return [Part(p, pack_texts(model, t), known if equal else None) for p, t, known in zip(*cut, strict=True)]


def gradients_alone() -> dict[str, Tensor]:
    """Losses, norm and gradients of one process with the whole batch."""
    return _both_gradients(Parallel.ddp, SINGLE, 1)


def captions_alone() -> dict[str, Tensor]:
    """Losses and weights after steps on captions alone, by one process with the whole batch."""
    return _steps_on_captions(Parallel.ddp, SINGLE, 1)


@contextmanager
def one_of(rank: int, size: int, folder: str) -> Iterator[World]:
    """This process as one of several, which meet by the name of their folder."""
    torch.set_num_threads(1)
    rendezvous = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _port(folder)}
    os.environ.update({name: str(value) for name, value in rendezvous.items()})
    with joined_world(CPU) as world:
        yield world


def computed_together(rank: int, size: int, folder: str) -> None:
    """What `gradients_alone` and `captions_alone` compute, in every way of sharing, into two files per way."""
    with one_of(rank, size, folder) as world:
        for way in ALL_WAYS:
            how, parts = way.split("-")
            found = _both_gradients(Parallel(how), world, int(parts))
            torch.save(found, Path(folder) / f"{way}-{rank}.pt")
            steps = _steps_on_captions(Parallel(how), world, int(parts))
            torch.save(steps, Path(folder) / f"captions-{way}-{rank}.pt")


def _steps_on_captions(how: Parallel, world: World, count: int) -> dict[str, Tensor]:
    model = tiny_coca().train()
    freeze_contrastive(model)
    objective = parallelise(Objective(model), model.layers, how, world, CPU)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    rows = len(TEXTS) // world.size
    parts = parts_of(model, slice(world.rank * rows, (world.rank + 1) * rows), count)
    found: dict[str, Tensor] = {}
    for step in range(3):
        optimizer.zero_grad()
        losses = backward(objective, parts, model.pad_id, Weights(0, 1), world)
        average_whole_gradients(model, how, world)
        clip_gradients(model, 1.0)
        optimizer.step()
        found |= {f"{name} loss at step {step}": torch.tensor(value) for name, value in losses._asdict().items()}
    for name, parameter in model.named_parameters():
        found[name] = (parameter.full_tensor() if isinstance(parameter, DTensor) else parameter).detach().clone()
    return found


def _both_gradients(how: Parallel, world: World, count: int) -> dict[str, Tensor]:
    """With all others as negatives, and with equal texts left out of them."""
    plain, masked = (_gradients(tiny_coca().train(), how, world, count, equal=equal) for equal in (False, True))
    return plain | {f"{name}, equal texts left out": value for name, value in masked.items()}


def _gradients(model: CoCa, how: Parallel, world: World, count: int, *, equal: bool) -> dict[str, Tensor]:
    objective = parallelise(Objective(model), model.layers, how, world, CPU)
    rows = len(TEXTS) // world.size
    parts = parts_of(model, slice(world.rank * rows, (world.rank + 1) * rows), count, equal=equal)
    losses = backward(objective, parts, model.pad_id, Weights(), world)
    average_whole_gradients(model, how, world)
    found = {f"loss {name}": torch.tensor(value) for name, value in losses._asdict().items()}
    found["norm"] = clip_gradients(model, 0)
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        assert gradient is not None, name
        whole = gradient.full_tensor() if isinstance(gradient, DTensor) else gradient
        found[f"gradient {name}"] = whole.detach().clone()
    return found


def _port(folder: str) -> int:
    return 20000 + hash_of(folder) % 20000


def hash_of(text: str) -> int:
    """The same in every process, unlike hash()."""
    return sum(ord(letter) * 31**place for place, letter in enumerate(text))
