"""One CoCa on both sides: open_clip's module with random weights, and `coca`'s model with the same ones.

`regular` is coca_ViT-B-32; `smoke` is a CoCa of the same build that is small enough to be run by a test.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from coca_cli.model.loaded import LoadedCoCa
from coca_cli.model.open_clip_config import open_clip_config
from coca_cli.model.open_clip_weights import from_open_clip
from coca_cli.model.placement import Placed, place
from coca_cli.model.tokenizer import ClipTokenizer
from coca_cli.model.weights import build_coca

REGULAR, SMOKE = "coca_ViT-B-32", "coca_smoke"


def model_name(size: str) -> str:
    """The name that open_clip knows the model of that size by."""
    if size == "regular":
        return REGULAR
    if SMOKE not in open_clip.list_models():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / f"{SMOKE}.json").write_text(json.dumps(smoke_config()))
            open_clip.add_model_config(folder)
    return SMOKE


def smoke_config() -> dict[str, object]:
    """coca_ViT-B-32 with two layers of each kind and narrow ones; its vocabulary is the tokenizer's, as it must be."""
    config = open_clip.get_model_config(REGULAR)
    assert config is not None
    config["embed_dim"] = 64
    config["vision_cfg"] |= {"image_size": 64, "layers": 2, "width": 64, "attn_pooler_heads": 1}
    config["text_cfg"] |= {"width": 64, "heads": 1, "layers": 2}
    config["multimodal_cfg"] |= {"width": 64, "heads": 1, "layers": 2, "dim_head": 64}
    return config


def their_model(name: str, *, sharp: bool = False) -> torch.nn.Module:
    """open_clip's model with the same random weights each time.

    Args:
        name: From `model_name`.
        sharp: With weights so large that every picture has captions of its own.
    """
    torch.manual_seed(0)
    model: torch.nn.Module = open_clip.create_model(name).eval()
    with torch.no_grad():  # open_clip leaves the vocabulary head as uninitialised memory
        model.text_decoder.text_projection.normal_(std=0.5 if sharp else 0.02)  # type: ignore[operator, union-attr]
        for parameter_name, parameter in model.named_parameters():
            if sharp and "cross_attn" in parameter_name and parameter.ndim > 1:
                parameter.mul_(4)
    return model


def write_model(folder: Path, size: str, *, sharp: bool = False) -> None:
    """A new folder that both sides load, with open_clip's configuration and the weights of `their_model`."""
    folder.mkdir()
    name = model_name(size)
    config = smoke_config() if size == "smoke" else open_clip.get_model_config(name)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    weights = {key: value.clone().contiguous() for key, value in their_model(name, sharp=sharp).state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})


def our_model(name: str, theirs: torch.nn.Module) -> Callable[[str], Placed]:
    """What places the same model with copies of the same weights on the CPU, in a precision."""
    config = open_clip_config(open_clip.get_model_config(name))
    weights = from_open_clip(theirs.state_dict(), config)

    def placed(precision: str) -> Placed:
        model = build_coca(config, {key: value.clone() for key, value in weights.items()}, None, name)
        return place(LoadedCoCa(model, ClipTokenizer(config.text.context), name).ready(), "cpu", precision)

    return placed
