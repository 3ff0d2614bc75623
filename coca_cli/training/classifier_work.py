"""What finetuning a classifier learns from a batch of pictures or clips with classes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coca_cli.media.images import normalise
from coca_cli.model.classifier import Classifier
from coca_cli.training.batches import TrainingBatch
from coca_cli.training.checkpoints import TrainingState
from coca_cli.training.distributed import sum_over
from coca_cli.training.loop import Execution, StepLosses
from coca_cli.training.objective import unsynchronised
from coca_cli.training.utilisation import BACKWARD


class ClassLoss(NamedTuple):
    """What a part of a batch cost.

    Attributes:
        loss: Scalar, mean cross-entropy.
        right: Scalar, how many were classified rightly.
    """

    loss: Tensor
    right: Tensor


class ClassifierObjective(nn.Module):
    """The forward pass of finetuning a classifier.

    Args:
        model: In fp32.
        label_smoothing: Part of each target that is spread over all classes.
        mixed: Compute the encoder in bf16 with fp32 weights.
    """

    def __init__(self, model: Classifier, label_smoothing: float, *, mixed: bool) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing
        self.mixed = mixed

    def forward(self, pixels: Tensor, labels: Tensor) -> ClassLoss:
        """Pixels (B, 3, size, size) or (B, F, 3, size, size) uint8 and classes (B,) -> their loss."""
        mixed = torch.autocast(pixels.device.type, torch.bfloat16) if self.mixed else nullcontext()
        with mixed:
            tokens = self.model.encode(normalise(pixels, self.model.coca.config.image))
        logits = self.model.head(tokens)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        return ClassLoss(loss, (logits.detach().argmax(dim=1) == labels).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierWork:
    """Cross-entropy of classes; see `loop.Work`.

    Attributes:
        state: The classifier, its optimiser and its average.
        objective: Holds the classifier, as `parallelise` gave it.
        execution: On what.
        operations: Of the forward pass of one example.
        seed: Of what is left out at random.
        noun: What the examples are.
    """

    state: TrainingState
    objective: nn.Module
    execution: Execution
    operations: int
    seed: int
    noun: str

    def backward(self, batch: TrainingBatch, step: int) -> StepLosses:
        """Add the gradient of a batch to the parameters."""
        world, device = self.execution.world, self.execution.device
        # what a step leaves out at random depends on the step alone, so that a run that was stopped goes on as it would
        torch.manual_seed(int(np.random.SeedSequence((self.seed, step, world.rank)).generate_state(1)[0]))
        labels = torch.tensor([example.label for example in batch.examples], dtype=torch.int64)
        rows = len(labels) // self.execution.accumulate
        loss = torch.zeros((), device=device)
        right = torch.zeros((), device=device)
        for start in range(0, len(labels), rows):
            part = slice(start, start + rows)
            pixels = batch.pixels[part].to(device, non_blocking=True)
            with unsynchronised(self.objective, quiet=start + rows < len(labels)):
                found: ClassLoss = self.objective(pixels, labels[part].to(device))
                (found.loss / self.execution.accumulate).backward()  # type: ignore[no-untyped-call]
            loss += found.loss.detach() / self.execution.accumulate
            right += found.right
        mean, correct = sum_over(torch.stack([loss / world.size, right]), world).tolist()
        parts = {"top-1": 100 * correct / (len(labels) * world.size)}
        return StepLosses(mean, parts, BACKWARD * len(labels) * self.operations)

    def settle(self) -> None:
        """Nothing has bounds."""
