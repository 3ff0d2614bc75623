from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coca_cli.model.text import find_prefixes, trim_tokens
from coca_cli.model.tokenizer import ClipTokenizer
from tests.model.small_models import BUILDS, pictures, small_coca, texts
from tests.parity.open_clip_models import narrow_l14, random_pair

every_build = pytest.mark.parametrize("build", BUILDS)
CORRECT = [build for build in BUILDS if "legacy" not in build]
LEGACY = "open_clip, legacy mask"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[5, 6, 0, 0], [7, 0, 0, 0]], [[5, 6], [7, 0]]),
        ([[5, 6, 7, 8]], [[5, 6, 7, 8]]),
        ([[5, 0, 7, 0]], [[5, 0, 7]]),  # a padding id inside a text, as "!" is in CLIP's vocabulary
        ([[0, 0, 0]], [[0]]),
        ([[0, 0, 3], [4, 0, 0]], [[0, 0, 3], [4, 0, 0]]),
    ],
)
def test_trimming_cuts_what_every_text_pads(rows: list[list[int]], expected: list[list[int]]) -> None:
    assert torch.equal(trim_tokens(torch.tensor(rows), pad_id=0), torch.tensor(expected))


def test_trimming_knows_other_padding_ids() -> None:
    assert trim_tokens(torch.tensor([[0, 1, 9, 9]]), pad_id=9).tolist() == [[0, 1]]


@every_build
@pytest.mark.parametrize("length", [0, 1, 4, 9, 10])
def test_padding_never_changes_an_embedding(build: str, length: int) -> None:
    """Also for the legacy mask, which sees one padding position wherever there is any."""
    model = small_coca(*BUILDS[build])
    tokens = texts(length)
    with torch.inference_mode():
        full = model.encode_text(tokens)
        for kept in range(max(length, 1), 11):
            short = model.encode_text(tokens[:, :kept])
            torch.testing.assert_close(short.embedding, full.embedding, atol=1e-5, rtol=0)
            torch.testing.assert_close(short.hidden, full.hidden[:, :kept], atol=1e-5, rtol=0)


@every_build
def test_a_padding_id_inside_a_text_is_kept(build: str) -> None:
    """As "!" within a word is in CLIP's vocabulary: masked, but it takes its place."""
    model = small_coca(*BUILDS[build])
    tokens = texts(7)
    tokens[0, 3] = 0
    without = torch.cat([tokens[:, :3], tokens[:, 4:]], dim=1)
    with torch.inference_mode():
        full, short = model.encode_text(tokens), model.encode_text(trim_tokens(tokens, pad_id=0))
        torch.testing.assert_close(short.embedding, full.embedding, atol=1e-5, rtol=0)
        assert short.hidden.shape[1] == 7
        assert (model.encode_text(without).embedding - full.embedding).abs().max() > 1e-3


def with_other_padding(model_build: str, length: int) -> tuple[Tensor, Tensor]:
    """Embeddings of one text before and after what padding positions hold was changed."""
    model = small_coca(*BUILDS[model_build])
    tokens = texts(length)
    with torch.inference_mode():
        before = model.encode_text(tokens).embedding
        model.text.positions[length:10] += torch.randn(10 - length, 32)
        return before, model.encode_text(tokens).embedding


@pytest.mark.parametrize("build", CORRECT)
def test_with_the_correct_mask_cls_sees_no_padding(build: str) -> None:
    before, after = with_other_padding(build, length=4)
    torch.testing.assert_close(after, before)


def test_with_the_legacy_mask_cls_sees_padding() -> None:
    before, after = with_other_padding(LEGACY, length=4)
    assert (after - before).abs().max() > 1e-2
    before, after = with_other_padding(LEGACY, length=10)
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize(("build", "sees_itself"), [("open_clip", True), (LEGACY, False)])
def test_cls_sees_itself_with_the_correct_mask_alone(build: str, sees_itself: bool) -> None:
    """The legacy mask shifts validity by one: behind padding [CLS] loses sight of itself; a full text loses nothing."""
    model = small_coca(*BUILDS[build])
    mask = model.text._mask(texts(4, 10), n_cls=1)[:, 0]
    assert mask.shape == (2, 11, 11)
    assert mask[0, -1].tolist() == [True] * 4 + [not sees_itself] + [False] * 5 + [sees_itself]
    assert mask[1, -1].all()


@every_build
def test_the_mask_is_causal_and_no_row_is_empty(build: str) -> None:
    model = small_coca(*BUILDS[build])
    n_cls = model.config.text.cls_tokens
    mask = model.text._mask(texts(10, 4, 1, 0), n_cls)[:, 0]
    assert not mask.triu(1).any()
    assert mask.any(dim=-1).all()
    with torch.inference_mode():
        assert model.encode_text(texts(10, 4, 1, 0)).embedding.isfinite().all()
        assert model.encode_text(texts(0)).hidden.isfinite().all()


@every_build
def test_text_tokens_never_see_cls_or_what_follows(build: str) -> None:
    model = small_coca(*BUILDS[build])
    tokens = texts(8)
    with torch.inference_mode():
        before = model.encode_text(tokens)
        longer = tokens.clone()
        longer[0, 8:] = torch.tensor([7, 9])
        torch.testing.assert_close(model.encode_text(longer).hidden[:, :8], before.hidden[:, :8])
        model.text.cls += torch.randn(model.text.cls.shape)
        after = model.encode_text(tokens)
    torch.testing.assert_close(after.hidden, before.hidden)
    assert (after.embedding - before.embedding).abs().max() > 1e-2


@pytest.mark.parametrize("build", CORRECT)
def test_every_token_counts_in_the_embedding(build: str) -> None:
    model = small_coca(*BUILDS[build])
    tokens = texts(6)
    with torch.inference_mode():
        before = model.encode_text(tokens).embedding
        for position in range(6):
            changed = tokens.clone()
            changed[0, position] = changed[0, position] % 49 + 1
            assert (model.encode_text(changed).embedding - before).abs().max() > 1e-3, position


def test_the_padding_id_is_the_configurations() -> None:
    """With another padding id, 0 is a word like any other."""
    model = small_coca("text.pad_id=49")
    tokens = torch.tensor([[3, 0, 5, 49, 49, 49, 49, 49, 49, 49]])
    with torch.inference_mode():
        full = model.encode_text(tokens).embedding
        torch.testing.assert_close(model.encode_text(tokens[:, :3]).embedding, full, atol=1e-5, rtol=0)
        assert (model.encode_text(torch.tensor([[3, 7, 5]])).embedding - full).abs().max() > 1e-3


def test_cls_keeps_its_own_position_behind_a_trimmed_text() -> None:
    model = small_coca("text.cls_position=true")
    with torch.inference_mode():
        before = model.encode_text(texts(4)[:, :4]).embedding
        model.text.positions[10] += torch.randn(32)
        assert (model.encode_text(texts(4)[:, :4]).embedding - before).abs().max() > 1e-2


@every_build
def test_texts_beyond_the_context_are_an_error(build: str) -> None:
    model = small_coca(*BUILDS[build])
    for call in (model.encode_text, model.embed_text):
        with pytest.raises(ValueError, match="texts of 11 tokens do not fit 10 positions"):
            call(texts(11, context=11))


def test_the_decoder_takes_the_text_before_its_last_norm() -> None:
    model = small_coca()
    with torch.inference_mode():
        image, text = model.encode_image(pictures(1)), model.encode_text(texts(10))
        before = model.decode(text, image)
        model.text.norm.weight.zero_()
        after = model.encode_text(texts(10))
        assert torch.equal(model.decode(after, image), before)
        assert (after.embedding - text.embedding).abs().max() > 1e-2


# --- texts that begin alike ---


def test_distinct_beginnings_are_found_by_eye() -> None:
    tokens = torch.tensor([[1, 5, 6, 7], [1, 5, 6, 8], [1, 5, 6, 9], [1, 4, 6, 7], [1, 4, 6, 8]])
    prefixes = find_prefixes(tokens)
    # lengths 1, 2, 3 leave 1 + 15, 4 + 10 and 6 + 5 of 20 positions to compute
    assert prefixes.length == 3
    assert prefixes.of_row.tolist() == [1, 1, 1, 0, 0]
    assert prefixes.rows.tolist() == [3, 0]


def test_texts_that_differ_from_the_start_share_nothing() -> None:
    assert find_prefixes(torch.arange(24).view(6, 4)).length == 0
    assert find_prefixes(torch.tensor([[1, 2, 3]])).length == 0


@pytest.mark.parametrize("correct_mask", [False, True])
def test_shared_beginnings_leave_embeddings_as_they_are(correct_mask: bool) -> None:
    _, ours = random_pair(narrow_l14(correct_mask=correct_mask))
    tokenizer = ClipTokenizer(76)
    names = ("cat", "red fox", "a != b", "dog!", "great white shark on a beach", "")
    texts = [
        f"{start} {name} {end}" for start in ("a bad photo of a", "art of many!") for name in names for end in ".x"
    ]
    tokens = trim_tokens(tokenizer.encode(texts), 0)
    assert find_prefixes(tokens).length >= 4
    with torch.inference_mode():
        torch.testing.assert_close(ours.embed_text(tokens), ours.encode_text(tokens).embedding, atol=1e-5, rtol=0)
