"""What is written for open_clip loads there, strictly, and gives the same numbers; and comes back to the last bit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIPTextCfg
from safetensors.torch import load_file
from torch import Tensor

from coca_cli.errors import BadCheckpoint
from coca_cli.media.images import ImageSettings
from coca_cli.model.checkpoint import load, load_folder, save_folder
from coca_cli.model.coca import CoCa
from coca_cli.model.config import CoCaConfig, PoolerConfig, TextConfig, VisionConfig
from coca_cli.model.open_clip_checkpoints import save_open_clip
from coca_cli.model.open_clip_config import describe_for_open_clip, open_clip_config
from coca_cli.model.tokenizer import ClipTokenizer, SentencePieceTokenizer, train_sentencepiece
from tests.parity.open_clip_models import random_pair

pytestmark = pytest.mark.peer

LONG, SHORT = ClipTokenizer(76), ClipTokenizer(20)
TEXTS = ["a photo of a cat", "a != b and !&&!", "!", "", "two red kites over a field. " * 12]


def their_config(pool: bool | str = True, width: int = 32) -> dict[str, Any]:
    """A small open_clip CoCa; its split poolers need the vision width to be the embedding's."""
    text = {"context_length": 76, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    return {
        "embed_dim": 32,
        "vision_cfg": {
            "image_size": 48,
            "patch_size": 16,
            "width": width,
            "head_width": 16,
            "layers": 2,
            "mlp_ratio": 3.0,
            "attentional_pool": pool,
            "attn_pooler_queries": 7,
            "attn_pooler_heads": 4,
            "output_tokens": True,
        },
        "text_cfg": {**text, "embed_cls": True, "output_tokens": True, "correct_cls_mask": False},
        "multimodal_cfg": {**text, "layers": 3},
        "custom_text": True,
    }


MODELS = {
    "shared": their_config(),
    "shared, own width": their_config(width=48),
    "cascade": their_config("cascade"),
    "parallel": their_config("parallel"),
}
every_model = pytest.mark.parametrize("model", MODELS)


def load_strictly(folder: Path) -> Any:
    """Through open_clip's factory, which loads with strict=True, or refuses."""
    return open_clip.create_model(f"local-dir:{folder}", require_pretrained=True, output_dict=True).eval()


def assert_same_numbers(theirs: Any, ours: CoCa, size: int = 48) -> None:
    images = torch.randn(len(TEXTS), 3, size, size, generator=torch.Generator().manual_seed(1))
    tokens = open_clip.get_tokenizer("coca_ViT-B-32")(TEXTS)
    with torch.inference_mode():
        expected, found = theirs(images, tokens), ours(images, tokens)
    image = expected["image_features"].view(len(TEXTS), -1)  # split poolers keep their query as a dimension
    for mine, wanted in ((found.image_embedding, image), (found.text_embedding, expected["text_features"])):
        torch.testing.assert_close(mine, wanted, atol=1e-4, rtol=0)
        assert torch.nn.functional.cosine_similarity(mine, wanted).min() > 0.99999
    torch.testing.assert_close(found.logits, expected["logits"], atol=1e-4, rtol=0)
    assert found.logits.std() > 0.1


@every_model
def test_what_is_written_loads_in_open_clip_and_gives_the_same_numbers(model: str, tmp_path: Path) -> None:
    theirs, ours = random_pair(MODELS[model])
    save_open_clip(tmp_path, ours, LONG)
    again = load_strictly(tmp_path)
    for name, value in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert_same_numbers(again, ours)


@every_model
def test_there_and_back_keeps_every_bit(model: str, tmp_path: Path) -> None:
    """open_clip -> ours -> our folder -> ours -> open_clip's folder -> ours."""
    theirs, ours = random_pair(MODELS[model])
    save_folder(tmp_path / "ours", ours, LONG, "mine")
    kept = load_folder(tmp_path / "ours").model
    save_open_clip(tmp_path / "theirs", kept, LONG)
    written = load_file(tmp_path / "theirs" / "open_clip_model.safetensors")
    expected = dict(theirs.named_parameters())
    assert written.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(written[name], value), name
    back = load(str(tmp_path / "theirs"))
    assert isinstance(back.model, CoCa)
    assert back.model.config == ours.config
    assert back.checkpoint == load(str(tmp_path / "ours")).checkpoint


def test_image_settings_go_along(tmp_path: Path) -> None:
    settings = ImageSettings(48, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "bilinear", "squash")
    config = open_clip_config(MODELS["shared"], settings)
    torch.manual_seed(0)
    save_open_clip(tmp_path, CoCa(config), LONG)
    found = load_strictly(tmp_path).visual.preprocess_cfg
    assert (found["size"], found["mean"], found["std"]) == ((48, 48), [0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
    assert (found["interpolation"], found["resize_mode"]) == ("bilinear", "squash")
    assert load(str(tmp_path)).image == settings


def test_a_resized_model_is_written_at_its_size(tmp_path: Path) -> None:
    _, ours = random_pair(MODELS["shared"])
    save_folder(tmp_path / "ours", ours, LONG, "mine")
    larger = load_folder(tmp_path / "ours", image_size=64).model
    save_open_clip(tmp_path / "theirs", larger, LONG)
    assert_same_numbers(load_strictly(tmp_path / "theirs"), larger, size=64)


def own_config(*changes: str) -> CoCaConfig:
    """A new model with all that open_clip can build, and the legacy mask."""
    config = CoCaConfig(
        vision=VisionConfig(
            patch_size=16,
            width=32,
            layers=2,
            heads=4,
            mlp_width=120,
            cls_token=True,
            final_norm=False,
            patch_bias=False,
        ),
        pooler=PoolerConfig(wiring="shared", queries=5, width=32, heads=2, norm_inputs=True),
        text=TextConfig(
            vocab_size=49408,
            context=20,
            width=32,
            heads=4,
            mlp_width=128,
            unimodal_layers=1,
            multimodal_layers=2,
            cls_position=True,
            cls_mask="legacy",
            self_mlp=True,
            norm_context=True,
        ),
        embed_dim=32,
        projection=True,
        image=ImageSettings(size=48),
    )
    return config.with_changes(changes)


SPLIT = ("vision.final_norm=true", "pooler.post_norm=false")


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("vision.pre_norm=true",),
        ("vision.width=88", "vision.mlp_width=120"),  # 120 / 88 is not exact: 88 times it is less than 120
        ("vision.width=48", "vision.heads=4"),
        ("pooler.wiring=cascade", *SPLIT),
        ("pooler.wiring=parallel", *SPLIT),
        ("image.size=96", "text.unimodal_layers=3", "text.multimodal_layers=1", "pooler.queries=2"),
    ],
)
def test_a_model_that_was_made_here_loads_in_open_clip(changes: tuple[str, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = CoCa(own_config(*changes)).eval()
    save_open_clip(tmp_path, ours, SHORT)
    theirs = load_strictly(tmp_path)
    size = ours.config.image.size
    images, tokens = torch.randn(2, 3, size, size), SHORT.encode(["a red kite", "a != b"])
    with torch.inference_mode():
        expected, found = theirs(images, tokens), ours(images, tokens)
    torch.testing.assert_close(found.logits, expected["logits"], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.image_embedding, expected["image_features"].view(2, -1), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.text_embedding, expected["text_features"], atol=1e-4, rtol=0)
    assert load(str(tmp_path)).image.size == size
    back = load(str(tmp_path)).model
    assert isinstance(back, CoCa)
    assert back.config == ours.config


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (("vision.cls_token=false",), "a ViT without CLS token"),
        (("vision.patch_bias=true",), "a bias in the patch projection"),
        (("projection=false",), "no projection"),
        (("text.cls_tokens=2",), "several [CLS] tokens or one without position"),
        (("text.cls_position=false",), "several [CLS] tokens or one without position"),
        (("text.self_mlp=false",), "multimodal layers with one MLP"),
        (("pooler.wiring=cascade", "pooler.queries=0", *SPLIT), "no generative pooler"),
        (("pooler.norm_inputs=false",), "poolers without input norms"),
        (("text.mlp_width=64",), "text MLPs other than four times as wide as the text"),
        (("text.norm_context=false",), "cross-attention without a norm of the image tokens"),
        (("vision.final_norm=true",), "LayerNorms in other places around its poolers"),
        (("pooler.wiring=cascade",), "LayerNorms in other places around its poolers"),
        (("pooler.width=16",), "a pooler or decoder of another width than the embedding"),
        (("text.width=16", "text.mlp_width=64"), "a pooler or decoder of another width than the embedding"),
        (("pooler.wiring=parallel", "vision.width=48", *SPLIT), "split poolers on an encoder of another width"),
    ],
)
def test_parts_that_open_clip_cannot_build_are_named(changes: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        model = CoCa(own_config(*changes))
    with pytest.raises(BadCheckpoint, match=r"open_clip cannot build this model: it has .+") as caught:
        save_open_clip(tmp_path / "new", model, SHORT)
    assert reason in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(
    "correct_cls_mask" in CLIPTextCfg.__dataclass_fields__, reason="this open_clip can be configured for the mask"
)
def test_the_correct_mask_is_refused_where_open_clip_has_no_word_for_it(tmp_path: Path) -> None:
    """open_clip 3.3 would load such a model and embed its texts otherwise."""
    model = CoCa(own_config("text.cls_mask=correct"))
    message = "it has the correct [CLS] mask, which the installed open_clip cannot be configured for"
    with pytest.raises(BadCheckpoint, match=re.escape(message)):
        save_open_clip(tmp_path, model, SHORT)


def test_the_correct_mask_is_written_where_open_clip_has_a_word_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import make_dataclass

    later = make_dataclass("LaterCfg", [("correct_cls_mask", bool, False)])
    monkeypatch.setattr("open_clip.CLIPTextCfg", later)
    for mask, written in (("correct", True), ("legacy", False)):
        described = describe_for_open_clip(own_config(f"text.cls_mask={mask}"), clip_tokenizer=True)
        assert described["model_cfg"]["text_cfg"]["correct_cls_mask"] is written
        assert open_clip_config(described["model_cfg"]).text.cls_mask == mask


def test_a_stem_of_convolutions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="it has a stem of convolutions"):
        save_open_clip(tmp_path, CoCa(own_config("vision.stem=convolutions")), ClipTokenizer(20))


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    words = [f"a {colour} kite over the water" for colour in ("red", "green", "blue", "large", "small")] * 5
    tokenizer = SentencePieceTokenizer(train_sentencepiece(words, vocab_size=60), context=20)
    with pytest.raises(BadCheckpoint, match="it has a tokenizer other than CLIP's"):
        save_open_clip(tmp_path, CoCa(own_config()), tokenizer)


def test_a_paper_preset_names_every_part_at_once(tmp_path: Path) -> None:
    from coca_cli.model.config import tiny_config

    with pytest.raises(BadCheckpoint, match="open_clip cannot build this model") as caught:
        save_open_clip(tmp_path, CoCa(tiny_config(vocab_size=49408)), ClipTokenizer(32))
    for reason in ("a ViT without CLS token", "no projection", "multimodal layers with one MLP", "poolers without"):
        assert reason in str(caught.value)


def test_the_configuration_is_what_the_hub_holds(tmp_path: Path) -> None:
    save_open_clip(tmp_path, CoCa(own_config()), SHORT)
    assert {file.name for file in tmp_path.iterdir()} == {"open_clip_config.json", "open_clip_model.safetensors"}
    described = json.loads((tmp_path / "open_clip_config.json").read_text())
    assert set(described) == {"model_cfg", "preprocess_cfg"}
    weights: dict[str, Tensor] = load_file(tmp_path / "open_clip_model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}
