"""Estimates against the bytes that a real step keeps."""

from __future__ import annotations

import resource
import sys
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor

from coca_cli.model.architectures import architectures
from coca_cli.model.coca import CoCa
from coca_cli.options import OptimizerChoice
from coca_cli.training import losses
from coca_cli.training.memory import Memory, estimate_memory
from coca_cli.training.objective import Objective, Part, pack_texts
from coca_cli.training.optim import build_optimizer, freeze
from tests.model.small_models import BUILDS, small_coca, texts
from tests.tasks.tiny import LetterTokenizer, tiny_coca

TEXTS = ("a cat", "the dog", "a fox jumps over it", "")


def part_of(model: CoCa, count: int = 1) -> Part:
    tokens = LetterTokenizer().encode(TEXTS * count)
    return Part(torch.zeros(len(tokens), 3, 16, 16, dtype=torch.uint8), pack_texts(model, tokens))


def estimate(model: CoCa, part: Part, **options: Any) -> Memory:
    defaults = {"optimizer": OptimizerChoice.adamw, "mixed": False, "average": False, "checkpointed": False}
    return estimate_memory(model, part.texts, pictures=len(part.pixels), **{**defaults, **options})


def measure(model: CoCa, part: Part, optimizer: OptimizerChoice, *, mixed: bool) -> dict[str, int]:
    """What a real step holds: bytes of weights, gradients, the optimiser, and what the graph keeps."""
    trained = build_optimizer(model, optimizer, 1e-3, 0.1)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        encoded = Objective(model, mixed=mixed)(part.pixels, part.texts)
    (encoded.image.sum() + encoded.text.sum() + encoded.caption + encoded.logit_scale).backward()
    trained.step()
    memory = [value for state in trained.state.values() for value in state.values() if isinstance(value, Tensor)]
    return {
        "weights": sum(p.nbytes for p in model.parameters()),
        "gradients": sum(p.grad.nbytes for p in model.parameters() if p.grad is not None),
        "optimizer": sum(value.nbytes for value in memory),
        "activations": sum(kept.values()),
    }


@pytest.mark.parametrize(
    ("optimizer", "mixed", "checkpointed"),
    [("adafactor", False, False), ("adamw", False, True), ("muon", True, False), ("adafactor", True, True)],
)
def test_the_estimate_is_what_a_real_step_holds(optimizer: str, mixed: bool, checkpointed: bool) -> None:
    model, choice = tiny_coca().train(), OptimizerChoice(optimizer)
    part = part_of(model)
    found = asdict(estimate(model, part, optimizer=choice, mixed=mixed, checkpointed=checkpointed))
    if checkpointed:
        model.checkpoint_activations()
    expected = measure(model, part, choice, mixed=mixed)
    assert found["weights"] == expected["weights"]
    assert found["gradients"] == expected["gradients"]
    assert found["optimizer"] == pytest.approx(expected["optimizer"], rel=0.03)
    assert found["activations"] == pytest.approx(expected["activations"], rel=0.02)


@pytest.mark.parametrize("build", ["parallel", "no queries", "open_clip, legacy mask"])
def test_the_estimate_fits_other_builds(build: str) -> None:
    model = small_coca(*BUILDS[build]).train()
    tokens = texts(4, 10, 2)
    part = Part(torch.zeros(3, 3, 24, 24, dtype=torch.uint8), pack_texts(model, tokens))
    found = estimate(model, part)
    expected = measure(model, part, OptimizerChoice.adamw, mixed=False)
    assert found.activations == pytest.approx(expected["activations"], rel=0.02)


def test_frozen_weights_have_no_gradient_and_keep_nothing() -> None:
    model = tiny_coca().train()
    whole = estimate(model, part_of(model))
    freeze(model, ["image.vit"])
    found = estimate(model, part_of(model))
    expected = measure(model, part_of(model), OptimizerChoice.adamw, mixed=False)
    assert found.weights == whole.weights
    assert found.gradients == expected["gradients"] < whole.gradients
    assert found.optimizer == pytest.approx(expected["optimizer"], rel=0.01)
    assert found.activations == pytest.approx(expected["activations"], rel=0.02)
    assert found.activations < whole.activations


def test_checkpointing_keeps_less_and_larger_parts_keep_more() -> None:
    model = tiny_coca(0, "vision.layers=6").train()  # texts are computed anew inside of their layers anyway
    plain, checkpointed = (estimate(model, part_of(model), checkpointed=flag) for flag in (False, True))
    assert checkpointed.activations < plain.activations / 3
    double = estimate(model, part_of(model, 2))
    assert double.activations == pytest.approx(2 * plain.activations, rel=0.02)
    assert (double.weights, double.gradients, double.optimizer) == (plain.weights, plain.gradients, plain.optimizer)


def test_an_average_is_a_second_set_of_weights() -> None:
    model = tiny_coca()
    assert estimate(model, part_of(model), average=True).weights == 2 * estimate(model, part_of(model)).weights


def test_shards_divide_all_but_what_a_part_keeps() -> None:
    model = tiny_coca()
    whole, shard = (estimate(model, part_of(model), shards=shards) for shards in (1, 4))
    for name in ("weights", "gradients", "optimizer"):
        assert getattr(shard, name) == getattr(whole, name) // 4
    assert (shard.activations, shard.logits) == (whole.activations, whole.logits)
    assert shard.total == sum(asdict(shard).values())


def test_logits_of_a_small_part_are_less_than_a_chunk() -> None:
    model = tiny_coca()
    part = part_of(model)
    assert estimate(model, part).logits == 4 * len(part.texts.targets) * model.config.text.vocab_size
    assert len(part.texts.targets) * model.config.text.vocab_size < losses.CHUNK_LOGITS


def test_a_large_model_is_estimated_without_taking_its_memory() -> None:
    """On the meta device: CoCa-Base with 64 pictures, which would need some 20 GB."""
    with torch.device("meta"):
        model = CoCa(architectures()["coca_base"])
    tokens = torch.randint(1, 64_000, (64, 64))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = estimate(model, Part(torch.empty(64, 0), pack_texts(model, tokens)))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB on Linux, bytes on macOS
    assert found.total > 10 * 2**30
    assert found.logits == 4 * losses.CHUNK_LOGITS
    assert grown < (1 << 20) * (1024 if sys.platform == "darwin" else 1)
