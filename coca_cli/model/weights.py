"""Weights on disk, read so that no file can run code, and fitted to a model with every key accounted for."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from coca_cli.errors import BadCheckpoint, MissingFile
from coca_cli.model.coca import CoCa
from coca_cli.model.config import CoCaConfig
from coca_cli.model.layers import interpolate_grid
from coca_cli.model.open_clip_weights import Weights, describe_keys
from coca_cli.model.unfilled import without_values

POSITIONS = "image.vit.positions"


def read_weights(path: Path) -> Weights:
    """The tensors of a .safetensors file, or of a .pt / .bin / .pth file through torch's restricted unpickler.

    A training checkpoint that keeps its weights under "state_dict" is understood.

    Raises:
        MissingFile: No such file.
        BadCheckpoint: Damaged, or a pickle that asks for more than tensors.
    """
    if not path.is_file():
        raise MissingFile(f"no weights file {path}; pass --pretrained the path of a .safetensors or .pt file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise BadCheckpoint(f"{path} is no readable safetensors file ({error}); fetch it again") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of here it refuses right after
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds on damaged files
        raise BadCheckpoint(_explain(path, error)) from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not found or not all(isinstance(v, Tensor) for v in found.values()):
        raise BadCheckpoint(f"{path} holds no state dict: expected names with tensors")
    return dict(found)


def build_coca(config: CoCaConfig, weights: Weights, image_size: int | None, source: str) -> CoCa:
    """A CoCa with these weights, in fp32 and evaluation mode.

    Args:
        config: The model.
        weights: All its weights by name.
        image_size: Another picture size than the configuration's, or None.
        source: Where the weights came from, for messages.

    Raises:
        BadCheckpoint: Names or shapes do not fit.
    """
    if image_size is not None:
        config = config.with_image_size(image_size)
    with without_values():
        model = CoCa(config)
    fit_weights(model, weights, model.image.vit.grid if image_size is not None else None, source)
    return model.eval()


def fit_weights(model: nn.Module, weights: Weights, grid: int | None, source: str) -> None:
    """Put weights into a model in fp32; position embeddings of another image size are interpolated, if that is wanted.

    Args:
        model: A CoCa, may lie on the meta device.
        weights: All its weights by name.
        grid: Patches per side of the model; None where positions must fit as they are.
        source: Where they came from, for messages.

    Raises:
        BadCheckpoint: Names or shapes do not fit, or values are not finite.
    """
    expected = dict(model.named_parameters())
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    if missing or unexpected:
        raise BadCheckpoint(f"{source} does not fit the model: {describe_keys(missing, unexpected)}")
    weights = {name: value.float() for name, value in weights.items()}
    if grid is not None:
        weights[POSITIONS] = _fit_positions(weights[POSITIONS], expected[POSITIONS], grid)
    wrong = [
        f"{name} is {tuple(value.shape)}, the model needs {tuple(expected[name].shape)}"
        for name, value in weights.items()
        if value.shape != expected[name].shape
    ]
    if wrong:
        raise BadCheckpoint(f"{source} has {len(wrong)} tensors of another shape: {'; '.join(wrong[:3])}")
    # a sum is not finite where one of its values is not, and takes a fraction of the time of looking at each
    spoiled = [name for name, value in weights.items() if not value.sum().isfinite()]
    if spoiled:
        raise BadCheckpoint(
            f"{source} has values that are no finite numbers in {len(spoiled)} tensors, such as {spoiled[0]}: its "
            "training went wrong, or it was damaged; take an earlier checkpoint"
        )
    model.load_state_dict(weights, strict=True, assign=True)


def hash_weights(weights: Mapping[str, Tensor]) -> str:
    """Eight hex digits of the SHA-256 over names, shapes and values: the same for every file format.

    Args:
        weights: Tensors by name.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().float().cpu().contiguous()
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(memoryview(value.numpy()))  # type: ignore[arg-type]
    return digest.hexdigest()[:8]


def _fit_positions(found: Tensor, wanted: Tensor, grid: int) -> Tensor:
    if found.ndim != 2:
        return found  # the shape check names it
    extra = len(wanted) - grid**2  # the ViT's CLS, which has no place in the grid
    patches = len(found) - extra
    if patches < 1 or round(patches**0.5) ** 2 != patches:
        return found  # not a square grid, as above
    return torch.cat([found[:extra], interpolate_grid(found[extra:], grid)])


def _explain(path: Path, error: Exception) -> str:
    """Why a PyTorch file was not loaded."""
    # torch reads no newer pickles than its own: those it stops at opcode 149 or 147, before any name is told
    asks = re.search(r"GLOBAL (\S+)|operand 14[79]\b", str(error))
    if asks and isinstance(error, pickle.UnpicklingError):
        name = f" ({asks[1]})" if asks[1] else ""
        return (
            f"{path} was not loaded: it holds more than tensors and could run code when opened{name}. "
            "Ask its author for a .safetensors file"
        )
    if "TorchScript" in str(error):
        return f"{path} was not loaded: it is a TorchScript program; save its state_dict() as .safetensors instead"
    return f"{path} ({path.stat().st_size:,} bytes) is no readable PyTorch file: damaged or cut off; fetch it again"
