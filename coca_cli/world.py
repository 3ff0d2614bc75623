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

from coca_cli.errors import CocaError

WAIT = timedelta(hours=2)
"""How long the others wait while one process evaluates or writes."""


_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out waiting", "gloo/transport")
"""What gloo says in a plain RuntimeError where another process is gone."""


@dataclass(frozen=True, slots=True)
class World:
    """The processes that work together.

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

    Within a block that has joined already it is that world: a second one would look for the others where the first one
    found them.

    Args:
        device: Where this process computes, from which the backend follows.

    Raises:
        CocaError: Another process has died, or cannot be reached any more.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 and "RANK" not in os.environ:
        yield SINGLE
        return
    if dist.is_initialized():
        yield World(dist.get_rank(), dist.get_world_size())
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=WAIT)
    try:
        yield World(dist.get_rank(), dist.get_world_size())
        dist.barrier()  # none closes its connections while another still reads from them
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and not any(sign in str(error) for sign in _LOST):
            raise
        raise CocaError(
            f"process {os.environ.get('RANK', '0')} of {size} has lost another one, which has died or cannot be "
            f"reached: look what it says, or whether the system ended it for its memory ({_last_line(error)}). Run the "
            "same command again: it goes on from the last checkpoint"
        ) from None
    finally:
        dist.destroy_process_group()


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][-160:]


def local_device(device: torch.device) -> torch.device:
    """This process's own GPU, where torchrun started several on one machine."""
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    return device


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
