"""Model folders that coca writes and reads, and what the user may name as a model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from coca_cli.errors import BadCheckpoint, CocaError, MissingFile, UnknownName
from coca_cli.model.checkpoint import load, load_folder, save_folder
from coca_cli.model.coca import CoCa
from coca_cli.model.tokenizer import ClipTokenizer, SentencePieceTokenizer, train_sentencepiece
from coca_cli.model.weights import hash_weights
from tests.model.small_models import BUILDS, pictures, small_coca, texts

CAPTIONS = ["a red kite over the green field", "two green boats on the water", "the red boat", "a kite on the water"]


@pytest.fixture(scope="module")
def tokenizer() -> SentencePieceTokenizer:
    return SentencePieceTokenizer(train_sentencepiece(CAPTIONS * 5, vocab_size=40), context=10)


@pytest.fixture
def folder(tmp_path: Path, tokenizer: SentencePieceTokenizer) -> Path:
    """A small model that coca wrote."""
    save_folder(tmp_path / "mine", small_coca(), tokenizer, "my model", {"trained": {"steps": 7}})
    return tmp_path / "mine"


@pytest.mark.parametrize("build", BUILDS)
def test_what_is_saved_is_loaded_to_the_last_bit(build: str, tmp_path: Path, tokenizer: SentencePieceTokenizer) -> None:
    model = small_coca(*BUILDS[build])
    save_folder(tmp_path / "m", model, tokenizer, "m")
    again = load_folder(tmp_path / "m").model
    assert again.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    with torch.inference_mode():
        for found, expected in zip(again(pictures(2), texts(9, 3)), model(pictures(2), texts(9, 3)), strict=True):
            torch.testing.assert_close(found, expected)  # where a tensor lies in memory moves its last bit


def test_a_folder_holds_config_weights_and_tokenizer_and_nothing_else(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer.model",
    }  # fmt: skip
    described = json.loads((folder / "config.json").read_text())
    assert (described["format"], described["format_version"], described["name"]) == ("coca", 1, "my model")
    assert described["trained"] == {"steps": 7}


def test_a_loaded_folder_brings_everything_along(folder: Path, tokenizer: SentencePieceTokenizer) -> None:
    loaded = load(str(folder))
    assert loaded.name == "my model"
    assert isinstance(loaded.model, CoCa)
    assert loaded.image == loaded.model.config.image
    assert loaded.checkpoint == hash_weights(dict(small_coca().state_dict()))
    assert not loaded.model.training
    assert torch.equal(loaded.tokenizer.encode(CAPTIONS), tokenizer.encode(CAPTIONS))
    assert isinstance(loaded.tokenizer, SentencePieceTokenizer)
    assert loaded.tokenizer.decode(tokenizer.encode(CAPTIONS)[2].tolist()) == CAPTIONS[2]


def test_clips_tokenizer_is_kept_too(tmp_path: Path) -> None:
    save_folder(tmp_path, small_coca("text.vocab_size=49408"), ClipTokenizer(10), "clip words")
    loaded = load(str(tmp_path))
    assert isinstance(loaded.tokenizer, ClipTokenizer)
    assert loaded.tokenizer.context == 10
    assert not (tmp_path / "tokenizer.model").exists()


def test_weights_are_written_in_single_precision_and_training_goes_on(
    tmp_path: Path, tokenizer: SentencePieceTokenizer
) -> None:
    model = small_coca().bfloat16().train()
    save_folder(tmp_path, model, tokenizer, "m")
    assert {value.dtype for value in load_file(tmp_path / "model.safetensors").values()} == {torch.float32}
    assert model.training
    assert model.log_scale.dtype == torch.bfloat16
    assert load(str(tmp_path)).checkpoint == hash_weights(dict(model.state_dict()))


def test_saving_again_replaces_the_model(folder: Path, tokenizer: SentencePieceTokenizer) -> None:
    before = load(str(folder)).checkpoint
    save_folder(folder, small_coca(seed=1), tokenizer, "another")
    after = load(str(folder))
    assert after.name == "another"
    assert after.checkpoint != before
    assert len(list(folder.iterdir())) == 4


def test_a_failed_save_leaves_the_model_that_was_there(
    folder: Path, tokenizer: SentencePieceTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(str(folder)).checkpoint

    def fill_the_disk(_weights: object, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("coca_cli.model.checkpoint.save_file", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        save_folder(folder, small_coca(seed=1), tokenizer, "another")
    assert load(str(folder)).checkpoint == before
    assert len(list(folder.iterdir())) == 4


def test_a_folder_loads_at_another_picture_size(folder: Path) -> None:
    loaded = load(str(folder), image_size=48)
    assert loaded.image.size == 48
    assert isinstance(loaded.model, CoCa)
    with torch.inference_mode():
        assert loaded.model.embed_image(pictures(2, size=48)).shape == (2, 32)
    assert load(str(folder), image_size=24).checkpoint == load(str(folder)).checkpoint
    with pytest.raises(BadCheckpoint, match="image size 4 is below the patch size 8"):
        load(str(folder), image_size=4)


def test_a_folder_below_the_home_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert load("~/mine").name == "my model"


def test_a_model_without_a_name_is_called_as_its_folder(folder: Path) -> None:
    edit(folder, lambda described: described.pop("name"))
    assert load(str(folder)).name == "mine"


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    described = json.loads((folder / "config.json").read_text())
    change(described)
    (folder / "config.json").write_text(json.dumps(described))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is damaged: it should be JSON; copy the folder again"),
        (b"\xff\xfe\x00", "is damaged: it should be JSON; copy the folder again"),
        (b"[]", 'is not coca\'s: it should say "format": "coca"'),
        (b'{"architectures": ["BertModel"]}', 'is not coca\'s: it should say "format": "coca"'),
        (b'{"format": "coca", "format_version": 9}', "has format version 9, this coca reads 1"),
        (b'{"format": "coca"}', "has format version None, this coca reads 1"),
        (b'{"format": "coca", "format_version": 1}', "cannot be used: the model configuration does not fit"),
        (b'{"format": "coca", "format_version": 1, "model": 5}', "cannot be used: the model configuration"),
        (b'{"format": "coca", "format_version": 1, "model": {"vision": {}}}', "no field 'image'"),
    ],
)
def test_a_configuration_that_is_not_one_is_refused(folder: Path, content: bytes, message: str) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(BadCheckpoint, match=re.escape(message)) as caught:
        load(str(folder))
    assert str(folder / "config.json") in str(caught.value)


def rename_field(described: dict[str, Any]) -> None:
    described["model"]["text"]["words"] = described["model"]["text"].pop("vocab_size")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["model"]["vision"].update(dropout=0.1), "unexpected keyword argument 'dropout'"),
        (lambda d: d["model"]["vision"].pop("width"), "missing 1 required keyword-only argument: 'width'"),
        (rename_field, "unexpected keyword argument 'words'"),
        (lambda d: d["model"]["vision"].update(heads=3), "vision width 32 is not a multiple of its 3 heads"),
        (lambda d: d["model"]["vision"].update(layers=1), "12 unexpected"),
        (lambda d: d["model"]["text"].update(unimodal_layers=3), "12 missing"),
        (lambda d: d["model"]["text"].update(vocab_size=51), r"text.embedding.weight is (50, 32), the model needs (51"),
        (lambda d: d["model"]["text"].update(context=11), " words, the model takes 11 of 50; copy the tokenizer"),
        (lambda d: d["model"]["text"].update(vocab_size=9), " words, the model takes 10 of 9; copy the tokenizer"),
    ],
)
def test_a_configuration_of_another_model_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(folder, change)
    with pytest.raises(BadCheckpoint, match=re.escape(message)) as caught:
        load(str(folder))
    assert str(folder) in str(caught.value)


def drop_key(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["log_scale"]
    save_file({**weights, "momentum": torch.ones(1)}, folder / "model.safetensors")


def replace(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), MissingFile, "no weights file"),
        (replace("model.safetensors", b"half"), BadCheckpoint, "model.safetensors is no readable safetensors file"),
        (drop_key, BadCheckpoint, "does not fit the model: 1 missing (log_scale); 1 unexpected (momentum)"),
        (lambda f: (f / "tokenizer.json").unlink(), MissingFile, "the checkpoint has no tokenizer; copy it from"),
        (lambda f: (f / "tokenizer.model").unlink(), MissingFile, "no tokenizer file"),
        (replace("tokenizer.model", b"half"), BadCheckpoint, "is not a sentencepiece model"),
        (replace("tokenizer.json", b"{}"), BadCheckpoint, "is damaged: it should name a kind and a context"),
        (replace("tokenizer.json", b'{"kind": "words", "context": 10}'), BadCheckpoint, "names the tokenizer kind 'wo"),
        (lambda f: (f / "config.json").unlink(), MissingFile, "it has neither config.json (coca) nor open_clip_conf"),
    ],
)
def test_a_damaged_folder_says_what_is_wrong(
    folder: Path, damage: Callable[[Path], object], kind: type[CocaError], message: str
) -> None:
    damage(folder)
    with pytest.raises(kind, match=re.escape(message)) as caught:
        load(str(folder))
    assert type(caught.value) is kind


def test_starting_from_a_folder_without_config_says_so(tmp_path: Path) -> None:
    """As `coca pretrain --init` does."""
    with pytest.raises(MissingFile, match=r"no config\.json in .*: it is not a model folder that coca wrote"):
        load_folder(tmp_path)


def test_a_folder_has_its_own_weights(folder: Path) -> None:
    with pytest.raises(CocaError, match="is a folder with its own weights; leave out --pretrained laion"):
        load(str(folder), "laion")


@pytest.mark.parametrize("name", ["coca_base", "coca_large", "coca_2b", "coca_tiny"])
def test_the_papers_architectures_have_no_weights(name: str) -> None:
    with pytest.raises(CocaError, match=f"{name} is an architecture without published weights: .*--arch {name}"):
        load(name)


def test_weights_for_the_papers_architectures_are_a_folder(tmp_path: Path) -> None:
    """Also for coca_base, which is the name of another model in open_clip."""
    save_file({"a": torch.ones(1)}, tmp_path / "w.safetensors")
    with pytest.raises(CocaError, match="pass the folder that was written as --model without --pretrained"):
        load("coca_base", str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("coca_ViT-B-31", "Did you mean coca_ViT-B-32 or"),
        ("coca_vit-l-14", "Did you mean coca_ViT-L-14"),
        ("ViT", "Known: coca_"),
    ],
)
def test_an_unknown_name_offers_the_nearest(
    name: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownName, match=f"unknown model '{name}'") as caught:
        load(name)
    assert hint in str(caught.value)


@pytest.mark.parametrize("name", ["runs/mine", "./mine", "/nowhere/mine", "../mine"])
def test_a_folder_that_is_not_there_is_no_unknown_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFile, match=f"no model folder {re.escape(name)}; --model takes a folder that coca wrote"):
        load(name)


def test_a_weights_file_is_no_model(folder: Path) -> None:
    with pytest.raises(MissingFile, match=r"no model folder .*model\.safetensors; --model takes a folder"):
        load(str(folder / "model.safetensors"))
