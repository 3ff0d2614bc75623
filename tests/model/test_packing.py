"""Texts without their padding come out as the same texts with it: outputs and gradients."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from coca_cli.model.coca import CoCa
from coca_cli.model.packing import Packing
from coca_cli.model.text import text_lengths, trim_tokens
from coca_cli.training.objective import pack_texts
from tests.model.small_models import BUILDS, small_coca, texts
from tests.parity.open_clip_models import narrow_l14, random_pair
from tests.tasks.tiny import LetterTokenizer, tiny_coca

SEVERAL = (1, 10, 3, 7, 2)
"""Lengths, of which one fills the context of `small_coca`."""


def tiny(build: str) -> CoCa:
    """`coca_tiny` in the small, or one of open_clip's CoCa narrowed, with the mask of that name."""
    if build == "tiny":
        return tiny_coca()
    return random_pair(narrow_l14(correct_mask=build == "correct"))[1]


def inner_padding(tokens: Tensor) -> Tensor:
    """The same texts, each longer than two tokens with the padding id in its middle."""
    found = tokens.clone()
    for row, length in zip(found, text_lengths(tokens, 0).tolist(), strict=True):
        if length > 2:
            row[length // 2] = 0
    return found


class Outcome(NamedTuple):
    embedding: Tensor
    words: Tensor  # (m, W) what the vocabulary head takes at the positions that predict
    gradients: dict[str, Tensor]


def outcome(model: CoCa, tokens: Tensor, *, packed: bool) -> Outcome:
    """Text embedding and decoder output, and the gradients of a random product with both."""
    random = torch.Generator().manual_seed(5)
    image_width = model.config.pooler.width if model.config.pooler.queries else model.config.vision.width
    image_tokens = torch.randn(len(tokens), 4, image_width, generator=random)
    part = pack_texts(model, tokens)
    if packed:
        text = model.text(part.tokens, part.rows)
        words = model.decoder.read(text.hidden[:, :-1], image_tokens, part.caption_rows)
    else:
        text = model.text(part.tokens)
        words = model.decoder.read(text.hidden[:, :-1], image_tokens).flatten(0, 1)[part.caption_rows]
    model.zero_grad()
    by_text, by_word = (torch.randn(x.shape, generator=random) for x in (text.embedding, words))
    ((text.embedding * by_text).sum() + (words * by_word).sum()).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return Outcome(text.embedding.detach(), words.detach(), gradients)


def assert_packing_changes_nothing(model: CoCa, tokens: Tensor) -> None:
    found, expected = (outcome(model, tokens, packed=packed) for packed in (True, False))
    torch.testing.assert_close(found.embedding, expected.embedding, atol=2e-5, rtol=0)
    torch.testing.assert_close(found.words, expected.words, atol=5e-5, rtol=0)
    assert found.gradients.keys() == expected.gradients.keys()
    for name, right in expected.gradients.items():
        size = max(1.0, right.abs().max().item())
        torch.testing.assert_close(
            found.gradients[name], right, atol=2e-5 * size, rtol=0, msg=lambda m, n=name: f"{n}: {m}"
        )
    assert expected.gradients["text.cls"].abs().max() > 1e-3


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("change", [torch.clone, inner_padding])
def test_every_build_gives_the_same_without_padding(build: str, change: object) -> None:
    assert callable(change)
    assert_packing_changes_nothing(small_coca(*BUILDS[build]), change(texts(*SEVERAL)))


@pytest.mark.parametrize("build", ["open_clip", "open_clip, legacy mask", "cascade"])
@pytest.mark.parametrize("length", range(1, 11))
def test_every_length_gives_the_same(build: str, length: int) -> None:
    model = small_coca(*BUILDS[build])
    if length > 1:  # a single word predicts nothing, and no tokenizer writes one
        assert_packing_changes_nothing(model, texts(length))
    assert_packing_changes_nothing(model, texts(length, 9))


@pytest.mark.parametrize("build", ["tiny", "correct", "legacy"])
def test_real_shapes_give_the_same_without_padding(build: str) -> None:
    model = tiny(build)
    if build == "tiny":
        tokens = LetterTokenizer().encode(["a cat", "", "the quick brown fox jumps over it", "x" * 22])
    else:
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(1, 49408, (4, model.config.text.context), generator=generator)
        for row, length in zip(tokens, (5, 76, 2, 30), strict=True):
            row[length:] = 0
    assert text_lengths(tokens, 0).max() == model.config.text.context
    assert_packing_changes_nothing(model, tokens)
    assert_packing_changes_nothing(model, inner_padding(tokens))
    assert_packing_changes_nothing(model, tokens[:1])  # trimmed to a short one


def test_padding_is_not_computed() -> None:
    model = small_coca()
    tokens = texts(4, 2, 7)
    rows: list[int] = []
    for layer in (model.text.blocks[0].mlp, model.decoder.layers[0].cross.mlp):
        layer.register_forward_pre_hook(lambda _, arguments: rows.append(arguments[0].shape[:-1].numel()))
    outcome(model, tokens, packed=True)
    assert rows == [4 + 2 + 7 + 3, 3 + 1 + 6]  # words and [CLS]; all but each last word
    rows.clear()
    outcome(model, tokens, packed=False)
    assert rows == [3 * 8, 3 * 6]


def test_the_legacy_mask_keeps_the_one_padding_that_cls_sees() -> None:
    correct, legacy = (small_coca(*BUILDS[name]) for name in ("open_clip", "open_clip, legacy mask"))
    tokens = trim_tokens(texts(4, 2), pad_id=0)
    assert correct.text.packed_rows(tokens).tolist() == [0, 1, 2, 3, 4, 5, 6, 9]
    # one position wider, and one more of each text
    assert legacy.text.packed_rows(tokens).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 11]
    full = texts(10, 2)
    assert legacy.text.packed_rows(full).tolist() == [*range(11), 11, 12, 13, 21]


def test_padding_comes_out_as_zero() -> None:
    model = small_coca()
    tokens = texts(4, 2)[:, :6]
    hidden = model.text(tokens, model.text.packed_rows(tokens)).hidden
    assert hidden.shape == (2, 6, 32)
    assert not hidden[0, 4:].any()
    assert not hidden[1, 2:].any()
    assert hidden[0, :4].any(dim=-1).all()


def test_what_is_packed_is_padded_again() -> None:
    x = torch.randn(2, 3, 5)
    packing = Packing(torch.tensor([0, 1, 3]), batch=2, length=3)
    packed = packing.pack(x)
    assert torch.equal(packed, torch.stack([x[0, 0], x[0, 1], x[1, 0]]))
    padded = packing.pad(packed)
    assert padded.shape == x.shape
    assert torch.equal(padded[0, :2], x[0, :2])
    assert torch.equal(padded[1, 0], x[1, 0])
    assert not padded[0, 2].any()
    assert not padded[1, 1:].any()


@pytest.mark.parametrize("lengths", [(4, 2), (1,), (10, 0)])
def test_lengths_count_up_to_the_last_word(lengths: tuple[int, ...]) -> None:
    assert text_lengths(texts(*lengths), pad_id=0).tolist() == list(lengths)
    assert text_lengths(inner_padding(texts(*lengths)), pad_id=0).tolist() == list(lengths)
