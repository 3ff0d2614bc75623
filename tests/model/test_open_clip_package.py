"""open_clip in parts: they are the whole package's, and a CoCa is loaded and used without it."""

from __future__ import annotations

import importlib
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from coca_cli.datasets.open_clip_metadata import imagenet_prompts
from coca_cli.errors import UnknownName
from coca_cli.model import open_clip_package
from coca_cli.model.architectures import architectures
from coca_cli.model.checkpoint import load, save_folder
from coca_cli.model.open_clip_package import model_config, model_names, part, whole
from coca_cli.model.tokenizer import ClipTokenizer
from tests.model.small_models import small_coca
from tests.model.small_open_clip import CLIP, COCA, known_to_open_clip, saved_weights, small_model, write_hub_folder

WITHOUT = {"open_clip", "timm", "torchvision", "transformers", "huggingface_hub", "sympy"}
"""`sympy` stands for torch's compiler, whose first part to be imported it is."""


@pytest.fixture
def _not_imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process of its own, where nothing has asked for the whole package."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ("open_clip", open_clip_package.SHELL):
            monkeypatch.delitem(sys.modules, name)
    yield
    assert "open_clip" not in sys.modules
    for name in list(sys.modules):
        if name.partition(".")[0] == open_clip_package.SHELL:
            del sys.modules[name]


@pytest.mark.peer
@pytest.mark.usefixtures("_not_imported")
def test_configurations_are_the_packages() -> None:
    names = open_clip.list_models()
    assert sorted(model_names()) == sorted(names)
    assert [name for name in model_names() if "coca" in name] == [name for name in names if "coca" in name]
    for name in names:
        assert model_config(name) == open_clip.get_model_config(name), name
    assert model_config("coca_vit-b-32") is None
    assert {"coca_ViT-B-32", "coca_ViT-L-14"} < set(architectures())


@pytest.mark.peer
@pytest.mark.usefixtures("_not_imported")
def test_tags_are_the_packages() -> None:
    published = part("pretrained")
    assert published is not open_clip.pretrained
    for name in ("coca_ViT-B-32", "coca_ViT-L-14", "ViT-B-32", "unknown"):
        tags = open_clip.list_pretrained_tags_by_model(name)
        assert published.list_pretrained_tags_by_model(name) == tags
        for tag in tags:
            assert published.get_pretrained_cfg(name, tag) == open_clip.get_pretrained_cfg(name, tag)


@pytest.mark.usefixtures("_not_imported")
def test_an_unknown_name_is_told_without_the_package() -> None:
    with pytest.raises(UnknownName, match=r"unknown model 'coca_ViT-B-3'\. Did you mean coca_ViT-B-32"):
        load("coca_ViT-B-3")


@pytest.mark.peer
def test_ids_are_the_packages(test_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts, captions, odd Unicode, entities, nothing and far too much."""
    words = imagenet_prompts()
    texts = [template.replace("{c}", name) for name in words.class_names for template in words.templates[:3]]
    described = json.loads((test_data / "coco_captions" / "captions_val2017.json").read_text(encoding="utf-8"))
    texts += [line["caption"] for line in described["annotations"][:3000]]
    letters = random.Random(0)
    texts += ["".join(chr(letters.randrange(32, 0x3100)) for _ in range(letters.randrange(40))) for _ in range(500)]
    texts += [
        "",
        " ",
        "!",
        "x" * 5000,
        "a cat " * 500,
        "&lt;b&gt; &amp;amp; &eacute;",
        "\ud83d\ude00\u200d\ufe0f",
        "\x00\x1b[31m",
    ]
    theirs = open_clip.SimpleTokenizer()
    expected = [theirs.encode(text) for text in texts]
    with monkeypatch.context() as alone:
        alone.delitem(sys.modules, "open_clip")
        encoder = part("tokenizer").SimpleTokenizer()
    assert type(encoder) is not type(theirs)
    assert [encoder.encode(text) for text in texts] == expected
    assert [encoder.decode(ids) for ids in expected] == [theirs.decode(ids) for ids in expected]
    clip = ClipTokenizer(76)
    monkeypatch.setattr("coca_cli.model.tokenizer._byte_pairs", lambda: encoder)
    assert torch.equal(clip.encode(texts), open_clip.get_tokenizer("coca_ViT-B-32")(texts))


def test_an_imported_package_is_asked_itself() -> None:
    assert part("tokenizer") is open_clip.tokenizer
    assert whole() is open_clip
    with known_to_open_clip({"coca_small": COCA}):
        assert model_config("coca_small") == COCA
        assert "coca_small" in model_names()


@pytest.mark.usefixtures("_not_imported")
def test_a_package_that_keeps_things_elsewhere_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version, say: its configurations are not in their folder, its modules need each other."""
    (tmp_path / "tokenizer.py").write_text("from coca_open_clip import moved\n")
    asked, really = [], importlib.import_module

    def remember(name: str) -> ModuleType:
        asked.append(name)
        return open_clip if name.startswith("open_clip") else really(name)

    monkeypatch.setattr(open_clip_package, "_folders", lambda: [tmp_path])
    monkeypatch.setattr(open_clip_package, "_own_config_files", dict)
    monkeypatch.setattr("importlib.import_module", remember)
    assert model_names() == open_clip.list_models()
    assert model_config("coca_ViT-B-32") == open_clip.get_model_config("coca_ViT-B-32")
    part("tokenizer")
    assert asked == ["open_clip", "open_clip", "coca_open_clip.tokenizer", "open_clip.tokenizer"]


LOAD = """
import importlib, json, sys
from pathlib import Path
import numpy as np
from coca_cli.datasets.example import Example, Pixels
from coca_cli.media.batches import Skipped, batches
from coca_cli.model import open_clip_package
from coca_cli.model.checkpoint import load
from coca_cli.model.placement import place
from coca_cli.tasks.embedding import embed_pixels, embed_texts
for task in ("zeroshot", "retrieval", "caption_eval", "caption", "embed", "classification", "understanding"):
    importlib.import_module(f"coca_cli.tasks.{task}_run")

name, pretrained, config = sys.argv[1:]
if config:
    own = open_clip_package._own_config_files()
    open_clip_package._own_config_files = lambda: own | {"coca_small": Path(config)}
placed = place(load(name, pretrained or None), "cpu", "fp32")
array = np.zeros((40, 30, 3), np.uint8)
(batch,) = batches([Example("a", (Pixels(array, "drawn"),))], placed.image, batch_size=1, skipped=Skipped())
picture = embed_pixels(placed, batch.pixels)
text = embed_texts(placed, ["a photo of a cat"])
loaded = sorted({module.partition(".")[0] for module in sys.modules})
print(json.dumps([type(placed.model).__name__, list(picture.shape), list(text.shape), loaded]))
"""


def run_load(name: Path | str, pretrained: Path | str = "", config: Path | str = "") -> tuple[str, set[str]]:
    """In a process of its own; what kind of model it was, and the packages that were imported."""
    words = [sys.executable, "-c", LOAD, str(name), str(pretrained), str(config)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    kind, picture, text, loaded = json.loads(done.stdout)
    assert picture == text
    return kind, set(loaded)


def test_a_coca_folder_needs_no_open_clip(tmp_path: Path) -> None:
    save_folder(tmp_path, small_coca("text.vocab_size=49408"), ClipTokenizer(10), "small")
    kind, loaded = run_load(tmp_path)
    assert (kind, loaded & WITHOUT) == ("CoCa", set())


def test_a_coca_in_open_clips_format_needs_no_open_clip(tmp_path: Path) -> None:
    folder = write_hub_folder(tmp_path / "folder", COCA)
    save_file(saved_weights(small_model(COCA)), folder / "open_clip_model.safetensors")
    (tmp_path / "coca_small.json").write_text(json.dumps(COCA))
    named = ("coca_small", folder / "open_clip_model.safetensors", tmp_path / "coca_small.json")
    for words in ((folder,), named):
        kind, loaded = run_load(*words)
        assert (kind, loaded & WITHOUT) == ("CoCa", set())


@pytest.mark.slow
def test_another_model_still_brings_it(tmp_path: Path) -> None:
    folder = write_hub_folder(tmp_path, CLIP)
    save_file(saved_weights(small_model(CLIP)), folder / "open_clip_model.safetensors")
    kind, loaded = run_load(folder)
    assert kind == "Baseline"
    assert loaded >= {"open_clip", "timm", "torchvision"}
