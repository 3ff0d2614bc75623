"""CoCa architectures by name: this project's presets and those of open_clip's CoCa configurations that coca builds."""

from __future__ import annotations

from dataclasses import replace

from coca_cli.errors import BadCheckpoint, UnknownName
from coca_cli.model.config import PAPER_PRESETS, CoCaConfig
from coca_cli.model.open_clip_config import open_clip_config
from coca_cli.model.open_clip_package import model_config, model_names
from coca_cli.registry import unknown_name


def architectures() -> dict[str, CoCaConfig]:
    """Every architecture by name; open_clip's ones as its published weights have them, with the legacy [CLS] mask."""
    found = dict(PAPER_PRESETS)
    for name in model_names():
        model_cfg = model_config(name)
        if model_cfg is not None and "multimodal_cfg" in model_cfg:
            try:
                found[name] = open_clip_config(model_cfg)
            except BadCheckpoint:
                continue  # a variant with another text tower or without poolers
    return found


def new_model_config(name: str) -> CoCaConfig:
    """The architecture for training from scratch: always with the correct [CLS] mask.

    Raises:
        UnknownName: No such architecture.
    """
    known = architectures()
    if name not in known:
        raise UnknownName(unknown_name("architecture", name, known))
    config = known[name]
    return replace(config, text=replace(config.text, cls_mask="correct"))
