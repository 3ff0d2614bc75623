"""Optimisers, learning-rate schedules, gradient clipping, what is not trained."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

import torch
from timm.optim import AdafactorBigVision, Muon
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from coca_cli.errors import UnknownName
from coca_cli.options import DecayChoice, OptimizerChoice
from coca_cli.registry import unknown_name

VOCABULARY = "to_vocab"
CHANNELS = 3  # of a picture


def build_optimizer(
    model: nn.Module,
    name: OptimizerChoice,
    learning_rate: float,
    weight_decay: float,
    peaks: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """The optimiser over all weights; matrices decay, vectors (biases, norms) and the temperature do not.

    AdamW and Adafactor use beta1 0.9 and beta2 0.999, and weight decay apart from the gradient, as the paper has it
    (section 4.1). Adafactor is big_vision's form: factored second moments, beta2 rising to 0.999, first moments kept.
    Muon turns the momentum of the matrices between the layers (and of convolutions) into the nearest orthogonal one,
    scaled so that its steps are as long as AdamW's at the same rate (arXiv 2502.16982); all else, also the embedding,
    the vocabulary's matrix and the filters on pixels, goes by AdamW with betas 0.9 and 0.95.

    Args:
        model: What is trained; frozen parameters are left out.
        name: Which.
        learning_rate: The peak.
        weight_decay: Per step, times the learning rate.
        peaks: Parameter name -> its own peak, for those that have one. Each group of parameters keeps its peak, for
            `set_rates`.
    """
    by_peak: dict[float, list[Tensor]] = {}
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            by_peak.setdefault((peaks or {}).get(parameter_name, learning_rate), []).append(parameter)
    hidden = {id(matrix) for matrix in hidden_matrices(model)} if name is OptimizerChoice.muon else set()
    groups = [
        group for peak, trained in by_peak.items() for group in _groups(trained, hidden, name, peak, weight_decay)
    ]
    if name is OptimizerChoice.adamw:
        return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.999), fused=True)
    if name is OptimizerChoice.muon:
        return cast("torch.optim.Optimizer", Muon(groups, lr=learning_rate, ns_coefficients="original"))
    optimizer: torch.optim.Optimizer = AdafactorBigVision(
        groups, lr=learning_rate, momentum=0.9, beta2_cap=0.999, momentum_dtype=torch.float32
    )
    return optimizer


def _groups(
    trained: Sequence[Tensor], hidden: Container[int], name: OptimizerChoice, peak: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Parameters of one peak rate, by what an optimiser does to them."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim >= 2 and id(p) not in hidden], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
        {"params": [p for p in trained if p.ndim == 0], "weight_decay": 0.0},  # never sharded, so never with the others
    ]
    if name is OptimizerChoice.muon:
        for group in groups:
            group["use_fallback"] = True
        matrices = [p for p in trained if id(p) in hidden]
        groups.insert(0, {"params": matrices, "weight_decay": weight_decay, "nesterov": True})
    return [group | {"lr": peak, "peak": peak} for group in groups if group["params"]]


def hidden_matrices(model: nn.Module) -> list[Tensor]:
    """Weights of linear layers and of convolutions but the first, that of the vocabulary left out: its rows are words,
    not features. Of a convolution, each output channel's weights are a row.
    """
    return [
        module.weight
        for name, module in model.named_modules()
        if (isinstance(module, nn.Linear) and not name.endswith(VOCABULARY))
        or (isinstance(module, nn.Conv2d) and module.in_channels != CHANNELS)
        if module.weight.requires_grad
    ]


CONTRASTIVE = ("image.contrastive.", "image.projection.", "text.cls", "text.norm.", "text.projection.", "log_scale")
"""Parameters that the contrastive embeddings alone depend on."""


def freeze_contrastive(model: nn.Module) -> None:
    """Leave what the caption loss does not reach as it is: weight decay alone would wear it away."""
    for name, parameter in model.named_parameters():
        if name.startswith(CONTRASTIVE):
            parameter.requires_grad_(False)


def freeze_captioning(model: nn.Module, *, pooler: bool) -> None:
    """Leave what the contrastive loss does not reach as it is.

    Args:
        model: In place.
        pooler: The generative pooler serves the decoder alone, as it does beside a contrastive one.
    """
    for name, parameter in model.named_parameters():
        if name.startswith(("decoder.", "image.generative.") if pooler else "decoder."):
            parameter.requires_grad_(False)


def freeze(model: nn.Module, patterns: Sequence[str]) -> int:
    """Leave parameters as they are.

    Args:
        model: In place.
        patterns: Names of parameters or of modules, with * and ?; `image` is all of the image side.

    Returns:
        How many numbers are not trained.

    Raises:
        UnknownName: A pattern names nothing.
    """
    for pattern in patterns:
        named = [p for name, p in model.named_parameters() if _matches(name, pattern)]
        if not named:
            modules = [name for name, module in model.named_modules() if name and list(module.parameters())]
            raise UnknownName(
                unknown_name("parameters to freeze", pattern, sorted(modules, key=lambda n: n.count(".")))
            )
        for parameter in named:
            parameter.requires_grad_(False)
    return sum(p.numel() for p in model.parameters() if not p.requires_grad)


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def clip_gradients(model: nn.Module, largest: float) -> Tensor:
    """Scale all gradients down to a norm; returns the norm that they had. Shards and whole tensors count alike.

    Args:
        model: With gradients.
        largest: The norm allowed; 0 for any.
    """
    with_gradient = [p for p in model.parameters() if p.grad is not None]
    kinds = [[p for p in with_gradient if isinstance(p.grad, DTensor) is sharded] for sharded in (True, False)]
    norms = []
    for kind in filter(None, kinds):
        norm = get_total_norm([p.grad for p in kind if p.grad is not None])
        norms.append(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    if largest:
        for kind in filter(None, kinds):
            clip_grads_with_norm_(kind, largest, total)
    return total


def set_rates(optimizer: torch.optim.Optimizer, step: int, *, steps: int, warmup: int, decay: DecayChoice) -> None:
    """Give every group of parameters its rate of this step; see `learning_rate_at`."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate_at(step, steps=steps, warmup=warmup, peak=group["peak"], decay=decay)


def learning_rate_at(step: int, *, steps: int, warmup: int, peak: float, decay: DecayChoice) -> float:
    """Linear warm-up to the peak, then down to zero.

    Args:
        step: From 0.
        steps: Steps in all.
        warmup: Steps until the peak.
        peak: The highest rate.
        decay: The way down.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    if decay is DecayChoice.linear:
        return peak * (1 - done)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
