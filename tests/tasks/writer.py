"""A tiny CoCa of random weights that writes words, for tests of captions."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import torch

from coca_cli.model.checkpoint import save_folder
from coca_cli.model.coca import CoCa
from coca_cli.model.config import tiny_config
from coca_cli.model.placement import Placed
from coca_cli.model.tokenizer import SentencePieceTokenizer, train_sentencepiece

CONTEXT = 24
WORDS = (
    *("a", "small", "large", "red", "orange", "yellow", "green", "blue", "purple", "white", "black", "digit", "zero"),
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "on", "the", "left", "of", "dark"),
    *("background", "at", "bottom", "right", "in", "centre", "and", "nothing", "else", "near", "top"),
)
"""Such as the captions of the built-in scenes are made of."""


@cache
def word_tokenizer() -> SentencePieceTokenizer:
    """Trained on sentences in which the words come in any order, so that its pieces are words."""
    dice = random.Random(0)
    captions = [" ".join(dice.choices(WORDS, k=8)) for _ in range(300)]
    return SentencePieceTokenizer(train_sentencepiece(captions, 75), context=CONTEXT)


def writer_coca(seed: int = 0) -> CoCa:
    """One layer each for pictures of 16 pixels; weights so large that each picture has words of its own."""
    torch.manual_seed(seed)
    config = tiny_config(word_tokenizer().vocab_size, image_size=16, context=CONTEXT)
    layers = ("vision.layers=1", "text.unimodal_layers=1", "text.multimodal_layers=1")
    model = CoCa(config.with_changes(list(layers))).eval()
    with torch.no_grad():
        for parameter in (model.text.embedding.weight, model.text.positions, model.text.cls):
            parameter.normal_()
    return model


def writer_placed(seed: int = 0) -> Placed:
    """`writer_coca` as evaluation takes it."""
    model = writer_coca(seed)
    return Placed(model, word_tokenizer(), model.config.image, "writer", "0123abcd", torch.device("cpu"), "fp32")


def save_writer(folder: Path, seed: int = 0) -> Path:
    """`writer_coca` as a model folder, for the command line."""
    save_folder(folder, writer_coca(seed), word_tokenizer(), "writer")
    return folder
