"""Where a model runs and in which number format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from coca_cli.errors import CocaError
from coca_cli.media.images import ImageSettings
from coca_cli.model.baselines import Baseline
from coca_cli.model.coca import CoCa
from coca_cli.model.loaded import Loaded
from coca_cli.model.packed_linear import pack_linears
from coca_cli.model.tokenizer import TextEncoder

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Origin(NamedTuple):
    """Where a number comes from, as result rows name it.

    Attributes:
        name: The model, or the file.
        checkpoint: Short hash of its weights, or of its content.
        device: Where it ran; empty for a file.
        precision: In which number format; empty for a file.
        folder: Where the model lies, if it is a folder.
    """

    name: str
    checkpoint: str
    device: str = ""
    precision: str = ""
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """A model where it runs.

    Attributes:
        model: A CoCa or a baseline, in evaluation mode.
        tokenizer: The tokenizer that is bound to it.
        image: How pictures become its input.
        name: What result rows call it.
        checkpoint: Short hash of its weights.
        device: Where it is.
        precision: fp32, bf16 or fp16.
        folder: Where it lies, if it is a folder.
    """

    model: CoCa | Baseline
    tokenizer: TextEncoder
    image: ImageSettings
    name: str
    checkpoint: str
    device: torch.device
    precision: str
    folder: str = ""

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        return DTYPES[self.precision]

    @property
    def origin(self) -> Origin:
        """What result rows say of it."""
        return Origin(self.name, self.checkpoint, self.device.type, self.precision, self.folder)


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        CocaError: It is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        there = ", ".join(device for device, is_there in available.items() if is_there)
        raise CocaError(f"--device {name}: torch finds no such device here; available: {there}")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """fp32, bf16 or fp16; "auto" is bf16 where the hardware multiplies it faster than fp32.

    Raises:
        CocaError: fp16 on a CPU, which computes it slowly and overflows.
    """
    if name == "auto":
        return "bf16" if runs_bf16_well(device) else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise CocaError("--precision fp16 is for GPUs; on the CPU use bf16 or fp32")
    return name


def place(loaded: Loaded, device: str, precision: str) -> Placed:
    """Move a model and cast its weights once (autocast would cast them anew in every call), for evaluation alone.

    On the CPU a CoCa's weights are also packed; the loaded model is the placed one, and can no longer be saved.

    Args:
        loaded: A model in fp32 on the CPU.
        device: auto, cpu, cuda or mps.
        precision: auto, fp32, bf16 or fp16.

    Raises:
        CocaError: The device is not there, or the format is not for it.
    """
    where = choose_device(device)
    number_format = choose_precision(precision, where)
    model = loaded.model.to(device=where, dtype=DTYPES[number_format]).eval()
    if where.type == "cpu" and isinstance(model, CoCa):
        pack_linears(model)
    return Placed(
        model, loaded.tokenizer, loaded.image, loaded.name, loaded.checkpoint, where, number_format, loaded.folder
    )


def runs_bf16_well(device: torch.device) -> bool:
    """Whether a device has products of bf16; without them they are put together from others, many times slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return False
