"""Questions and statements about pictures: a pooler on what the multimodal decoder makes of the text, and a classifier.

Source: the paper's section 4.2.3: the picture goes into the encoder, the text into the decoder, and a new attentional
pooler with a single query and a linear layer on the decoder's output predict the answer; of two pictures (NLVR2) the
pooled vectors are put side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from coca_cli.model.coca import CoCa
from coca_cli.model.pooler import AttentionalPooler
from coca_cli.model.text import text_lengths
from coca_cli.model.tokenizer import TextEncoder


class Questions(NamedTuple):
    """Texts to be answered, some of them with their answer behind them.

    Attributes:
        tokens: (B, T) ids: begin, question, answer, end; padded.
        lengths: (B,) positions of begin and question, which alone the classifier looks at.
    """

    tokens: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Questions:
        """The same on another device."""
        return Questions(self.tokens.to(device, non_blocking=True), self.lengths.to(device, non_blocking=True))


def encode_questions(
    tokenizer: TextEncoder, pad_id: int, questions: Sequence[str], answers: Sequence[str] | None = None
) -> Questions:
    """Token ids of questions, each joined with its answer where answers are given.

    Both are encoded by themselves, so that a question is the same ids with an answer behind it and without. The decoder
    looks back alone: what it makes of a question does not depend on the answer that follows.

    Args:
        tokenizer: The model's.
        pad_id: The padding id.
        questions: B texts; too long ones are cut, as the tokenizer does it.
        answers: B texts, or None.
    """
    tokens = tokenizer.encode(questions)
    lengths = text_lengths(tokens, pad_id) - 1  # without the end
    if answers is not None:
        ends = tokenizer.encode(answers)
        sizes, context = text_lengths(ends, pad_id).tolist(), tokens.shape[1]
        joined = []
        for whole, length, end, size, answer in zip(
            tokens.tolist(), lengths.tolist(), ends.tolist(), sizes, answers, strict=True
        ):
            ids = [*whole[:length], *end[1:size]][:context] if answer else whole
            joined.append(ids + [pad_id] * (context - len(ids)))
        tokens = torch.tensor(joined, dtype=torch.long)
    longest = int(text_lengths(tokens, pad_id).max())
    return Questions(tokens[:, :longest], lengths)


class UnderstandingHead(nn.Module):
    """A single-query attentional pooler and a linear classifier.

    Args:
        width: Of the decoder.
        heads: Attention heads of the pooler.
        pictures: How many an example has, P.
        classes: C.
    """

    def __init__(self, width: int, heads: int, pictures: int, classes: int) -> None:
        super().__init__()
        self.pooler = AttentionalPooler(1, width, width, heads)
        self.classifier = nn.Linear(pictures * width, classes)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, read: Tensor, lengths: Tensor) -> Tensor:
        """What the decoder read, (B, P, T, W), and how many positions of it count, (B,) -> logits (B, C) in fp32."""
        batch, pictures, positions = read.shape[:3]
        counted = torch.arange(positions, device=read.device) < lengths[:, None]  # (B, T)
        mask = counted.repeat_interleave(pictures, dim=0)
        pooled = self.pooler(read.flatten(0, 1).float(), mask=mask).view(batch, -1)  # (B, P W)
        logits: Tensor = self.classifier(pooled)
        return logits


class Understanding(nn.Module):
    """A CoCa and a head that answers.

    Args:
        coca: The model.
        head: On its decoder's output.
        pictures: How many an example has, P.
    """

    def __init__(self, coca: CoCa, head: UnderstandingHead, pictures: int) -> None:
        super().__init__()
        self.coca = coca
        self.head = head
        self.pictures = pictures

    def encode(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), normalised -> what the decoder looks at, (B, Q, W)."""
        return self.coca.encode_image(images).tokens

    def read(self, tokens: Tensor, image_tokens: Tensor) -> Tensor:
        """Texts (B, T) over their pictures (B, P, Q, W) -> the decoder's output (B, P, T, W)."""
        hidden = self.coca.encode_text(tokens).hidden
        pictures = image_tokens.shape[1]
        each = hidden.repeat_interleave(pictures, dim=0)  # (B P, T, W)
        read = self.coca.decoder.read(each, image_tokens.flatten(0, 1))
        return read.view(len(tokens), pictures, *read.shape[1:])

    def forward(self, images: Tensor, questions: Questions) -> Tensor:
        """Pictures (B, P, 3, H, W), normalised, and questions about them -> logits (B, C) in fp32."""
        tokens = self.encode(images.flatten(0, 1))
        read = self.read(questions.tokens, tokens.view(*images.shape[:2], *tokens.shape[1:]))
        logits: Tensor = self.head(read, questions.lengths)
        return logits

    def train_decoding_alone(self, *, captions: bool) -> None:
        """Leave what no answer depends on as it is: weight decay alone would wear it away.

        Args:
            captions: The vocabulary head is trained, too.
        """
        coca = self.coca
        idle: list[nn.Module | None] = [coca.text.norm, coca.text.projection, coca.image.projection]
        idle += [coca.image.contrastive, None if captions else coca.decoder.to_vocab]
        for module in filter(None, idle):
            module.requires_grad_(False)
        for parameter in (coca.log_scale, coca.text.cls):
            parameter.requires_grad_(False)
