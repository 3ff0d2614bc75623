"""Training by several processes: who holds which weights, and what they tell each other in every step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from coca_cli.errors import CocaError
from coca_cli.options import Parallel
from coca_cli.world import World, gather_all


def parallelise(
    objective: nn.Module, layers: Iterable[nn.Module], how: Parallel, world: World, device: torch.device
) -> nn.Module:
    """The objective as all processes compute it together.

    Args:
        objective: Holds the model.
        layers: The layers of the model in it; with fsdp their parameters become shards in place, layer by layer.
        how: ddp keeps all weights on every process, fsdp a part on each.
        world: The processes.
        device: Where this process computes.

    Raises:
        CocaError: fsdp without torchrun.
    """
    if how is Parallel.fsdp:
        check_parallel(how)
        mesh = init_device_mesh(device.type, (world.size,))
        for layer in layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(objective, mesh=mesh, ignored_params=set(whole_parameters(objective)))
        return objective
    if world.size == 1:
        return objective
    devices = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(objective, device_ids=devices, gradient_as_bucket_view=True)


def check_parallel(how: Parallel) -> None:
    """See that there are processes to share the model among.

    Raises:
        CocaError: fsdp without torchrun.
    """
    if how is Parallel.fsdp and not dist.is_initialized():
        raise CocaError("--parallel fsdp shares the model among processes: start them with torchrun")


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


def gather_ids(ids: Tensor, world: World) -> Tensor:
    """The numbers (B,) of all processes in the order of their ranks, (world B,)."""
    if world.size == 1:
        return ids
    parts = [torch.empty_like(ids) for _ in range(world.size)]
    dist.all_gather(parts, ids.contiguous())
    return torch.cat(parts)


def sum_over(values: Tensor, world: World) -> Tensor:
    """The sum over all processes, in place."""
    if world.size > 1:
        dist.all_reduce(values)
    return values


def gather_texts(texts: list[str], world: World) -> list[str]:
    """The texts of all processes in the order of their ranks."""
    return [text for part in gather_all(texts, world) for text in part]
