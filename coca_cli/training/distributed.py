"""Several processes as one: started by torchrun, joined by torch.distributed (gloo on CPUs, nccl on GPUs)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from coca_cli.errors import CocaError
from coca_cli.model.coca import CoCa
from coca_cli.options import Parallel

WAIT = timedelta(hours=2)
"""How long the others wait while one process evaluates or writes."""


@dataclass(frozen=True, slots=True)
class World:
    """The processes that train together.

    Attributes:
        rank: Which of them this is.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0


SINGLE = World()


@contextmanager
def joined_world(device: torch.device) -> Iterator[World]:
    """The world that torchrun describes in the environment, or one process alone.

    Args:
        device: Where this process computes, from which the backend follows.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 and "RANK" not in os.environ:
        yield SINGLE
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=WAIT)
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """This process's own GPU, where torchrun started several on one machine."""
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    return device


def parallelise(objective: nn.Module, model: CoCa, how: Parallel, world: World, device: torch.device) -> nn.Module:
    """The objective as all processes compute it together.

    Args:
        objective: Holds the model.
        model: The model in it; with fsdp its parameters become shards in place, layer by layer.
        how: ddp keeps all weights on every process, fsdp a part on each.
        world: The processes.
        device: Where this process computes.

    Raises:
        CocaError: fsdp without torchrun.
    """
    if how is Parallel.fsdp:
        if not dist.is_initialized():
            raise CocaError("--parallel fsdp shares the model among processes: start them with torchrun")
        mesh = init_device_mesh(device.type, (world.size,))
        for layer in [*model.image.vit.blocks, *model.text.blocks, *model.decoder.layers]:
            fully_shard(layer, mesh=mesh)
        fully_shard(objective, mesh=mesh, ignored_params=set(whole_parameters(model)))
        return objective
    if world.size == 1:
        return objective
    devices = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(objective, device_ids=devices, gradient_as_bucket_view=True)


def whole_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Single numbers, such as the temperature: they cannot be cut into shards."""
    return [parameter for parameter in model.parameters() if parameter.ndim == 0]


def average_whole_gradients(model: nn.Module, how: Parallel, world: World) -> None:
    """Average over the processes what fsdp leaves alone."""
    if how is Parallel.fsdp:
        for parameter in whole_parameters(model):
            if parameter.grad is not None:
                parameter.grad.div_(world.size)
                dist.all_reduce(parameter.grad)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, world: World) -> Tensor:
        ctx.world, ctx.rows = world, len(x)
        parts = [torch.empty_like(x) for _ in range(world.size)]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        start = ctx.world.rank * ctx.rows
        return total[start : start + ctx.rows], None


def gather_rows(x: Tensor, world: World) -> Tensor:
    """The rows (B, D) of all processes in the order of their ranks, (world B, D); gradients find their way back."""
    if world.size == 1:
        return x
    gathered: Tensor = _Gather.apply(x, world)
    return gathered


def sum_over(values: Tensor, world: World) -> Tensor:
    """The sum over all processes, in place."""
    if world.size > 1:
        dist.all_reduce(values)
    return values


def gather_texts(texts: list[str], world: World) -> list[str]:
    """The texts of all processes in the order of their ranks."""
    return [text for part in gather_all(texts, world) for text in part]


def gather_all(value: Any, world: World) -> list[Any]:
    """What each process has, in the order of their ranks."""
    if world.size == 1:
        return [value]
    found: list[Any] = [None] * world.size
    dist.all_gather_object(found, value)
    return found


def tell_all(value: Any, world: World) -> Any:
    """What the first process has, on every process."""
    if world.size == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def wait_for_all(world: World) -> None:
    """Go on when every process is here."""
    if world.size > 1:
        dist.barrier()
