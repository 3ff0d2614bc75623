from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import CoCaLoss
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from coca_cli.media.images import normalise
from coca_cli.model.coca import CoCa
from coca_cli.training import losses as module
from coca_cli.training.losses import contrastive_loss, summed_caption_loss
from coca_cli.training.objective import Losses, Objective, Part, Weights, backward, pack_texts
from tests.tasks.tiny import LetterTokenizer, tiny_coca

VOCABULARY, WIDTH = 50, 16
TEXTS = ("a cat", "the dog", "fox", "", "over the lazy dog", "x y z")


def random_embeddings(seed: int, batch: int = 6) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    image, text = (F.normalize(torch.randn(batch, 16, generator=random), dim=-1) for _ in range(2))
    return image, text


def random_captions(n: int = 150, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """What the vocabulary head takes, its weight, and next tokens of which a tenth is padding."""
    random = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, WIDTH, generator=random)
    weight = torch.randn(VOCABULARY, WIDTH, generator=random)
    targets = torch.randint(1, VOCABULARY, (n,), generator=random)
    targets[torch.rand(n, generator=random) < 0.1] = 0
    return hidden, weight, targets


def plain_caption_loss(hidden: Tensor, weight: Tensor, targets: Tensor, pad_id: int) -> Tensor:
    """Torch's own, over the whole logits."""
    return F.cross_entropy(hidden @ weight.T, targets, ignore_index=pad_id, reduction="sum")


def with_gradients(loss: Callable[..., Tensor], hidden: Tensor, weight: Tensor, *rest: Any) -> list[Tensor]:
    """The loss and its gradients by both, scaled by a factor that comes after it."""
    hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    found = loss(hidden, weight, *rest)
    (0.3 * found).backward()
    assert hidden.grad is not None
    assert weight.grad is not None
    return [found.detach(), hidden.grad, weight.grad]


def random_part(model: CoCa, texts: tuple[str, ...] = TEXTS) -> tuple[Part, Tensor]:
    """Random pictures and these texts for the model, and the texts' tokens."""
    pixels = torch.randint(0, 256, (len(texts), 3, 16, 16), generator=torch.Generator().manual_seed(1)).byte()
    tokens = LetterTokenizer().encode(texts)
    return Part(pixels, pack_texts(model, tokens)), tokens


def trained(model: CoCa, weights: Weights) -> Losses:
    return backward(Objective(model), [random_part(model)[0]], model.pad_id, weights)


def gradients(model: CoCa) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


# --- contrastive ---


def test_the_contrastive_loss_of_two_perfect_pairs_by_hand() -> None:
    embedding = torch.eye(2)
    for scale in (0.0, 1.0, 10.0):
        found = contrastive_loss(embedding, embedding, torch.tensor(scale))
        assert found.item() == pytest.approx(math.log(1 + math.exp(-scale)), abs=1e-6)
    assert contrastive_loss(embedding, embedding.flip(0), torch.tensor(10.0)).item() == pytest.approx(10.0, abs=1e-3)


def test_both_directions_are_averaged() -> None:
    image, text = random_embeddings(0)
    scale = torch.tensor(14.3)
    logits = scale * image @ text.T
    rows = -logits.log_softmax(dim=1).diagonal().mean()
    columns = -logits.log_softmax(dim=0).diagonal().mean()
    assert (rows - columns).abs() > 0.01  # else one direction alone would pass
    found = contrastive_loss(image, text, scale)
    torch.testing.assert_close(found, (rows + columns) / 2)
    torch.testing.assert_close(found, contrastive_loss(text, image, scale))


def test_equal_texts_are_no_negatives() -> None:
    image, text = random_embeddings(3)
    scale, ids = torch.tensor(5.0), torch.tensor([7, 8, 7, 9, 10, 8])
    found = contrastive_loss(image, text, scale, ids=ids)
    expected = []
    for rows, columns in ((image, text), (text, image)):
        for row in range(6):
            others = [column for column in range(6) if column == row or ids[column] != ids[row]]
            logits = 5.0 * rows[row] @ columns[others].T
            expected.append(logits.logsumexp(dim=0) - logits[others.index(row)])
    torch.testing.assert_close(found, torch.stack(expected).mean())
    assert found < contrastive_loss(image, text, scale)
    torch.testing.assert_close(
        contrastive_loss(image, text, scale, ids=torch.arange(6)), contrastive_loss(image, text, scale)
    )
    assert contrastive_loss(image, text, scale, ids=torch.zeros(6)).item() == 0.0


def test_the_contrastive_loss_is_fp32_also_of_bf16_embeddings() -> None:
    half = [part.to(torch.bfloat16) for part in (*random_embeddings(3), torch.tensor(14.3))]
    found = contrastive_loss(*half)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, contrastive_loss(*(part.float() for part in half)), atol=1e-6, rtol=0)


# --- caption ---


@pytest.mark.parametrize("chunk", [1, 7, 64, 150, 1000])
def test_the_caption_loss_and_its_gradients_equal_torchs(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of rows that are computed together."""
    monkeypatch.setattr(module, "CHUNK_LOGITS", 1)
    monkeypatch.setattr(module, "LEAST_ROWS", chunk)
    captions = (*random_captions(), 0)
    expected = with_gradients(plain_caption_loss, *captions)
    for found, right in zip(with_gradients(summed_caption_loss, *captions), expected, strict=True):
        torch.testing.assert_close(found, right, atol=1e-4, rtol=1e-5)
        assert right.abs().max() > 1


def test_gradients_of_fp64_are_those_of_fp64() -> None:
    """Only the softmax is fp32."""
    hidden, weight, targets = random_captions(40)
    expected = with_gradients(plain_caption_loss, hidden.double(), weight.double(), targets, 0)
    found = with_gradients(summed_caption_loss, hidden.double(), weight.double(), targets, 0)
    assert [part.dtype for part in found] == [torch.float32, torch.float64, torch.float64]
    for part, right in zip(found, expected, strict=True):
        torch.testing.assert_close(part.double(), right, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("which", ["hidden", "weight", "neither"])
def test_gradients_are_computed_where_they_are_wanted_alone(which: str) -> None:
    hidden, weight, targets = random_captions()
    hidden.requires_grad_(which == "hidden")
    weight.requires_grad_(which == "weight")
    loss = summed_caption_loss(hidden, weight, targets, 0)
    torch.testing.assert_close(loss, plain_caption_loss(hidden, weight, targets, 0))
    assert loss.requires_grad is (which != "neither")
    if which != "neither":
        loss.backward()
    assert (hidden.grad is not None) is (which == "hidden")
    assert (weight.grad is not None) is (which == "weight")


def test_padding_is_left_out_of_the_caption_loss() -> None:
    hidden, weight, targets = random_captions()
    counted = targets != 0
    assert 100 < counted.sum() < 150
    full = with_gradients(summed_caption_loss, hidden, weight, targets, 0)
    short = with_gradients(summed_caption_loss, hidden[counted], weight, targets[counted], 0)
    torch.testing.assert_close(full[0], short[0])
    torch.testing.assert_close(full[1][counted], short[1])
    assert not full[1][~counted].any()
    torch.testing.assert_close(full[2], short[2], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(  # with another padding id, 0 is a word like any other
        summed_caption_loss(hidden, weight, targets, 49), plain_caption_loss(hidden, weight, targets, 49)
    )


def test_nothing_but_padding_has_no_loss() -> None:
    hidden, weight, targets = random_captions()
    for n in (0, 5):
        found = with_gradients(summed_caption_loss, hidden[:n], weight, torch.zeros_like(targets[:n]), 0)
        assert not any(part.any() for part in found)


def test_large_logits_stay_finite() -> None:
    hidden, weight, targets = random_captions()
    expected = with_gradients(plain_caption_loss, 1e3 * hidden, weight, targets, 0)
    found = with_gradients(summed_caption_loss, 1e3 * hidden, weight, targets, 0)
    for part, right in zip(found, expected, strict=True):
        torch.testing.assert_close(part, right, atol=1e-2, rtol=1e-5)


@pytest.mark.parametrize("chunk", [64, 1000])
def test_bf16_autocast_is_close_and_sums_in_fp32(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_LOGITS", 1)
    monkeypatch.setattr(module, "LEAST_ROWS", chunk)
    hidden, weight, targets = random_captions(300)
    expected = with_gradients(plain_caption_loss, hidden, weight, targets, 0)

    def mixed(*captions: Any) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return summed_caption_loss(*captions)

    found = with_gradients(mixed, hidden, weight, targets, 0)
    assert {part.dtype for part in found} == {torch.float32}
    assert found[0].item() == pytest.approx(expected[0].item(), rel=2e-3)
    assert found[0] != expected[0]
    for part, right in zip(found[1:], expected[1:], strict=True):
        assert F.cosine_similarity(part.flatten(), right.flatten(), dim=0) > 0.999


class LargestLogits(TorchDispatchMode):
    """Notes the most rows that any tensor with one column per word has had, by dtype; the weight turned is none."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.words, self.width = words, width
        self.rows: dict[torch.dtype, int] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        result = function(*arguments, **(keywords or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.ndim > 1 and leaf.shape[-1] == self.words:
                if leaf.shape == (self.width, self.words):
                    continue
                rows = leaf.numel() // self.words
                self.rows[leaf.dtype] = max(rows, self.rows.get(leaf.dtype, 0))
        return result


@pytest.mark.parametrize("mixed", [False, True])
def test_the_logits_of_a_batch_never_stand_at_once(mixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a whole training step, not of the loss alone."""
    monkeypatch.setattr(module, "CHUNK_LOGITS", 1)
    monkeypatch.setattr(module, "LEAST_ROWS", 8)
    model = tiny_coca().train()
    sizes = (model.config.text.vocab_size, model.config.text.width)
    part, _ = random_part(model)
    assert len(part.texts.targets) > 40
    with LargestLogits(*sizes) as seen:
        backward(Objective(model, mixed=mixed), [part], model.pad_id, Weights())
    assert set(seen.rows.values()) == {8}
    with LargestLogits(*sizes) as plain:
        model(normalise(part.pixels, model.config.image), part.texts.tokens)
    assert plain.rows[torch.float32] > 40  # the probe sees them where they are


# --- both, through the model ---


@pytest.mark.peer
@pytest.mark.parametrize(("contrastive", "caption"), [(1.0, 2.0), (0.5, 3.0), (1.0, 0.0)])
def test_losses_and_gradients_equal_open_clips(contrastive: float, caption: float) -> None:
    model = tiny_coca().train()
    found = trained(model, Weights(contrastive, caption))
    ours = gradients(model)
    model.zero_grad()
    part, tokens = random_part(model)
    output = model(normalise(part.pixels, model.config.image), tokens)
    theirs = CoCaLoss(caption_loss_weight=caption, clip_loss_weight=contrastive, pad_id=0)(
        output.image_embedding,
        output.text_embedding,
        output.logits,
        tokens[:, 1:],
        output.logit_scale,
        output_dict=True,
    )
    sum(theirs.values()).backward()
    assert contrastive * found.contrastive == pytest.approx(theirs["contrastive_loss"].item(), abs=1e-5)
    assert caption * found.caption == pytest.approx(theirs["caption_loss"].item(), abs=1e-5)
    assert found.total == pytest.approx(sum(theirs.values()).item(), abs=1e-5)
    wanted = gradients(model)
    for name in set(wanted) - set(ours):  # what does not matter is not computed here
        assert caption == 0
        assert not wanted[name].any(), name
    for name, found_here in ours.items():
        torch.testing.assert_close(found_here, wanted[name], atol=2e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_a_position_predicts_the_token_after_it() -> None:
    """[BOS] predicts the first letter, the last letter predicts [EOS], and [EOS] predicts nothing."""
    model = tiny_coca()
    texts = pack_texts(model, LetterTokenizer().encode(["ab", "", "xyz"]))
    a, b, x, y, z = (3 + ord(letter) - 32 for letter in "abxyz")
    assert texts.targets.tolist() == [a, b, 2, 2, x, y, z, 2]
    begins = texts.tokens[:, :-1].flatten()[texts.caption_rows]
    assert begins.tolist() == [1, a, b, 1, 1, x, y, z]


def test_more_padding_changes_nothing() -> None:
    model = tiny_coca()
    tokens = LetterTokenizer().encode(TEXTS)
    short = pack_texts(model, tokens[:, : int((tokens != 0).sum(dim=1).max())])
    for one, other in zip(pack_texts(model, tokens), short, strict=True):
        assert torch.equal(one, other)


def test_one_pass_trains_every_weight_and_the_temperature() -> None:
    model = tiny_coca().train()
    trained(model, Weights())
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert abs(model.log_scale.grad.item()) > 1e-4
