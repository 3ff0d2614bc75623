from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coca_cli.model.coca import CoCa, ImageFeatures, TextFeatures
from tests.model.small_models import BUILDS, OPEN_CLIP_PARTS, PROJECTED, pictures, small_coca, small_config, texts

every_build = pytest.mark.parametrize("build", BUILDS)


@every_build
def test_shapes(build: str) -> None:
    model = small_coca(*BUILDS[build])
    config = model.config
    n_patches = 9 + config.vision.cls_token
    n_seen = config.pooler.queries - (config.pooler.wiring == "shared") or n_patches
    seen_width = config.pooler.width if config.pooler.queries else config.vision.width
    with torch.inference_mode():
        image, text = model.encode_image(pictures(3)), model.encode_text(texts(10, 4, 1))
        logits = model.decode(text, image)
        out = model(pictures(3), texts(10, 4, 1))
    assert image.embedding.shape == text.embedding.shape == (3, config.embed_dim)
    assert image.patches.shape == (3, n_patches, config.vision.width)
    assert image.tokens.shape == (3, n_seen, seen_width)
    assert text.hidden.shape == (3, 10, config.text.width)
    assert logits.shape == (3, 10, 50)
    assert out.logits.shape == (3, 9, 50)
    assert out.image_embedding.shape == out.text_embedding.shape == (3, config.embed_dim)
    assert out.logit_scale.shape == ()


@every_build
def test_one_pass_equals_encoding_and_decoding(build: str) -> None:
    model = small_coca(*BUILDS[build])
    with torch.inference_mode():
        out = model(pictures(3), texts(10, 4, 7))
        image, text = model.encode_image(pictures(3)), model.encode_text(texts(10, 4, 7))
        logits = model.decode(text, image)
    torch.testing.assert_close(out.image_embedding, F.normalize(image.embedding, dim=-1))
    torch.testing.assert_close(out.text_embedding, F.normalize(text.embedding, dim=-1))
    torch.testing.assert_close(out.logits, logits[:, :-1], atol=1e-5, rtol=1e-5)
    assert out.logit_scale.item() == pytest.approx(1 / 0.07)


@every_build
def test_the_embedding_alone_equals_the_full_encoding(build: str) -> None:
    model = small_coca(*BUILDS[build])
    tokens = texts(10, 4, 1, 0)
    with torch.inference_mode():
        torch.testing.assert_close(model.embed_image(pictures(3)), model.encode_image(pictures(3)).embedding)
        torch.testing.assert_close(model.embed_text(tokens), model.encode_text(tokens).embedding)
        short = tokens[:, :4]
        torch.testing.assert_close(model.embed_text(short), model.encode_text(short).embedding)


@every_build
def test_a_next_token_is_predicted_from_the_tokens_before_it_alone(build: str) -> None:
    model = small_coca(*BUILDS[build])
    tokens, changed = texts(10), texts(10)
    changed[0, 6] = (changed[0, 6] + 1) % 49 + 1
    with torch.inference_mode():
        image = model.encode_image(pictures(1))
        before, after = (model.decode(model.encode_text(t), image) for t in (tokens, changed))
    torch.testing.assert_close(before[:, :6], after[:, :6])
    for position in range(6, 10):
        assert (before[:, position] - after[:, position]).abs().max() > 1e-3


@every_build
def test_another_picture_changes_the_caption_and_not_the_text(build: str) -> None:
    model = small_coca(*BUILDS[build])
    tokens = texts(10)
    with torch.inference_mode():
        here, there = model(pictures(1), tokens), model(pictures(1, seed=1), tokens)
    assert (here.image_embedding - there.image_embedding).abs().max() > 1e-2
    assert (here.logits - there.logits).abs().amax(dim=-1).min() > 1e-3  # at every position, the first too
    assert torch.equal(here.text_embedding, there.text_embedding)


@every_build
def test_a_picture_in_a_batch_is_what_it_is_alone(build: str) -> None:
    model = small_coca(*BUILDS[build])
    together, tokens = pictures(3), texts(10, 5, 2)
    with torch.inference_mode():
        batch = model(together, tokens)
        for i in range(3):
            alone = model(together[i : i + 1], tokens[i : i + 1])
            for found, expected in zip(alone[:3], batch[:3], strict=True):
                torch.testing.assert_close(found[0], expected[i], atol=1e-5, rtol=1e-5)


def test_the_shared_pooler_gives_its_first_query_to_the_embedding_and_the_others_to_the_decoder() -> None:
    model = small_coca(*BUILDS["shared, own widths"])
    with torch.inference_mode():
        image = model.encode_image(pictures(2))
        assert model.image.generative is not None
        pooled = model.image.generative(image.patches)
        assert torch.equal(image.tokens, pooled[:, 1:])
        assert torch.equal(image.embedding, model.image.projection(pooled[:, 0]))
        assert model.image.contrastive is None


@pytest.mark.parametrize(("build", "pooled_from"), [("cascade", "tokens"), ("parallel", "patches")])
def test_the_contrastive_pooler_looks_where_its_wiring_says(build: str, pooled_from: str) -> None:
    model = small_coca(*BUILDS[build])
    with torch.inference_mode():
        image = model.encode_image(pictures(2))
        assert model.image.contrastive is not None
        sequence = getattr(image, pooled_from)
        torch.testing.assert_close(image.embedding, model.image.contrastive(sequence)[:, 0])
        other = image.patches if pooled_from == "tokens" else image.tokens
        assert (image.embedding - model.image.contrastive(other)[:, 0]).abs().max() > 1e-2


def test_without_queries_the_decoder_sees_every_patch() -> None:
    model = small_coca(*BUILDS["no queries"])
    with torch.inference_mode():
        image, text = model.encode_image(pictures(1)), model.encode_text(texts(10))
        assert torch.equal(image.tokens, image.patches)
        logits = model.decode(text, image)
        for patch in range(9):
            tokens = image.tokens.clone()
            tokens[:, patch] += torch.randn(32, generator=torch.Generator().manual_seed(patch))
            assert (model.decode(text, image._replace(tokens=tokens)) - logits).abs().max() > 1e-3


@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_cls_token_counts_in_the_embedding(number: int) -> None:
    model = small_coca("text.cls_tokens=3")
    tokens = texts(10, 4)
    with torch.inference_mode():
        before = model.encode_text(tokens).embedding
        model.text.cls[number] += torch.randn(32)
        assert (model.encode_text(tokens).embedding - before).abs().amax(dim=-1).min() > 1e-2


@pytest.mark.parametrize("changes", [(), PROJECTED, OPEN_CLIP_PARTS])
def test_the_vocabulary_head_is_initialised(changes: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    wide = ("text.width=64", "pooler.width=64", "embed_dim=64", "text.vocab_size=2000")
    weight = CoCa(small_config(*changes, *wide)).decoder.to_vocab.weight
    assert weight.shape == (2000, 64)
    assert weight.isfinite().all()
    assert weight.std().item() == pytest.approx(64**-0.5, rel=0.02)
    assert abs(weight.mean().item()) < 0.002


@every_build
def test_every_weight_is_initialised(build: str) -> None:
    """Nothing is left as memory was found: a model made twice by one seed is the same, and everything is small."""
    models = []
    for fill in (0.0, 1e30):
        torch.manual_seed(3)
        with torch.device("meta"):
            model = CoCa(small_config(*BUILDS[build]))
        model = model.to_empty(device="cpu")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(fill)
            model.log_scale.fill_(-math.log(0.07))
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.LayerNorm | nn.Embedding | nn.Conv2d):
                module.reset_parameters()
        for module in model.modules():
            if not isinstance(module, nn.Linear | nn.LayerNorm | nn.Embedding | nn.Conv2d):
                getattr(module, "reset_parameters", lambda: None)()
        models.append(model.state_dict())
    for name, value in models[0].items():
        assert torch.equal(value, models[1][name]), name
        assert value.abs().max() < 10, name


@every_build
def test_training_moves_every_weight(build: str) -> None:
    torch.manual_seed(1)
    model = CoCa(small_config(*BUILDS[build])).train()
    out = model(pictures(4), texts(10, 7, 3, 10))
    similarity = out.logit_scale * out.image_embedding @ out.text_embedding.T
    contrastive = F.cross_entropy(similarity, torch.arange(4)) + F.cross_entropy(similarity.T, torch.arange(4))
    caption = F.cross_entropy(out.logits.flatten(0, 1), texts(10, 7, 3, 10)[:, 1:].flatten(), ignore_index=0)
    (contrastive + 2 * caption).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_a_caption_is_learned_by_heart() -> None:
    """Targets are shifted by one: a model whose logits looked at the token to predict would learn at once."""
    torch.manual_seed(0)
    model = CoCa(small_config("text.multimodal_layers=1", "text.unimodal_layers=1"))
    images, tokens = pictures(2), texts(10, 10)
    tokens[:, 0] = 1  # both begin alike: only the picture tells what follows
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = F.cross_entropy(model(images, tokens).logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        assert torch.equal(model.eval()(images, tokens).logits.argmax(dim=-1), tokens[:, 1:])
        swapped = model(images.flip(0), tokens).logits.argmax(dim=-1)
    assert (swapped[:, 0] != tokens[:, 1]).all()


def test_features_have_names() -> None:
    model = small_coca()
    assert isinstance(model.encode_image(pictures(1)), ImageFeatures)
    assert isinstance(model.encode_text(texts(3)), TextFeatures)
    assert model.pad_id == 0
    assert small_coca("text.pad_id=3").pad_id == 3
