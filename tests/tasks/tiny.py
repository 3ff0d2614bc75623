"""A tiny CoCa of random weights and a tokenizer of letters, for tests that need a model but no words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from coca_cli.model.coca import CoCa
from coca_cli.model.config import tiny_config
from coca_cli.model.placement import Placed
from coca_cli.model.tokenizer import pad_ids

CONTEXT = 24
VOCABULARY = 3 + 95  # padding, begin, end and the printable characters


class LetterTokenizer:
    """One id per printable character."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        rows = [[3 + ord(letter) - 32 for letter in text] for text in texts]
        return pad_ids(rows, bos=1, eos=2, pad=0, context=CONTEXT)


def tiny_coca(seed: int = 0, *changes: str) -> CoCa:
    """A CoCa of one layer each for pictures of 16 pixels, with weights so large that inputs tell in the output."""
    torch.manual_seed(seed)
    config = tiny_config(VOCABULARY, image_size=16, context=CONTEXT)
    layers = ("vision.layers=1", "text.unimodal_layers=1", "text.multimodal_layers=1")
    model = CoCa(config.with_changes([*layers, *changes])).eval()
    with torch.no_grad():
        for parameter in (model.text.embedding.weight, model.text.positions, model.text.cls):
            parameter.normal_()
    return model


def tiny_placed(seed: int = 0, *changes: str) -> Placed:
    """`tiny_coca` as evaluation takes it."""
    model = tiny_coca(seed, *changes)
    return Placed(model, LetterTokenizer(), model.config.image, "tiny", "0123abcd", torch.device("cpu"), "fp32")
