from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from coca_cli.media.images import normalise
from coca_cli.model.coca import CoCa
from coca_cli.training.objective import Losses, Objective, Weights, backward, pack_texts
from coca_cli.training.optim import CONTRASTIVE, freeze_contrastive
from coca_cli.world import SINGLE
from tests.tasks.tiny import LetterTokenizer, tiny_coca
from tests.training.worlds import TEXTS, parts_of

WHOLE = slice(0, 8)


def plainly(model: CoCa, weights: Weights = Weights()) -> Losses:
    """Both losses straight from the model's public output, and their gradient by autograd."""
    pixels = parts_of(model, WHOLE, 1)[0].pixels
    tokens = LetterTokenizer().encode(TEXTS)
    output = model(normalise(pixels, model.config.image), tokens)
    logits = output.logit_scale * output.image_embedding @ output.text_embedding.T
    target = torch.arange(len(logits))
    contrastive = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    caption = F.cross_entropy(output.logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=model.pad_id)
    total = weights.contrastive * contrastive + weights.caption * caption
    total.backward()
    return Losses(total.item(), contrastive.item(), caption.item())


def gradients(model: CoCa) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("parts", [1, 2, 4, 8])
@pytest.mark.parametrize("weights", [Weights(), Weights(0.5, 3.0)])
def test_parts_give_losses_and_gradients_of_the_whole_batch(parts: int, weights: Weights) -> None:
    model = tiny_coca().train()
    expected = plainly(model, weights)
    right = gradients(model)
    found = backward(Objective(model), parts_of(model, WHOLE, parts), model.pad_id, weights, SINGLE)
    assert found == pytest.approx(expected, abs=1e-5)
    computed = gradients(model)
    assert computed.keys() == right.keys() == dict(model.named_parameters()).keys()
    for name, gradient in right.items():
        torch.testing.assert_close(computed[name], gradient, atol=1e-5, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


def test_parts_alone_would_be_another_loss() -> None:
    """What plain accumulation computes: every part with its own negatives alone."""
    model = tiny_coca().train()
    whole = backward(Objective(model), parts_of(model, WHOLE, 1), model.pad_id, Weights(), SINGLE)
    each = [backward(Objective(model), [part], model.pad_id, Weights(), SINGLE) for part in parts_of(model, WHOLE, 4)]
    assert abs(sum(losses.contrastive for losses in each) / 4 - whole.contrastive) > 0.1


def test_gradients_add_up() -> None:
    model = tiny_coca().train()
    parts = parts_of(model, WHOLE, 1)
    backward(Objective(model), parts, model.pad_id, Weights(), SINGLE)
    once = gradients(model)
    for _ in range(2):
        backward(Objective(model), parts, model.pad_id, Weights(), SINGLE)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, 2 * once[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(("weights", "still"), [(Weights(1, 0), "decoder."), (Weights(0, 1), "log_scale")])
def test_a_weight_of_zero_switches_a_loss_off(weights: Weights, still: str, parts: int) -> None:
    model = tiny_coca().train()
    backward(Objective(model), parts_of(model, WHOLE, parts), model.pad_id, weights, SINGLE)
    found = gradients(model)
    assert not any(gradient.any() for name, gradient in found.items() if name.startswith(still))
    assert any(gradient.any() for gradient in found.values())


@pytest.mark.parametrize("parts", [1, 2])
def test_without_the_caption_loss_nobody_asks_the_decoder(parts: int) -> None:
    """And the gradient is that of the contrastive loss."""
    model, expected = tiny_coca().train(), tiny_coca().train()
    plainly(expected, Weights(1, 0))
    asked: list[object] = []
    model.decoder.layers[0].register_forward_hook(lambda *_: asked.append(1))
    found = backward(Objective(model), parts_of(model, WHOLE, parts), model.pad_id, Weights(1, 0), SINGLE)
    assert (found.caption, asked) == (0.0, [])
    right = gradients(expected)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, right[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("parts", [1, 2])
def test_activations_computed_twice_change_nothing(parts: int) -> None:
    model, twice = tiny_coca().train(), tiny_coca().train()
    twice.checkpoint_activations()
    expected = backward(Objective(model), parts_of(model, WHOLE, parts), model.pad_id, Weights(), SINGLE)
    assert backward(Objective(twice), parts_of(twice, WHOLE, parts), twice.pad_id, Weights(), SINGLE) == expected
    right = gradients(model)
    for name, gradient in gradients(twice).items():
        torch.testing.assert_close(gradient, right[name], atol=1e-6, rtol=0)


def test_mixed_precision_keeps_weights_and_gradients_in_fp32() -> None:
    model = tiny_coca().train()
    exact = backward(Objective(model), parts_of(model, WHOLE, 2), model.pad_id, Weights(), SINGLE)
    model.zero_grad()
    mixed = backward(Objective(model, mixed=True), parts_of(model, WHOLE, 2), model.pad_id, Weights(), SINGLE)
    assert mixed != exact
    assert mixed == pytest.approx(exact, rel=0.02)
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}


def test_frozen_weights_get_no_gradient() -> None:
    model = tiny_coca().train()
    model.image.requires_grad_(False)
    backward(Objective(model), parts_of(model, WHOLE, 2), model.pad_id, Weights(), SINGLE)
    found = gradients(model)
    assert not any(name.startswith("image.") for name in found)
    assert found["text.embedding.weight"].any()


# --- captions alone ---

CAPTIONS_ALONE = Weights(0.0, 3.0)
WIRINGS = {
    "cascade": (),
    "parallel": ("pooler.wiring=parallel",),
    "shared": ("pooler.wiring=shared", "vision.final_norm=false"),
    "no queries": ("pooler.queries=0",),
    "own widths": ("projection=true", "embed_dim=24", "pooler.width=64"),
}


def caption_loss_alone(model: CoCa) -> float:
    """The caption loss from the model's logits, and 3 times its gradient by autograd."""
    pixels, tokens = parts_of(model, WHOLE, 1)[0].pixels, LetterTokenizer().encode(TEXTS)
    logits = model(normalise(pixels, model.config.image), tokens).logits
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=model.pad_id)
    (CAPTIONS_ALONE.caption * loss).backward()
    return loss.item()


def assert_caption_gradient(wiring: str, parts: int, *, frozen: bool) -> None:
    model = tiny_coca(0, *WIRINGS[wiring]).train()
    expected = caption_loss_alone(model)
    right = gradients(model)
    assert max(gradient.abs().max() for gradient in right.values()) > 0.1
    if frozen:
        freeze_contrastive(model)
    found = backward(Objective(model), parts_of(model, WHOLE, parts), model.pad_id, CAPTIONS_ALONE, SINGLE)
    assert found.caption == pytest.approx(expected, abs=1e-5)
    assert found.total == pytest.approx(3 * expected, abs=1e-5)
    computed = gradients(model)
    assert computed.keys() == right.keys() - ({"text.cls"} if frozen else set())
    for name, gradient in computed.items():
        torch.testing.assert_close(gradient, right[name], atol=1e-5, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("parts", [1, 4])
def test_captions_alone_have_the_gradient_of_the_caption_loss(wiring: str, parts: int) -> None:
    assert_caption_gradient(wiring, parts, frozen=False)


@pytest.mark.parametrize("wiring", ["cascade", "shared"])
def test_freezing_what_only_the_embeddings_need_changes_no_gradient(wiring: str) -> None:
    assert_caption_gradient(wiring, 2, frozen=True)


@pytest.mark.parametrize("wiring", WIRINGS)
def test_captions_alone_reach_all_but_what_only_the_embeddings_need(wiring: str) -> None:
    """The list of those parameters is complete, and no longer than it should be."""
    model = tiny_coca(0, *WIRINGS[wiring]).train()
    backward(Objective(model), parts_of(model, WHOLE, 2), model.pad_id, CAPTIONS_ALONE, SINGLE)
    reached = {name for name, gradient in gradients(model).items() if gradient.any()}
    apart = {name for name, _ in model.named_parameters() if name.startswith(CONTRASTIVE)}
    assert {"text.cls", "text.norm.weight", "log_scale"} < apart
    assert reached == {name for name, _ in model.named_parameters()} - apart


def test_captions_alone_look_at_the_contrastive_loss_of_the_batch() -> None:
    model = tiny_coca().train()
    parts = parts_of(model, WHOLE, 1)
    with_both = backward(Objective(model), parts, model.pad_id, Weights(), SINGLE)
    assert plainly(model).contrastive == pytest.approx(with_both.contrastive, abs=1e-5)
    found = backward(Objective(model), parts, model.pad_id, CAPTIONS_ALONE, SINGLE)
    assert found.contrastive == pytest.approx(with_both.contrastive, abs=1e-6)
    assert found.total == pytest.approx(3 * found.caption)  # it does not count


def test_captions_alone_in_parts_look_at_the_mean_contrastive_loss_of_the_parts() -> None:
    model = tiny_coca().train()
    parts = parts_of(model, WHOLE, 4)
    each = [backward(Objective(model), [part], model.pad_id, Weights(), SINGLE).contrastive for part in parts]
    found = backward(Objective(model), parts, model.pad_id, CAPTIONS_ALONE, SINGLE)
    assert found.contrastive == pytest.approx(sum(each) / 4, abs=1e-5)
    assert max(each) - min(each) > 0.1


def test_captions_alone_go_through_the_model_once() -> None:
    """The contrastive loss of parts takes a pass more."""
    model = tiny_coca().train()
    seen = []
    model.image.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    for weights, passes in ((CAPTIONS_ALONE, [True] * 4), (Weights(), [False] * 4 + [True] * 4)):
        seen.clear()
        backward(Objective(model), parts_of(model, WHOLE, 4), model.pad_id, weights, SINGLE)
        assert seen == passes


def test_texts_are_packed_without_their_padding() -> None:
    model = tiny_coca()
    tokens = LetterTokenizer().encode(["ab", "abcd"])  # 4 and 6 positions with begin and end
    packed = pack_texts(model, tokens)
    assert packed.tokens.shape == (2, 6)
    assert packed.rows.tolist() == [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13]  # a [CLS] after each row of 6
    assert packed.caption_rows.tolist() == [0, 1, 2, 5, 6, 7, 8, 9]
    assert packed.targets.tolist() == [*tokens[0, 1:4].tolist(), *tokens[1, 1:6].tolist()]
