"""What pretraining learns from a batch of pictures with captions: both losses of CoCa."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import nn

from coca_cli.model.coca import MAX_LOGIT_SCALE, CoCa
from coca_cli.model.tokenizer import TextEncoder
from coca_cli.training.batches import TrainingBatch
from coca_cli.training.checkpoints import TrainingState
from coca_cli.training.loop import Execution, StepLosses
from coca_cli.training.objective import Part, Weights, backward, pack_texts
from coca_cli.training.utilisation import StepCost
from coca_cli.training.word_dropout import hide_words


@dataclass(frozen=True, slots=True, kw_only=True)
class PairWork:
    """Contrastive and captioning loss; see `loop.Work`.

    Attributes:
        state: The model, its optimiser and its average.
        model: The model in the state.
        objective: Holds the model, as `parallelise` gave it.
        tokenizer: The model's.
        weights: Of the losses.
        execution: On what.
        cost: Operations of a step.
        mask_equal_texts: Pictures with the same text are no negatives of each other.
        noun: What the examples are.
    """

    state: TrainingState
    model: CoCa
    objective: nn.Module
    tokenizer: TextEncoder
    weights: Weights
    execution: Execution
    cost: StepCost
    mask_equal_texts: bool = False
    noun: str = "pairs"

    def backward(self, batch: TrainingBatch, step: int) -> StepLosses:
        """Add the gradient of a batch to the parameters."""
        parts = split_batch(batch, self.model, self.tokenizer, self.execution, with_ids=self.mask_equal_texts)
        losses = backward(self.objective, parts, self.model.pad_id, self.weights, self.execution.world)
        named = {"contrastive": losses.contrastive}
        if self.weights.caption:  # else nobody has computed it
            named["caption"] = losses.caption
        named["temperature"] = (1 / self.model.logit_scale).item()  # inf, not an error, where the scale has become 0
        operations = sum(self.cost.of(len(part.pixels), len(part.texts.rows)) for part in parts)
        return StepLosses(losses.total, named, operations)

    def settle(self) -> None:
        """Keep the temperature: as in CLIP, beyond its bound its gradient is lost."""
        with torch.no_grad():
            self.model.log_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))


def split_batch(
    batch: TrainingBatch, model: CoCa, tokenizer: TextEncoder, execution: Execution, *, with_ids: bool = False
) -> list[Part]:
    """The parts that go through the model one after the other, on the device.

    Args:
        batch: This process's rows.
        model: Whose texts they are.
        tokenizer: The model's.
        execution: On what.
        with_ids: Say which texts are equal.
    """
    ids = torch.tensor([_id_of(caption) for caption in batch.captions]) if with_ids else None
    tokens = tokenizer.encode(batch.captions)
    rows = len(tokens) // execution.accumulate
    parts: list[Part] = []
    for start in range(0, len(tokens), rows):
        part = slice(start, start + rows)
        packed = pack_texts(model, tokens[part])
        if batch.hidden is not None:  # what is to be written has been taken from the whole texts
            packed = packed._replace(tokens=hide_words(packed.tokens, batch.hidden[part]))
        pixels = batch.pixels[part].to(execution.device, non_blocking=True)
        known = None if ids is None else ids[part].to(execution.device)
        parts.append(Part(pixels, packed.to(execution.device), known))
    return parts


def _id_of(text: str) -> int:
    """The same for the same text on every process, and for no other."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)
