"""What finetuning for questions or statements learns from a batch of them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coca_cli.datasets.example import Example
from coca_cli.media.images import normalise
from coca_cli.model.text import text_lengths
from coca_cli.model.tokenizer import TextEncoder
from coca_cli.model.understanding import Questions, Understanding, encode_questions
from coca_cli.tasks.vqa_accuracy import AnswerList
from coca_cli.training.batches import TrainingBatch
from coca_cli.training.checkpoints import TrainingState
from coca_cli.training.distributed import sum_over
from coca_cli.training.loop import Execution, StepLosses
from coca_cli.training.losses import summed_caption_loss
from coca_cli.training.objective import unsynchronised
from coca_cli.training.utilisation import BACKWARD, StepCost


class AnswerLoss(NamedTuple):
    """What a part of a batch cost.

    Attributes:
        answers: Scalar, mean loss of the classifier.
        caption: Scalar, summed captioning loss of question and answer.
        right: Scalar, how many were answered rightly; of open questions by how much.
    """

    answers: Tensor
    caption: Tensor
    right: Tensor


class UnderstandingObjective(nn.Module):
    """The forward pass of finetuning for questions or statements.

    The decoder looks back alone, so one pass over a question with its answer behind it serves both losses: the
    classifier looks at the question's positions, which know nothing of the answer.

    Args:
        model: In fp32.
        exclusive: One class is right (cross-entropy); else each is right to some degree (binary cross-entropy of the
            accuracies that the answers would have, summed over the answers).
        captions: Compute the captioning loss, too.
        frozen: Only the head learns.
        mixed: Compute the model in bf16 with fp32 weights.
    """

    def __init__(
        self,
        model: Understanding,
        *,
        exclusive: bool,
        captions: bool = False,
        frozen: bool = False,
        mixed: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.exclusive = exclusive
        self.captions = captions
        self.frozen = frozen
        self.mixed = mixed

    def forward(self, pixels: Tensor, questions: Questions, targets: Tensor) -> AnswerLoss:
        """Pixels (B, P, 3, size, size) uint8, questions, and classes (B,) or accuracies (B, C) -> what they cost.

        In place of pixels also what the frozen decoder read, (B, P, T, W) in fp32.
        """
        model, coca = self.model, self.model.coca
        if pixels.dtype == torch.float32:
            return self._cost(pixels, questions, targets, pixels.new_zeros(()))
        mixed = torch.autocast(pixels.device.type, torch.bfloat16) if self.mixed else nullcontext()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen), mixed:
            seen = model.encode(normalise(pixels.flatten(0, 1), coca.config.image))
            read = model.read(questions.tokens, seen.view(*pixels.shape[:2], *seen.shape[1:]))  # (B, P, T, W)
            caption = read.new_zeros((), dtype=torch.float32)
            if self.captions:
                rows = before_last(questions.tokens, coca.pad_id)
                following = questions.tokens[:, 1:].flatten()[rows]
                written = read[:, 0, :-1].flatten(0, 1)[rows]
                caption = summed_caption_loss(written, coca.decoder.to_vocab.weight, following, coca.pad_id)
        return self._cost(read, questions, targets, caption)

    def _cost(self, read: Tensor, questions: Questions, targets: Tensor, caption: Tensor) -> AnswerLoss:
        logits = self.model.head(read, questions.lengths)
        if self.exclusive:
            loss = F.cross_entropy(logits, targets)
            right = (logits.detach().argmax(dim=1) == targets).sum()
        else:
            loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(targets)
            right = targets.gather(1, logits.detach().argmax(dim=1)[:, None]).sum()
        return AnswerLoss(loss, caption, right)


def before_last(tokens: Tensor, pad_id: int) -> Tensor:
    """Where in the flattened (B * (T - 1)) batch a next token follows."""
    places = torch.arange(tokens.shape[1] - 1, device=tokens.device)
    return (places < text_lengths(tokens, pad_id)[:, None] - 1).flatten().nonzero().flatten()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderstandingWork:
    """Answers, and the text of question and answer; see `loop.Work`.

    Attributes:
        state: Model and head, their optimiser and their average.
        objective: Holds both, as `parallelise` gave it.
        execution: On what.
        tokenizer: The model's.
        pad_id: The model's.
        answers: What the classifier knows, for open questions; None where examples have labels.
        generative_weight: Of the captioning loss.
        cost: Operations of a step.
        frozen: Only the head learns.
        noun: What the examples are.
    """

    state: TrainingState
    objective: nn.Module
    execution: Execution
    tokenizer: TextEncoder
    pad_id: int
    answers: AnswerList | None
    generative_weight: float
    cost: StepCost
    frozen: bool
    noun: str

    def backward(self, batch: TrainingBatch, step: int) -> StepLosses:
        """Add the gradient of a batch to the parameters."""
        world, device, accumulate = self.execution.world, self.execution.device, self.execution.accumulate
        rows = len(batch.examples) // accumulate
        parts = [slice(start, start + rows) for start in range(0, len(batch.examples), rows)]
        spoken = batch.captions if self.generative_weight else None
        questions = [
            encode_questions(
                self.tokenizer,
                self.pad_id,
                [example.question for example in batch.examples[part]],
                spoken[part] if spoken else None,
            )
            for part in parts
        ]
        words = torch.tensor([len(before_last(part.tokens, self.pad_id)) for part in questions], device=device).sum()
        total = sum_over(words.float(), world).clamp(min=1)
        per_word = self.generative_weight * world.size / total
        answers, caption, right = (torch.zeros((), device=device) for _ in range(3))
        for number, (part, asked) in enumerate(zip(parts, questions, strict=True)):
            pixels = batch.pixels[part].to(device, non_blocking=True)
            targets = self._targets(batch.examples[part]).to(device)
            with unsynchronised(self.objective, quiet=number < len(parts) - 1):
                found: AnswerLoss = self.objective(pixels, asked.to(device), targets)
                loss = found.answers / accumulate
                if self.generative_weight:
                    loss = loss + per_word * found.caption
                loss.backward()  # type: ignore[no-untyped-call]
            answers += found.answers.detach() / accumulate
            caption += found.caption.detach() / total
            right += found.right
        mean, spelled, hits = sum_over(torch.stack([answers / world.size, caption, right]), world).tolist()
        named = {"answers": mean}
        if self.generative_weight:
            named["caption"] = spelled
        named["accuracy"] = 100 * hits / (len(batch.examples) * world.size)
        return StepLosses(mean + self.generative_weight * spelled, named, self._operations(batch, questions))

    def _targets(self, examples: list[Example]) -> Tensor:
        """Classes (B,) of statements, accuracies (B, C) of the answers to open questions."""
        if self.answers is None:
            return torch.tensor([example.label for example in examples], dtype=torch.int64)
        targets = torch.zeros(len(examples), len(self.answers))
        for row, example in enumerate(examples):
            for place, accuracy in self.answers.targets(example.texts).items():
                targets[row, place] = accuracy
        return targets

    def _operations(self, batch: TrainingBatch, questions: list[Questions]) -> float:
        if batch.pixels.dtype == torch.float32:  # the model has done its part before
            return 0.0
        pictures = batch.pixels.shape[0] * batch.pixels.shape[1]
        words = sum(part.tokens.numel() for part in questions) * batch.pixels.shape[1]
        return self.cost.of(pictures, words) / (BACKWARD if self.frozen else 1)

    def settle(self) -> None:
        """Nothing has bounds."""
