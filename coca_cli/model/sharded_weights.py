"""Tensors in shards on disk: each process writes its own safetensors, and any number of processes reads them again."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch.distributed as dist
from safetensors import safe_open
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from coca_cli.errors import BadCheckpoint
from coca_cli.model.coca import CoCa
from coca_cli.model.config import CoCaConfig

SHARDS = "shard-*.safetensors"
MODEL = "model."
AVERAGE = "ema."
"""What the names of the trained weights, and of their moving average, begin with."""


def write_shards(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Write this process's part of the tensors; all processes call this.

    Args:
        folder: It exists.
        tensors: By name; shared ones as DTensor.

    Raises:
        Exception: Whatever the file system or torch raises.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
        save(tensors, storage_writer=writer, no_dist=not dist.is_initialized())


def read_shards(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Fill tensors in place with what `write_shards` wrote, on any number of processes.

    Args:
        folder: With shards.
        tensors: By name, of the right shapes.

    Raises:
        BadCheckpoint: They are damaged or of another model.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            reader = HuggingFaceStorageReader(str(folder))
            load(tensors, storage_reader=reader, no_dist=not dist.is_initialized())
    except (Exception, CheckpointException) as error:  # torch, safetensors and json raise a dozen kinds
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise BadCheckpoint(
            f"the checkpoint {folder} cannot be read ({lines[-1]}): it is damaged or of another model. "
            "Remove it to go on from an earlier one"
        ) from None


def read_sharded_weights(folder: Path, config: CoCaConfig) -> dict[str, Tensor]:
    """The whole weights of a training checkpoint on the CPU: the moving average where there is one.

    Args:
        folder: With shards.
        config: From its config.json.

    Raises:
        BadCheckpoint: They are damaged or of another model.
    """
    prefix = AVERAGE if any(_names_begin(path, AVERAGE) for path in folder.glob(SHARDS)) else MODEL
    weights = {f"{prefix}{name}": p.detach() for name, p in CoCa(config).named_parameters()}
    read_shards(folder, weights)
    return {name.removeprefix(prefix): weight for name, weight in weights.items()}


def _names_begin(path: Path, prefix: str) -> bool:
    try:
        with safe_open(path, framework="pt") as shard:
            return any(name.startswith(prefix) for name in shard.keys())  # noqa: SIM118
    except Exception as error:
        raise BadCheckpoint(f"{path} is damaged ({error}): copy the checkpoint again") from None
