from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import CoCaLoss
from torch import Tensor

from coca_cli.model.coca import CoCaOutput
from coca_cli.training.losses import caption_loss, coca_losses, contrastive_loss
from tests.tasks.tiny import LetterTokenizer, tiny_coca

VOCABULARY = 50


def random_output(seed: int, batch: int = 6, length: int = 9) -> tuple[CoCaOutput, Tensor]:
    """A model's output on texts of several lengths, padded with 0."""
    random = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, VOCABULARY, (batch, length), generator=random)
    for row in range(batch):
        tokens[row, length - row :] = 0
    image, text = (F.normalize(torch.randn(batch, 16, generator=random), dim=-1) for _ in range(2))
    logits = 3 * torch.randn(batch, length - 1, VOCABULARY, generator=random)
    return CoCaOutput(image, text, logits, torch.tensor(14.3)), tokens


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("contrastive", "caption"), [(1.0, 2.0), (0.5, 3.0), (1.0, 0.0)])
def test_both_losses_equal_open_clip(seed: int, contrastive: float, caption: float) -> None:
    output, tokens = random_output(seed)
    theirs = CoCaLoss(caption_loss_weight=caption, clip_loss_weight=contrastive, pad_id=0)
    expected = theirs(
        output.image_embedding,
        output.text_embedding,
        output.logits,
        tokens[:, 1:],
        output.logit_scale,
        output_dict=True,
    )
    found = coca_losses(output, tokens, 0, contrastive_weight=contrastive, caption_weight=caption)
    torch.testing.assert_close(contrastive * found.contrastive, expected["contrastive_loss"], atol=1e-6, rtol=0)
    torch.testing.assert_close(caption * found.caption, expected["caption_loss"], atol=1e-6, rtol=0)
    torch.testing.assert_close(found.total, sum(expected.values()), atol=1e-5, rtol=0)


def test_the_contrastive_loss_of_two_perfect_pairs_by_hand() -> None:
    embedding = torch.eye(2)
    for scale in (0.0, 1.0, 10.0):
        found = contrastive_loss(embedding, embedding, torch.tensor(scale))
        assert found.item() == pytest.approx(math.log(1 + math.exp(-scale)), abs=1e-6)
    assert contrastive_loss(embedding, embedding.flip(0), torch.tensor(10.0)).item() == pytest.approx(10.0, abs=1e-3)


def test_both_directions_are_averaged() -> None:
    output, _ = random_output(0)
    logits = output.logit_scale * output.image_embedding @ output.text_embedding.T
    rows = -logits.log_softmax(dim=1).diagonal().mean()
    columns = -logits.log_softmax(dim=0).diagonal().mean()
    assert (rows - columns).abs() > 0.01  # else one direction alone would pass
    found = contrastive_loss(output.image_embedding, output.text_embedding, output.logit_scale)
    torch.testing.assert_close(found, (rows + columns) / 2)
    swapped = contrastive_loss(output.text_embedding, output.image_embedding, output.logit_scale)
    torch.testing.assert_close(found, swapped)


def test_a_position_predicts_the_token_after_it() -> None:
    tokens = torch.tensor([[1, 7, 8, 9, 2, 0], [1, 5, 2, 0, 0, 0]])
    foresees = 30.0 * F.one_hot(tokens[:, 1:], 10).float()
    copies = 30.0 * F.one_hot(tokens[:, :-1], 10).float()
    assert caption_loss(foresees, tokens, 0).item() < 1e-6
    assert caption_loss(copies, tokens, 0).item() == pytest.approx(30.0, abs=1e-3)


def test_padding_is_left_out_of_the_caption_loss() -> None:
    output, tokens = random_output(1)
    changed = output.logits.clone()
    changed[tokens[:, 1:] == 0] = 99 * torch.randn(VOCABULARY)
    found = caption_loss(output.logits, tokens, 0)
    torch.testing.assert_close(caption_loss(changed, tokens, 0), found, atol=0, rtol=0)
    rows = [
        F.cross_entropy(logits[: int((row[1:] != 0).sum())], row[1:][row[1:] != 0], reduction="sum")
        for logits, row in zip(output.logits, tokens, strict=True)
    ]
    torch.testing.assert_close(found, torch.stack(rows).sum() / (tokens[:, 1:] != 0).sum())  # a mean over tokens


def test_more_padding_changes_nothing() -> None:
    output, tokens = random_output(2)
    found = caption_loss(F.pad(output.logits, (0, 0, 0, 3)), F.pad(tokens, (0, 3)), 0)
    torch.testing.assert_close(found, caption_loss(output.logits, tokens, 0))


def test_losses_are_fp32_also_of_a_bf16_model() -> None:
    output, tokens = random_output(3)
    half = CoCaOutput(*(part.to(torch.bfloat16) for part in output))
    whole = CoCaOutput(*(part.float() for part in half))  # the same numbers
    found = coca_losses(half, tokens, 0, contrastive_weight=1, caption_weight=2)
    exact = coca_losses(whole, tokens, 0, contrastive_weight=1, caption_weight=2)
    assert {loss.dtype for loss in found} == {torch.float32}
    torch.testing.assert_close(found.total, exact.total, atol=1e-6, rtol=0)


def test_one_pass_trains_every_weight_and_the_temperature() -> None:
    model = tiny_coca().train()
    tokens = LetterTokenizer().encode(["a cat", "the dog", "fox"])
    output = model(torch.randn(3, 3, 16, 16), tokens)
    coca_losses(output, tokens, 0, contrastive_weight=1, caption_weight=2).total.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert abs(model.log_scale.grad.item()) > 1e-4


@pytest.mark.parametrize(("contrastive", "caption", "still"), [(1, 0, "decoder"), (0, 1, "log_scale")])
def test_a_weight_of_zero_switches_a_loss_off(contrastive: float, caption: float, still: str) -> None:
    model = tiny_coca().train()
    tokens = LetterTokenizer().encode(["a cat", "the dog", "fox"])
    output = model(torch.randn(3, 3, 16, 16), tokens)
    coca_losses(output, tokens, 0, contrastive_weight=contrastive, caption_weight=caption).total.backward()
    for name, parameter in model.named_parameters():
        if name.startswith(still):
            assert parameter.grad is None or not parameter.grad.any(), name
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())
