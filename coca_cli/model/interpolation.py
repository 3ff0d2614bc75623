"""Two models of one architecture -> one in between, weight by weight."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from coca_cli.errors import BadCheckpoint, CocaError
from coca_cli.model.checkpoint import load, save_folder
from coca_cli.model.classifier_folder import (
    CLASSIFIER_FILE,
    OWN_ENCODER,
    load_classifier,
    save_classifier,
)
from coca_cli.model.coca import CoCa
from coca_cli.model.loaded import Loaded
from coca_cli.model.tokenizer import ClipTokenizer, SentencePieceTokenizer
from coca_cli.model.weights import hash_weights


def interpolate(finetuned: str, pretrained: str, alpha: float, output: Path) -> str:
    """Write the model whose weights are alpha times the first's and 1 - alpha times the second's.

    A classifier that lies beside the first model goes along: its head stays as it is.

    Args:
        finetuned: A model by name or folder.
        pretrained: The model that it was finetuned from.
        alpha: Between 0, the second, and 1, the first.
        output: The folder to write; empty or not there.

    Returns:
        The short hash of the new weights.

    Raises:
        CocaError: The folder is not empty, or the models are not of one kind; see also `load`.

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models" (WiSE-FT), arXiv 2109.01903.
    """
    if output.is_dir() and any(output.iterdir()):
        raise CocaError(f"the folder {output} is not empty; choose another --output")
    one, first = _load(finetuned)
    other, second = _load(pretrained, first.config.image.size)
    if first.config != second.config:
        raise BadCheckpoint(
            f"{one.name} and {other.name} are built differently, so their weights cannot be mixed: give a model and "
            "what it was finetuned from"
        )
    theirs = dict(second.named_parameters())
    with torch.no_grad():
        for name, weight in first.named_parameters():
            weight.lerp_(theirs[name], 1 - alpha)
    assert isinstance(one.tokenizer, ClipTokenizer | SentencePieceTokenizer)
    checkpoint = hash_weights(dict(first.state_dict()))
    mixed = {"mixed": {"finetuned": one.checkpoint, "pretrained": other.checkpoint, "alpha": alpha}}
    if (Path(finetuned).expanduser() / CLASSIFIER_FILE).is_file():
        saved = load_classifier(Path(finetuned).expanduser())
        if saved.described.backbone == OWN_ENCODER:
            described = replace(saved.described, name=output.name, checkpoint=checkpoint)
            save_classifier(output, described, saved.head, mixed)
    save_folder(output, first, one.tokenizer, output.name, mixed)
    return checkpoint


def _load(name: str, image_size: int | None = None) -> tuple[Loaded, CoCa]:
    loaded = load(name, None, image_size)
    if not isinstance(loaded.model, CoCa):
        raise BadCheckpoint(f"{loaded.name} is no CoCa; only models of one kind can be mixed")
    return loaded, loaded.model
