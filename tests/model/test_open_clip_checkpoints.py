"""open_clip's checkpoints by name and file, tag, hub id and folder: CoCa ones become ours, others baselines."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip import pretrained as open_clip_tags
from safetensors.torch import save_file
from torch import Tensor

from coca_cli.errors import BadCheckpoint, CocaError, MissingExtra, MissingFile, UnknownName
from coca_cli.media.images import OPENAI_MEAN, OPENAI_STD
from coca_cli.model.baselines import Baseline
from coca_cli.model.checkpoint import load, save_folder
from coca_cli.model.coca import CoCa
from coca_cli.model.loaded import Loaded
from coca_cli.model.open_clip_config import image_settings, open_clip_config
from coca_cli.model.open_clip_weights import from_open_clip
from coca_cli.model.tokenizer import ClipTokenizer, OpenClipTokenizer
from tests.model.small_models import pictures
from tests.model.small_open_clip import CLIP, COCA, known_to_open_clip, saved_weights, small_model, write_hub_folder

TEXTS = ["a photo of a cat", "a != b", "stop! wait!", "", "two red kites over a field. " * 12]


@pytest.fixture(scope="module", autouse=True)
def _known() -> Iterator[None]:
    with known_to_open_clip({"coca_small": COCA, "clip_small": CLIP}):
        yield


@pytest.fixture(scope="module")
def coca() -> torch.nn.Module:
    return small_model(COCA)


@pytest.fixture(scope="module")
def clip() -> torch.nn.Module:
    return small_model(CLIP)


@pytest.fixture(scope="module")
def coca_file(coca: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coca") / "coca.safetensors"
    save_file(saved_weights(coca), path)
    return path


@pytest.fixture(scope="module")
def clip_file(clip: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.pt"
    torch.save(saved_weights(clip), path)
    return path


def assert_embeds_as(loaded: Loaded, theirs: Any, tokenizer_name: str) -> None:
    """Equal to open_clip's model with its own tokenizer."""
    images = pictures(3)
    with torch.inference_mode():
        image, text = theirs.encode_image(images), theirs.encode_text(open_clip.get_tokenizer(tokenizer_name)(TEXTS))
        found = [loaded.model.embed_image(images), loaded.model.embed_text(loaded.tokenizer.encode(TEXTS))]
    for ours, expected in zip(found, (image, text), strict=True):
        normalised = torch.nn.functional.normalize(ours, dim=-1)
        torch.testing.assert_close(normalised, torch.nn.functional.normalize(expected, dim=-1), atol=1e-5, rtol=0)


def save_training_run(weights: dict[str, Tensor], path: Path) -> None:
    """As a training run on several GPUs leaves it."""
    weights = {f"module.{name}": value for name, value in weights.items()}
    torch.save({"state_dict": weights, "epoch": 1, "name": "run", "optimizer": {"state": {}}}, path)


def save_old_release(weights: dict[str, Tensor], path: Path) -> None:
    """With the buffer that old versions kept, and the scale as a vector."""
    torch.save(
        {**weights, "text.attn_mask": torch.zeros(77, 77), "logit_scale": weights["logit_scale"].reshape(1)}, path
    )


@pytest.mark.peer
@pytest.mark.parametrize(
    ("file", "save"),
    [
        ("coca.pt", torch.save),
        ("coca.bin", torch.save),
        ("coca.safetensors", save_file),
        ("epoch_1.pt", save_training_run),
        ("old.pt", save_old_release),
    ],
)
def test_a_coca_by_name_and_file(
    file: str, save: Callable[[dict[str, Tensor], Path], None], coca: torch.nn.Module, coca_file: Path, tmp_path: Path
) -> None:
    save(saved_weights(coca), tmp_path / file)
    loaded = load("coca_small", str(tmp_path / file))
    assert isinstance(loaded.model, CoCa)
    assert isinstance(loaded.tokenizer, ClipTokenizer)
    assert loaded.tokenizer.context == 76
    assert loaded.name == f"coca_small {tmp_path / file}"
    assert loaded.checkpoint == load("coca_small", str(coca_file)).checkpoint
    assert (loaded.image.size, loaded.image.mean, loaded.image.std) == (24, OPENAI_MEAN, OPENAI_STD)
    assert_embeds_as(loaded, coca, "coca_small")


def test_the_hash_is_the_same_in_our_format(coca_file: Path, tmp_path: Path) -> None:
    loaded = load("coca_small", str(coca_file))
    assert isinstance(loaded.model, CoCa)
    assert isinstance(loaded.tokenizer, ClipTokenizer)
    save_folder(tmp_path, loaded.model, loaded.tokenizer, "converted")
    again = load(str(tmp_path))
    assert again.checkpoint == loaded.checkpoint
    assert again.name == "converted"


@pytest.mark.peer
@pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors"])
def test_a_coca_in_a_folder(file: str, coca: torch.nn.Module, coca_file: Path, tmp_path: Path) -> None:
    folder = write_hub_folder(tmp_path / "named", COCA, size=[24, 24], mean=[0.5, 0.4, 0.3], resize_mode="squash")
    save: Callable[[Any, Path], None] = save_file if file.endswith("safetensors") else torch.save
    save(saved_weights(coca), folder / file)
    loaded = load(str(folder))
    assert loaded.name == "named"
    assert (loaded.image.size, loaded.image.mean, loaded.image.resize) == (24, (0.5, 0.4, 0.3), "squash")
    assert loaded.checkpoint == load("coca_small", str(coca_file)).checkpoint
    assert_embeds_as(loaded, coca, "coca_small")


def test_a_bare_configuration_without_preprocessing_is_understood(coca_file: Path, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps(COCA))
    os.link(coca_file, tmp_path / "model.safetensors")
    assert load(str(tmp_path)).image.mean == OPENAI_MEAN


@pytest.mark.peer
def test_a_coca_at_another_picture_size_interpolates_as_open_clip(coca: torch.nn.Module, coca_file: Path) -> None:
    theirs = open_clip.create_model("coca_small", pretrained=str(coca_file), force_image_size=40).eval()
    loaded = load("coca_small", str(coca_file), image_size=40)
    assert loaded.image.size == 40
    images = pictures(2, size=40)
    with torch.inference_mode():
        expected = theirs.encode_image(images, normalize=False)
        torch.testing.assert_close(loaded.model.embed_image(images), expected, atol=1e-5, rtol=0)


@pytest.mark.peer
def test_another_open_clip_model_is_a_baseline(clip: torch.nn.Module, clip_file: Path) -> None:
    loaded = load("clip_small", str(clip_file))
    assert isinstance(loaded.model, Baseline)
    assert isinstance(loaded.tokenizer, OpenClipTokenizer)
    assert loaded.model.pad_id is None
    assert not loaded.model.training
    assert (loaded.image.size, loaded.image.mean) == (24, OPENAI_MEAN)
    assert_embeds_as(loaded, clip, "clip_small")
    assert len(loaded.checkpoint) == 8


@pytest.mark.peer
def test_a_baseline_in_a_folder(clip: torch.nn.Module, clip_file: Path, tmp_path: Path) -> None:
    folder = write_hub_folder(tmp_path / "clip", CLIP, mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
    save_file(saved_weights(clip), folder / "open_clip_model.safetensors")
    loaded = load(str(folder))
    assert isinstance(loaded.model, Baseline)
    assert (loaded.name, loaded.image.mean) == ("clip", (0.5, 0.5, 0.5))
    assert loaded.checkpoint == load("clip_small", str(clip_file)).checkpoint
    assert_embeds_as(loaded, clip, "clip_small")


def test_open_clips_other_spelling_of_names_is_understood(clip_file: Path) -> None:
    with known_to_open_clip({"clip-small-8": CLIP}):
        assert isinstance(load("clip-small/8", str(clip_file)).model, Baseline)


def test_a_baseline_takes_no_other_picture_size(clip_file: Path) -> None:
    with pytest.raises(CocaError, match="only CoCa models take another picture size; leave out --image-size"):
        load("clip_small", str(clip_file), image_size=40)


@pytest.fixture
def tag_downloads(
    coca_file: Path, clip_file: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, dict[str, dict[str, Any]]]:
    """Tags whose weights lie here already."""
    tags = {
        "coca_small": {"here_b1": {"file": str(coca_file), "mean": (0.1, 0.2, 0.3), "interpolation": "bilinear"}},
        "clip_small": {
            "here": {"file": str(clip_file), "mean": (0.5, 0.5, 0.5), "std": (0.4, 0.4, 0.4), "resize_mode": "squash"},
            "quick": {"file": str(clip_file), "quick_gelu": True},
        },
    }
    for name, known in tags.items():
        monkeypatch.setitem(open_clip_tags._PRETRAINED, name, known)
    return tags


@pytest.mark.peer
@pytest.mark.usefixtures("tag_downloads")
@pytest.mark.parametrize(
    ("name", "tag"), [("coca_small", "here_b1"), ("coca_small", "here-B1"), ("clip_small", "here")]
)
def test_a_tag_brings_its_image_settings(name: str, tag: str) -> None:
    loaded = load(name, tag)
    theirs = open_clip.create_model(name, pretrained=tag).eval()
    expected = theirs.visual.preprocess_cfg
    assert loaded.name == f"{name} {tag.lower().replace('-', '_')}"
    assert loaded.image.mean == tuple(expected["mean"]) != OPENAI_MEAN
    assert loaded.image.std == tuple(expected["std"])
    assert (loaded.image.interpolation, loaded.image.resize) == (expected["interpolation"], expected["resize_mode"])
    assert_embeds_as(loaded, theirs, name)


@pytest.mark.usefixtures("tag_downloads")
def test_weights_trained_with_quick_gelu_run_with_it(clip: torch.nn.Module, clip_file: Path) -> None:
    """open_clip runs them with GELU and warns."""
    quick = load("clip_small", "quick")
    theirs = open_clip.create_model("clip_small", pretrained=str(clip_file), force_quick_gelu=True).eval()
    assert_embeds_as(quick, theirs, "clip_small")
    with torch.inference_mode():
        assert (quick.model.embed_image(pictures(1)) - clip.encode_image(pictures(1))).abs().max() > 1e-3  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("coca_ViT-B-32", "pass --pretrained, one of the tags laion2b_s13b_b90k, mscoco_finetuned_laion2b_s13b_b90k"),
        ("coca_ViT-L-14", "coca_ViT-L-14 is an architecture: pass --pretrained, one of the tags laion2b_s13b_b90k"),
        ("ViT-B-32", "laion2b_s34b_b79k"),
        ("coca_small", "coca_small is an architecture: pass --pretrained, a file with weights"),
    ],
)
def test_a_name_alone_lists_its_tags(name: str, message: str) -> None:
    with pytest.raises(CocaError, match=re.escape(message)):
        load(name)


@pytest.mark.parametrize(
    ("tag", "hint"), [("laion2b_s13b_b90", "Did you mean laion2b_s13b_b90k"), ("mine", "Known: laion2b_s13b_b90k, ms")]
)
def test_an_unknown_tag_offers_the_nearest(
    tag: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownName, match=f"unknown tag of coca_ViT-B-32 '{tag}'") as caught:
        load("coca_ViT-B-32", tag)
    assert hint in str(caught.value)


@pytest.mark.parametrize("file", ["weights/coca.pt", "coca.safetensors", "/nowhere/coca.bin"])
def test_a_missing_weights_file_is_named(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFile, match=re.escape(f"no weights file {file}; --pretrained takes a file or one of: l")):
        load("coca_ViT-B-32", file)


def test_a_file_below_the_home_is_found(coca_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(coca_file.parent))
    assert load("coca_small", "~/coca.safetensors").checkpoint == load("coca_small", str(coca_file)).checkpoint


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line out, whatever the library tries; the hub's switch is read when it is imported, so a variable is late."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("time.sleep", lambda _: None)  # between attempts


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("tag", ["laion2b_s13b_b90k", "mscoco_finetuned_laion2B-s13B-b90k"])
def test_without_network_a_tag_says_how_to_go_on(tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CocaError, match=r"cannot download the weights .* of coca_ViT-B-32 \(\w+\); fetch them on") as e:
        load("coca_ViT-B-32", tag)
    assert "pass their file as --pretrained FILE" in str(e.value)


@pytest.mark.usefixtures("no_network")
def test_without_network_a_hub_model_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CocaError, match=r"cannot fetch hf-hub:someone/something from the hub \(\w+\)") as caught:
        load("hf-hub:someone/something")
    assert "check the name and the network, or pass a folder that holds the downloaded files" in str(caught.value)


@pytest.mark.parametrize("revision", [None, "0123abc"])
@pytest.mark.parametrize("model", ["coca", "clip"])
def test_a_hub_model_is_read_from_its_downloaded_files(
    model: str, revision: str | None, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's library is replaced by a folder that holds what it would fetch."""
    folder = write_hub_folder(tmp_path, COCA if model == "coca" else CLIP, mean=[0.5, 0.5, 0.5])
    weights = saved_weights(request.getfixturevalue(model))
    save_file(weights, folder / "open_clip_model.safetensors")

    fetched = []

    def fetch(owner_name: str, filename: str | None = None, revision: str | None = None, **_: object) -> str:
        fetched.append((owner_name, revision))
        return str(folder / (filename or "open_clip_model.safetensors"))

    monkeypatch.setattr("open_clip.pretrained.download_pretrained_from_hf", fetch)
    monkeypatch.setattr("open_clip.factory.download_pretrained_from_hf", fetch)
    name = "hf-hub:someone/something" + (f"@{revision}" if revision else "")
    loaded = load(name)
    assert loaded.name == name
    assert set(fetched) == {("someone/something", revision)}
    assert loaded.image.mean == (0.5, 0.5, 0.5)
    assert isinstance(loaded.model, CoCa if model == "coca" else Baseline)
    assert_embeds_as(loaded, request.getfixturevalue(model), f"{model}_small")


def without(config: dict[str, Any], *path: str) -> dict[str, Any]:
    changed = deepcopy(config)
    place = changed
    for part in path[:-1]:
        place = place[part]
    del place[path[-1]]
    return changed


def changed_coca(**changes: Any) -> dict[str, Any]:
    config = deepcopy(COCA)
    for key, value in changes.items():
        tower, _, field = key.partition("__")
        if field:
            config[f"{tower}_cfg"][field] = value
        else:
            config[key] = value
    return config


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("coca_base", ["no attentional pooler", "a text tower of another width than the embedding"]),
        ("coca_roberta-ViT-B-32", ["no attentional pooler", "a text tower from transformers", "without CLS"]),
    ],
)
def test_open_clips_other_cocas_are_refused_with_the_reason(name: str, reasons: list[str]) -> None:
    with pytest.raises(BadCheckpoint, match=r"this open_clip CoCa has .*, which coca does not build") as caught:
        open_clip_config(open_clip.get_model_config(name))
    assert all(reason in str(caught.value) for reason in reasons)


def test_naming_one_of_them_gives_the_reason(coca_file: Path) -> None:
    with pytest.raises(BadCheckpoint, match="this open_clip CoCa has no attentional pooler, a text tower from transf"):
        load("coca_roberta-ViT-B-32", str(coca_file))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (changed_coca(vision__timm_model_name="resnet50"), "a timm image tower"),
        (changed_coca(text__embed_cls=False), "a text tower without CLS"),
        (changed_coca(text__hf_tokenizer_name="roberta-base"), "a tokenizer other than CLIP's"),
        (changed_coca(text__tokenizer_kwargs={"clean": "whitespace"}), "a tokenizer other than CLIP's"),
        (changed_coca(vision__pool_type="avg"), "an average as image embedding"),
        (changed_coca(text__no_causal_mask=True), "text that is not causal"),
        (changed_coca(vision__ls_init_value=0.1), "layer scale"),
        (changed_coca(multimodal__ls_init_value=0.1), "layer scale"),
        (changed_coca(text__norm_kwargs={"eps": 1e-6}), "other norms or activations"),
        (changed_coca(vision__act_kwargs={"approximate": "tanh"}), "other norms or activations"),
        (changed_coca(quick_gelu=True), "QuickGELU"),
        (changed_coca(text__width=64), "a text tower of another width than the embedding"),
        (changed_coca(multimodal__heads=4), "a text tower and a decoder of different shapes"),
        (changed_coca(multimodal__mlp_ratio=2), "a text tower and a decoder of different shapes"),
    ],
)
def test_parts_that_coca_does_not_build_are_named(config: dict[str, Any], reason: str, tmp_path: Path) -> None:
    folder = write_hub_folder(tmp_path, config)
    (folder / "model.safetensors").touch()
    with pytest.raises(BadCheckpoint, match=f"this open_clip CoCa has .*{reason}.*, which coca does not build"):
        load(str(folder))


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "5",
        '{"model_cfg": 5}',
        '{"model_cfg": null}',
        '{"model_cfg": {"multimodal_cfg": {}}}',
        json.dumps({"model_cfg": without(COCA, "vision_cfg", "width")}),
        json.dumps({"model_cfg": without(COCA, "embed_dim")}),
        json.dumps({"model_cfg": {**COCA, "vision_cfg": 5}}),
        json.dumps({"model_cfg": COCA, "preprocess_cfg": {"size": "large"}}),
        json.dumps({"model_cfg": COCA, "preprocess_cfg": {"mean": 0.5}}),
        json.dumps({"model_cfg": COCA, "preprocess_cfg": None}),
    ],
)
def test_a_damaged_open_clip_configuration_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(content)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(BadCheckpoint, match=r"open_clip_config\.json is damaged: it should hold open_clip's model con"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        ({"size": [24, 48]}, r"the model takes pictures of \[24, 48\] pixels; coca handles square ones"),
        ({"interpolation": "random"}, "the model resizes pictures by random, shortest; coca knows bicubic or bilinear"),
        ({"resize_mode": "longest"}, "the model resizes pictures by bicubic, longest; coca knows"),
    ],
)
def test_pictures_treated_in_another_way_are_refused(preprocess: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = write_hub_folder(tmp_path, COCA, **preprocess)
    (folder / "model.safetensors").touch()
    with pytest.raises(BadCheckpoint, match=message):
        load(str(folder))


def test_image_settings_come_from_the_checkpoint_before_the_architecture() -> None:
    assert image_settings(COCA, {}).size == 24
    assert image_settings(COCA, {"size": 32}).size == 32
    assert image_settings({"vision_cfg": {}}, {}).size == 224


def test_a_folder_without_weights_says_what_it_looked_for(tmp_path: Path) -> None:
    write_hub_folder(tmp_path, COCA)
    with pytest.raises(MissingFile, match=r"no weights in .*; looked for open_clip_model\.safetensors, open_clip_py"):
        load(str(tmp_path))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(MissingFile, match="is not a model folder: it has neither config"):
        load(str(tmp_path))


class Bomb:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.proof}'",)


@pytest.mark.parametrize("name", ["coca_small", "clip_small", "ViT-S-32-alt"])
def test_a_pickle_bomb_as_weights_never_runs(name: str, tmp_path: Path) -> None:
    torch.save({"state_dict": Bomb(tmp_path / "it ran")}, tmp_path / "bomb.pt")
    with pytest.raises(BadCheckpoint, match="could run code when opened"):
        load(name, str(tmp_path / "bomb.pt"))
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("config", [COCA, CLIP])
def test_a_pickle_bomb_in_a_folder_never_runs(config: dict[str, Any], tmp_path: Path) -> None:
    folder = write_hub_folder(tmp_path / "folder", config)
    torch.save(Bomb(tmp_path / "it ran"), folder / "open_clip_pytorch_model.bin")
    with pytest.raises(BadCheckpoint, match="could run code when opened"):
        load(str(folder))
    assert not (tmp_path / "it ran").exists()


def test_weights_of_another_model_name_what_is_missing_and_unexpected(coca: torch.nn.Module, tmp_path: Path) -> None:
    weights = saved_weights(coca)
    weights["visual.attn_pool.other"] = weights.pop("visual.attn_pool.query")
    del weights["text.cls_emb"]
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(BadCheckpoint, match="these weights do not fit the model: ") as caught:
        load("coca_small", str(tmp_path / "w.safetensors"))
    assert "2 missing (text.cls_emb, visual.attn_pool.query)" in str(caught.value)
    assert "1 unexpected (visual.attn_pool.other)" in str(caught.value)


@pytest.mark.parametrize("shape", [(), (2,), (1, 1, 1), (2, 3)])
@pytest.mark.parametrize(
    "name",
    [
        "visual.proj",
        "visual.class_embedding",
        "visual.attn_pool.q_proj_weight",
        "visual.attn_pool.in_proj_bias",
        "visual.transformer.resblocks.0.attn.in_proj_weight",
        "text.cls_emb",
        "text.token_embedding.weight",
        "text_decoder.cross_attn.0.attn.in_proj_weight",
        "text_decoder.text_projection",
    ],
)
def test_a_tensor_of_another_shape_is_named(name: str, shape: tuple[int, ...], coca: torch.nn.Module) -> None:
    weights, config = saved_weights(coca), open_clip_config(COCA)
    name = name.replace("attn_pool.", "attn_pool.attn.")
    right = tuple(weights[name].shape)
    message = f"these weights are of another size than the model, 1 of them: {name} is {shape}, not {right}"
    with pytest.raises(BadCheckpoint, match=re.escape(message)):
        from_open_clip({**weights, name: torch.zeros(shape)}, config)


@pytest.mark.parametrize("shape", [(), (2,), (1, 1, 1), (2, 3), (9, 48), (11, 48), (10, 24)])
def test_positions_of_another_shape_are_named(shape: tuple[int, ...], coca: torch.nn.Module, tmp_path: Path) -> None:
    save_file({**saved_weights(coca), "visual.positional_embedding": torch.zeros(shape)}, tmp_path / "w.safetensors")
    with pytest.raises(BadCheckpoint, match=r"1 tensors of another shape: image\.vit\.positions is"):
        load("coca_small", str(tmp_path / "w.safetensors"))


def test_a_scale_that_is_no_number_is_named(coca: torch.nn.Module) -> None:
    with pytest.raises(BadCheckpoint, match=r"logit_scale is \(3,\), not \(\)"):
        from_open_clip({**saved_weights(coca), "logit_scale": torch.zeros(3)}, open_clip_config(COCA))


def test_a_baseline_with_weights_of_another_model_says_so(coca_file: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"open_clip cannot load clip_small .*: Error.* loading state_dict"):
        load("clip_small", str(coca_file))


def test_a_baseline_whose_tokenizer_needs_a_package_says_which(
    clip_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise ModuleNotFoundError("No module named 'transformers'", name="transformers")

    monkeypatch.setattr(open_clip, "get_tokenizer", fail)
    with pytest.raises(MissingExtra, match="needs the package transformers; install it: pip install transformers"):
        load("clip_small", str(clip_file))


def test_a_baseline_that_open_clip_cannot_build_says_so(clip_file: Path, tmp_path: Path) -> None:
    folder = write_hub_folder(tmp_path, {**CLIP, "vision_cfg": {"timm_model_name": "no_such_tower"}})
    os.link(clip_file, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(BadCheckpoint, match=r"open_clip cannot load .*: .*no_such_tower"):
        load(str(folder))
