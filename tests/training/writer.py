"""A tiny CoCa that has learned what to write about a few pictures of one colour each."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from coca_cli.datasets.example import Example, Pixels
from coca_cli.media.images import normalise
from coca_cli.model.checkpoint import save_folder
from coca_cli.model.coca import CoCa
from coca_cli.model.config import tiny_config
from coca_cli.model.placement import Placed
from coca_cli.model.tokenizer import SentencePieceTokenizer, train_sentencepiece

CONTEXT, SIDE = 20, 16
COLOURS = {
    "red": (220, 30, 20),
    "green": (30, 180, 40),
    "blue": (20, 40, 230),
    "yellow": (240, 230, 30),
    "black": (5, 5, 5),
    "white": (250, 250, 250),
}
THINGS = ("dog", "tree", "sea", "sun", "cat", "hat")
LEARNED = tuple(f"a {colour} {thing} is in it" for colour, thing in zip(COLOURS, THINGS, strict=True))
"""What it writes about the pictures of `coloured`."""
STEPS = 40


def coloured(*texts: tuple[str, ...]) -> list[Example]:
    """A picture of each colour, with these captions, or with what the writer has learned to write about it."""
    rows = texts or tuple((text,) for text in LEARNED)
    return [
        Example(colour, (Pixels(np.full((SIDE, SIDE, 3), shade, np.uint8), colour),), texts=captions)
        for (colour, shade), captions in zip(COLOURS.items(), rows, strict=True)
    ]


@cache
def _learned() -> tuple[CoCa, SentencePieceTokenizer]:
    sentences = [f"a {colour} {thing} is in it" for colour in COLOURS for thing in THINGS]
    tokenizer = SentencePieceTokenizer(train_sentencepiece(sentences, 60), CONTEXT)
    torch.manual_seed(0)
    layers = ("vision.layers=1", "text.unimodal_layers=1", "text.multimodal_layers=1")
    model = CoCa(tiny_config(tokenizer.vocab_size, image_size=SIDE, context=CONTEXT).with_changes(layers))
    pixels = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)[:, :, None, None].expand(-1, -1, SIDE, SIDE)
    images, tokens = normalise(pixels, model.config.image), tokenizer.encode(LEARNED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        logits = model(images, tokens).logits
        F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=tokenizer.pad_id).backward()
        optimizer.step()
    return model.eval(), tokenizer


def writer() -> Placed:
    """The model as evaluation takes it."""
    model, tokenizer = _learned()
    return Placed(model, tokenizer, model.config.image, "writer", "0123abcd", torch.device("cpu"), "fp32")


def save_writer(folder: Path) -> Path:
    """The model in a folder, for the command line."""
    model, tokenizer = _learned()
    save_folder(folder, model, tokenizer, "writer")
    return folder
