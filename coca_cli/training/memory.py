"""How much memory a training step will take, found without taking it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from coca_cli.model.coca import CoCa
from coca_cli.model.config import CoCaConfig
from coca_cli.options import OptimizerChoice
from coca_cli.training.losses import CHUNK_LOGITS
from coca_cli.training.objective import Objective, PackedTexts
from coca_cli.training.optim import hidden_matrices

FLOAT = 4


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one process.

    Attributes:
        weights: Parameters in fp32, and their moving average.
        gradients: One per trained parameter.
        optimizer: Its memory.
        activations: What the backward pass needs of the forward pass, for one part of the batch.
        logits: The chunk of caption logits that stands at one time.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All together."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def estimate_memory(
    model: CoCa,
    texts: PackedTexts,
    optimizer: OptimizerChoice,
    *,
    pictures: int,
    mixed: bool,
    average: bool,
    checkpointed: bool,
    shards: int = 1,
) -> Memory:
    """Memory of a training step; temporaries, the process itself and decoded pictures come on top.

    Args:
        model: Its parameters are counted as they are, frozen ones without gradient.
        texts: Typical texts of a part of the batch.
        optimizer: Which.
        pictures: In a part of the batch.
        mixed: bf16 with fp32 weights.
        average: A moving average is kept.
        checkpointed: Activations are computed twice.
        shards: Processes that share weights, gradients and the optimiser's memory.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    numbers = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in trained)
    if optimizer is OptimizerChoice.adamw:
        memory = 2 * trainable
    elif optimizer is OptimizerChoice.muon:  # first moments; of what is no hidden matrix second moments too
        memory = 2 * trainable - sum(p.numel() for p in hidden_matrices(model))
    else:  # first moments, and second moments of matrices by rows and columns
        memory = trainable + sum(p.numel() // min(p.shape[-2:]) * 2 if p.ndim >= 2 else p.numel() for p in trained)
    return Memory(
        weights=FLOAT * numbers * (2 if average else 1) // shards,
        gradients=FLOAT * trainable // shards,
        optimizer=FLOAT * memory // shards,
        activations=_saved_bytes(model, texts, pictures, mixed=mixed, checkpointed=checkpointed),
        logits=FLOAT * min(CHUNK_LOGITS, len(texts.targets) * model.config.text.vocab_size),
    )


def _saved_bytes(model: CoCa, texts: PackedTexts, pictures: int, *, mixed: bool, checkpointed: bool) -> int:
    """What autograd keeps of one forward pass, each storage once, parameters left out."""
    config: CoCaConfig = model.config
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    seen: dict[int, int] = {}
    alive: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage._cdata] = storage.nbytes()
        alive.append(tensor)  # else a later tensor could get the same place
        return tensor

    with torch.device("meta"):  # initialisation looks at numbers, which fake tensors do not have
        double = CoCa(config)
    if checkpointed:
        double.checkpoint_activations()
    objective = Objective(double, mixed=mixed)
    with FakeTensorMode() as fake:
        weights = {
            f"model.{name}": torch.empty(p.shape, requires_grad=name not in frozen)
            for name, p in double.named_parameters()
        }
        own = {weight.untyped_storage()._cdata for weight in weights.values()}
        pixels = torch.empty(pictures, 3, config.image.size, config.image.size, dtype=torch.uint8)
        fakes = PackedTexts(*(fake.from_tensor(part) for part in texts))
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            functional_call(objective, weights, (pixels, fakes))
    return sum(size for place, size in seen.items() if place not in own)
