"""Same weights, same input, fp32: the same embeddings and logits as open_clip."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from coca_cli.model.text import trim_tokens
from tests.parity.open_clip_models import model_config, narrow_l14, random_pair, same_width

pytestmark = pytest.mark.peer

TEXTS = [  # "!" is token 256 at a word's end and token 0, the padding id, before other signs
    "a photo of a cat",
    "stop! wait! a dog barks at the postman",
    "!",
    "the padding id inside a text: a != b !%",
    "",
    "two red kites over a field. " * 12,  # longer than the context
]


def tokens_of(texts: list[str]) -> Tensor:
    return open_clip.SimpleTokenizer(context_length=76)(texts)


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    if found.ndim == 2:
        assert F.cosine_similarity(found, expected).min() > 0.99999


def assert_parity(config: dict[str, Any]) -> None:
    theirs, ours = random_pair(config)
    size = config["vision_cfg"]["image_size"]
    images, tokens = torch.randn(len(TEXTS), 3, size, size), tokens_of(TEXTS)
    with torch.inference_mode():
        expected = theirs(images, tokens)
        found = ours(images, tokens)
        # open_clip's split poolers keep their single query as a dimension, (B, 1, D)
        assert_same(
            ours.encode_image(images).embedding, theirs.encode_image(images, normalize=False).view(len(TEXTS), -1)
        )
        assert_same(ours.embed_image(images), ours.encode_image(images).embedding)
        assert_same(ours.embed_text(tokens), ours.encode_text(tokens).embedding)
        assert_same(ours.encode_text(tokens).embedding, theirs.encode_text(tokens, normalize=False))
        assert_same(ours.encode_image(images).tokens, theirs._encode_image(images)[1])
    assert_same(found.image_embedding, expected["image_features"].view(len(TEXTS), -1))
    assert_same(found.text_embedding, expected["text_features"])
    assert_same(found.logits, expected["logits"])
    assert_same(found.logit_scale, expected["logit_scale"])
    assert found.logits.std() > 0.1  # the comparison would be empty on zeros


@pytest.mark.parametrize("correct_mask", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_coca_vit_b_32_equals_open_clip(correct_mask: bool) -> None:
    assert_parity(model_config("coca_ViT-B-32", correct_mask=correct_mask))


@pytest.mark.parametrize("correct_mask", [False, True])
def test_narrowed_coca_vit_l_14_equals_open_clip(correct_mask: bool) -> None:
    assert_parity(narrow_l14(correct_mask=correct_mask))


@pytest.mark.parametrize("correct_mask", [False, True])
@pytest.mark.parametrize("pool", ["cascade", "parallel"])
def test_split_poolers_equal_open_clip(pool: str, correct_mask: bool) -> None:
    assert_parity(same_width(pool=pool, correct_mask=correct_mask))


@pytest.mark.parametrize("correct_mask", [False, True])
def test_trimmed_texts_embed_as_untrimmed_ones(correct_mask: bool) -> None:
    theirs, ours = random_pair(narrow_l14(correct_mask=correct_mask))
    with torch.inference_mode():
        for text in TEXTS:
            tokens = tokens_of([text])
            trimmed = trim_tokens(tokens, pad_id=0)
            assert trimmed.shape[1] < 76 or text == TEXTS[-1]
            full = ours.encode_text(tokens)
            short = ours.encode_text(trimmed)
            torch.testing.assert_close(short.embedding, full.embedding, atol=1e-5, rtol=0)
            assert short.hidden.shape[1] == trimmed.shape[1]
            torch.testing.assert_close(short.hidden, full.hidden[:, : trimmed.shape[1]], atol=1e-5, rtol=0)
            assert_same(short.embedding, theirs.encode_text(tokens, normalize=False))


@pytest.mark.parametrize("correct_mask", [False, True])
def test_a_batch_trimmed_together_equals_single_texts(correct_mask: bool) -> None:
    _, ours = random_pair(narrow_l14(correct_mask=correct_mask))
    tokens = trim_tokens(tokens_of(TEXTS[:5]), pad_id=0)
    with torch.inference_mode():
        together = ours.encode_text(tokens).embedding
        alone = torch.cat([ours.encode_text(tokens_of([text])).embedding for text in TEXTS[:5]])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_the_two_masks_differ() -> None:
    """Else the tests above could not tell them apart."""
    _, legacy = random_pair(narrow_l14(correct_mask=False))
    _, correct = random_pair(narrow_l14(correct_mask=True))
    tokens = tokens_of(TEXTS[:2])
    with torch.inference_mode():
        difference = legacy.encode_text(tokens).embedding - correct.encode_text(tokens).embedding
    assert difference.abs().max() > 1e-2


def test_text_hidden_states_do_not_depend_on_later_tokens() -> None:
    _, ours = random_pair(narrow_l14(correct_mask=True))
    tokens = tokens_of(["a photo of a cat on a mat"])
    changed = tokens.clone()
    changed[0, 5] = 1234
    with torch.inference_mode():
        a, b = ours.encode_text(tokens), ours.encode_text(changed)
    torch.testing.assert_close(a.hidden[:, :5], b.hidden[:, :5])
    assert (a.hidden[:, 5] - b.hidden[:, 5]).abs().max() > 1e-3
    assert (a.embedding - b.embedding).abs().max() > 1e-3
