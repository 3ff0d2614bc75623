from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coca_cli.errors import UnknownName
from coca_cli.model.coca import CoCa
from coca_cli.options import DecayChoice, OptimizerChoice
from coca_cli.training.optim import (
    build_optimizer,
    clip_gradients,
    freeze,
    freeze_captioning,
    freeze_contrastive,
    learning_rate_at,
)
from tests.model.small_models import BUILDS, pictures, small_coca, texts
from tests.tasks.tiny import tiny_coca


def rate(step: int, decay: DecayChoice = DecayChoice.linear, *, steps: int = 110, warmup: int = 10) -> float:
    return learning_rate_at(step, steps=steps, warmup=warmup, peak=2.0, decay=decay)


@pytest.mark.parametrize("decay", list(DecayChoice))
def test_the_rate_rises_in_a_straight_line(decay: DecayChoice) -> None:
    assert [rate(step, decay) for step in (0, 1, 4, 9)] == pytest.approx([0.2, 0.4, 1.0, 2.0])
    assert rate(10, decay) == 2.0


@pytest.mark.parametrize(
    ("decay", "step", "expected"),
    [
        (DecayChoice.linear, 35, 1.5),
        (DecayChoice.linear, 60, 1.0),
        (DecayChoice.linear, 109, 0.02),
        (DecayChoice.cosine, 35, 1 + 0.5**0.5),
        (DecayChoice.cosine, 60, 1.0),
        (DecayChoice.cosine, 109, 0.000493),
    ],
)
def test_the_rate_falls_to_zero(decay: DecayChoice, step: int, expected: float) -> None:
    assert rate(step, decay) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("decay", list(DecayChoice))
def test_after_the_last_step_the_rate_would_be_zero(decay: DecayChoice) -> None:
    assert rate(110, decay) == pytest.approx(0.0, abs=1e-12)
    rates = [rate(step, decay) for step in range(10, 110)]
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))


@pytest.mark.parametrize("decay", list(DecayChoice))
def test_without_warm_up_training_begins_at_the_peak(decay: DecayChoice) -> None:
    assert rate(0, decay, steps=5, warmup=0) == 2.0
    assert rate(0, decay, steps=1, warmup=0) == 2.0


@pytest.mark.parametrize("decay", list(DecayChoice))
def test_warm_up_may_last_to_the_end(decay: DecayChoice) -> None:
    assert [rate(step, decay, steps=4, warmup=4) for step in range(4)] == [0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize("choice", list(OptimizerChoice))
def test_a_toy_loss_falls(choice: OptimizerChoice) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.GELU(), nn.Linear(32, 1))
    inputs = torch.randn(64, 20)
    target = inputs[:, :1] * inputs[:, 1:2]
    optimizer = build_optimizer(model, choice, 0.01, 0.0)
    losses = []
    for _ in range(100):
        loss = (model(inputs) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 5


@pytest.mark.parametrize("choice", list(OptimizerChoice))
def test_matrices_decay_apart_from_the_gradient_and_vectors_do_not(choice: OptimizerChoice) -> None:
    model = tiny_coca()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, choice, 0.01, 0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.step()
    decayed = []
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            torch.testing.assert_close(parameter.detach(), before[name] * (1 - 0.01 * 0.5) ** 2)
            decayed.append(name)
        else:
            assert torch.equal(parameter, before[name]), name
    assert "text.embedding.weight" in decayed
    assert not [name for name in decayed if "norm" in name or name.endswith("bias") or name == "log_scale"]


@pytest.mark.parametrize("choice", list(OptimizerChoice))
def test_frozen_weights_stay_as_they_are(choice: OptimizerChoice) -> None:
    model = tiny_coca()
    model.image.requires_grad_(False)
    optimizer = build_optimizer(model, choice, 0.01, 0.5)
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert trained == {id(p) for name, p in model.named_parameters() if not name.startswith("image.")}


def test_adafactor_keeps_factored_second_and_whole_first_moments() -> None:
    weight = nn.Linear(64, 32)
    optimizer = build_optimizer(weight, OptimizerChoice.adafactor, 0.01, 0.0)
    weight(torch.randn(4, 64)).sum().backward()
    optimizer.step()
    state = optimizer.state[weight.weight]
    assert state["exp_avg_sq_r"].numel() + state["exp_avg_sq_c"].numel() == 64 + 32
    assert state["exp_avg"].shape == (32, 64)
    assert state["exp_avg"].dtype == torch.float32


def test_muon_steps_in_all_directions_alike_and_as_far_as_adamw() -> None:
    model = nn.Sequential(nn.Linear(64, 32, bias=False))
    before = model[0].weight.detach().clone()
    optimizer = build_optimizer(model, OptimizerChoice.muon, 0.01, 0.0)
    inputs = torch.randn(8, 64, generator=torch.Generator().manual_seed(3)) * torch.logspace(-2, 2, 8)[:, None]
    (model(inputs) * torch.randn(8, 32, generator=torch.Generator().manual_seed(4))).sum().backward()
    gradient, rank = model[0].weight.grad, 8
    assert gradient is not None
    assert torch.linalg.svdvals(gradient)[:rank].max() > 100 * torch.linalg.svdvals(gradient)[:rank].min()
    optimizer.step()
    lengths = torch.linalg.svdvals(before - model[0].weight.detach())[:3] / (0.01 * 0.2 * 64**0.5)
    assert lengths == pytest.approx(torch.ones(3), abs=0.35)  # the iteration goes five steps, to 0.7 ... 1.2


def test_muon_takes_the_matrices_between_layers_alone() -> None:
    model = tiny_coca()
    optimizer = build_optimizer(model, OptimizerChoice.muon, 0.01, 0.5)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    optimizer.step()
    turned = {name for name, p in model.named_parameters() if "momentum_buffer" in optimizer.state[p]}
    assert {"image.vit.blocks.0.mlp.0.weight", "decoder.layers.0.cross.attention.kv.weight"} <= turned
    others = {name for name, p in model.named_parameters() if p.ndim >= 2} - turned
    assert others == {
        "image.vit.positions",
        "image.vit.patches.weight",
        "image.generative.queries",
        "image.contrastive.queries",
        "text.cls",
        "text.positions",
        "text.embedding.weight",
        "decoder.to_vocab.weight",
    }
    assert all("exp_avg_sq" in optimizer.state[p] for name, p in model.named_parameters() if name not in turned)


def test_the_temperature_is_optimised_in_a_group_of_its_own() -> None:
    """It is never cut into shards, and the fused optimisers take no mixture."""
    model = tiny_coca()
    for choice in OptimizerChoice:
        optimizer = build_optimizer(model, choice, 0.01, 0.5)
        ranks = [{p.ndim for p in group["params"]} for group in optimizer.param_groups]
        assert ranks[-2:] == [{1}, {0}]
        assert 0 not in ranks[0]
        *matrices, vectors, temperature = (group["weight_decay"] for group in optimizer.param_groups)
        assert (set(matrices), vectors, temperature) == ({0.5}, 0.0, 0.0)
        assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))


# --- frozen parts ---


def still(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["image"], "image."),
        (["image.vit"], "image.vit."),
        (["text.blocks.[0-5]"], "text.blocks."),
        (["text.embedding.weight"], "text.embedding.weight"),
        (["decoder.layers.?.cross.*"], "decoder.layers.0.cross."),
        (["log_scale"], "log_scale"),
        (["*"], ""),
    ],
)
def test_a_pattern_freezes_what_it_names(patterns: list[str], expected: str) -> None:
    model = tiny_coca()
    frozen = freeze(model, patterns)
    assert still(model) == {name for name, _ in model.named_parameters() if name.startswith(expected)}
    assert frozen == sum(p.numel() for name, p in model.named_parameters() if name in still(model)) > 0


def test_several_patterns_add_up_and_none_freezes_nothing() -> None:
    model = tiny_coca()
    assert freeze(model, []) == 0
    assert still(model) == set()
    freeze(model, ["log_scale", "text.*norm*"])
    assert "log_scale" in still(model)
    assert "text.blocks.0.norm1.weight" in still(model)
    assert "text.embedding.weight" not in still(model)


def test_a_part_of_a_name_names_nothing() -> None:
    """`image.vi` is no module, and `text` is not `text_`."""
    model = tiny_coca()
    for pattern in ("image.vi", "IMAGE", "blocks"):
        with pytest.raises(UnknownName, match="unknown parameters to freeze"):
            freeze(model, ["log_scale", pattern])


def test_a_mistyped_pattern_is_answered_with_what_is_near() -> None:
    with pytest.raises(UnknownName, match=r"unknown parameters to freeze 'imaeg'\. Did you mean image\?"):
        freeze(tiny_coca(), ["imaeg"])


# --- what captions do not reach ---


def caption_loss(model: CoCa) -> Tensor:
    tokens = texts(10, 7, 4)
    logits = model(pictures(3), tokens).logits
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=0)


@pytest.mark.parametrize("build", BUILDS)
def test_exactly_what_captions_do_not_reach_is_frozen(build: str) -> None:
    model = small_coca(*BUILDS[build])
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(caption_loss(model), parameters, allow_unused=True)
    unreached = {name for name, found in zip(names, gradients, strict=True) if found is None or not found.any()}
    assert {"text.cls", "text.norm.weight", "text.norm.bias", "log_scale"} <= unreached < set(names)
    freeze_contrastive(model)
    assert still(model) == unreached
    assert ("image.contrastive.queries" in unreached) is (model.config.pooler.wiring != "shared")
    assert ({"image.projection.weight", "text.projection.weight"} <= unreached) is model.config.projection


@pytest.mark.parametrize("build", [name for name in BUILDS if not name.startswith(("shared", "open_clip"))])
def test_exactly_what_the_contrastive_loss_does_not_reach_is_frozen(build: str) -> None:
    """Of a shared pooler some rows are reached and some are not: it stays trained."""
    model = small_coca(*BUILDS[build])
    names, parameters = zip(*model.named_parameters(), strict=True)
    image, text = model.encode_image(pictures(2)), model.encode_text(texts(5, 3))
    loss = (model.logit_scale * F.normalize(image.embedding, dim=-1) @ F.normalize(text.embedding, dim=-1).T).square()
    gradients = torch.autograd.grad(loss.sum(), parameters, allow_unused=True)
    unreached = {name for name, found in zip(names, gradients, strict=True) if found is None}
    freeze_captioning(model, pooler=model.config.pooler.wiring == "parallel")
    assert still(model) == unreached
    assert "decoder.to_vocab.weight" in unreached


def test_what_was_frozen_before_stays_so() -> None:
    model = tiny_coca()
    freeze(model, ["image"])
    freeze_contrastive(model)
    assert still(model) >= {name for name, _ in model.named_parameters() if name.startswith("image.")} | {"text.cls"}


def steps_on_captions(build: str, choice: OptimizerChoice) -> tuple[CoCa, CoCa]:
    """A model, and what two long steps on captions with weight decay make of it."""
    before, model = small_coca(*BUILDS[build]), small_coca(*BUILDS[build])
    freeze_contrastive(model)
    optimizer = build_optimizer(model, choice, 0.01, 0.5)
    for _ in range(2):
        optimizer.zero_grad()
        caption_loss(model).backward()
        optimizer.step()
    return before, model


@pytest.mark.parametrize(
    ("build", "choice"),
    [
        *((build, OptimizerChoice.adafactor) for build in BUILDS),
        *(("cascade", choice) for choice in OptimizerChoice if choice is not OptimizerChoice.adafactor),
    ],
)
def test_steps_on_captions_leave_the_frozen_bit_for_bit_and_move_all_else(build: str, choice: OptimizerChoice) -> None:
    before, model = steps_on_captions(build, choice)
    frozen = still(model)
    after = dict(model.named_parameters())
    assert {name for name, value in before.named_parameters() if torch.equal(value, after[name])} == frozen
    assert frozen


@pytest.mark.parametrize("build", ["cascade", "parallel, own widths", "shared, own widths"])
def test_steps_on_captions_leave_the_heads_of_the_embeddings_alone(build: str) -> None:
    """The same features, before and after, become the same embeddings."""
    before, model = steps_on_captions(build, OptimizerChoice.adamw)
    hidden = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model.text._pool(hidden), before.text._pool(hidden))
    assert torch.equal(model.logit_scale, before.logit_scale)
    pooled = torch.randn(3, model.config.pooler.width, generator=torch.Generator().manual_seed(2))
    assert torch.equal(model.image.projection(pooled), before.image.projection(pooled))
    if model.image.contrastive is not None and before.image.contrastive is not None:
        width = model.config.vision.width if model.image.parallel else model.config.pooler.width
        seen = torch.randn(3, 5, width, generator=torch.Generator().manual_seed(3))
        assert torch.equal(model.image.contrastive(seen), before.image.contrastive(seen))
    assert not torch.equal(model.embed_text(texts(5)), before.embed_text(texts(5)))  # the layers below them are trained


# --- clipping ---


@pytest.mark.parametrize(("largest", "expected"), [(1.0, 1.0), (0.0, 13.0), (20.0, 13.0)])
def test_all_gradients_together_are_clipped_to_a_norm(largest: float, expected: float) -> None:
    model = nn.ModuleList([nn.Linear(2, 1, bias=False), nn.Linear(1, 1, bias=False), nn.Linear(9, 9)])
    model[0].weight.grad = torch.tensor([[3.0, 4.0]])
    model[1].weight.grad = torch.tensor([[12.0]])
    assert clip_gradients(model, largest).item() == pytest.approx(13.0)
    found = torch.cat([model[0].weight.grad.flatten(), model[1].weight.grad.flatten()])
    torch.testing.assert_close(found, torch.tensor([3.0, 4.0, 12.0]) * (expected / 13), atol=1e-5, rtol=1e-5)
    assert model[2].weight.grad is None


def test_a_gradient_that_is_no_number_shows_in_the_norm() -> None:
    model = nn.Linear(2, 2)
    model.weight.grad = torch.full((2, 2), torch.nan)
    model.bias.grad = torch.ones(2)
    assert clip_gradients(model, 1.0).isnan()
