"""A model by name, folder or hub id -> the model, its tokenizer and its image settings; and back to disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from coca_cli.errors import BadCheckpoint, CocaError, MissingFile, UnknownName
from coca_cli.files import make_folder, written_whole
from coca_cli.json_text import parse_json
from coca_cli.model.coca import CoCa
from coca_cli.model.config import PAPER_PRESETS, CoCaConfig
from coca_cli.model.loaded import Loaded, LoadedCoCa
from coca_cli.model.open_clip_checkpoints import OPEN_CLIP_CONFIG_FILE, load_hub, load_named, load_open_clip_folder
from coca_cli.model.open_clip_package import model_config, model_names
from coca_cli.model.open_clip_weights import Weights
from coca_cli.model.tokenizer import Tokenizer, load_tokenizer
from coca_cli.model.weights import build_coca, read_weights
from coca_cli.registry import unknown_name

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FORMAT_VERSION = 1


def load(name: str, pretrained: str | None = None, image_size: int | None = None) -> Loaded:
    """The model that the user named, with weights; never with random ones.

    Args:
        name: A folder that coca or open_clip wrote, `hf-hub:OWNER/NAME`, or an architecture's name.
        pretrained: Weights for an architecture: a file, or one of open_clip's tags, which is downloaded.
        image_size: Run at another picture size than the checkpoint's (CoCa only).

    Raises:
        UnknownName: No such architecture or tag.
        MissingFile: A file is not there.
        BadCheckpoint: Weights or configuration are damaged, unsafe or do not fit.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if pretrained is not None:
            raise CocaError(f"{name} is a folder with its own weights; leave out --pretrained {pretrained}")
        ours = (folder / CONFIG_FILE).is_file() and not (folder / OPEN_CLIP_CONFIG_FILE).is_file()
        loaded = load_folder(folder, image_size).ready() if ours else load_open_clip_folder(folder, image_size)
        return replace(loaded, folder=str(folder.resolve()))
    if name.startswith("hf-hub:"):
        return load_hub(name, image_size)
    if name in PAPER_PRESETS:
        raise CocaError(
            f"{name} is an architecture without published weights: train it with coca pretrain --arch {name}, "
            f"then pass the folder that was written as --model{' without --pretrained' if pretrained else ''}"
        )
    known_name = name.replace("/", "-")  # open_clip takes ViT-B/32 for ViT-B-32
    if model_config(known_name) is None:
        looks_like_path = "/" in name or name.startswith(".")
        if looks_like_path:
            raise MissingFile(f"no model folder {name}; --model takes a folder that coca wrote, or a model's name")
        known = [n for n in model_names() if "coca" in n.lower()]
        raise UnknownName(f"{unknown_name('model', name, known)} Or a folder that coca wrote, or hf-hub:OWNER/NAME.")
    return load_named(known_name, pretrained, image_size)


def load_folder(folder: Path, image_size: int | None = None) -> LoadedCoCa:
    """The CoCa in a folder that coca wrote: a model, or a checkpoint of its training, whose shards are joined.

    Raises:
        MissingFile: A file is not there.
        BadCheckpoint: A file is damaged or does not fit.
    """
    path = folder / CONFIG_FILE
    try:
        described = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFile(f"no {CONFIG_FILE} in {folder}: it is not a model folder that coca wrote") from None
    except ValueError:
        raise BadCheckpoint(f"{path} is damaged: it should be JSON; copy the folder again") from None
    if not isinstance(described, dict) or described.get("format") != "coca":
        raise BadCheckpoint(f'{path} is not coca\'s: it should say "format": "coca"')
    if described.get("format_version") != FORMAT_VERSION:
        raise BadCheckpoint(
            f"{path} has format version {described.get('format_version')!r:.40}, this coca reads {FORMAT_VERSION}"
        )
    try:
        config = CoCaConfig.from_dict(described.get("model") or {})
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{path} cannot be used: {error}") from None
    tokenizer = load_tokenizer(folder)
    if tokenizer.context != config.text.context or tokenizer.vocab_size > config.text.vocab_size:
        raise BadCheckpoint(
            f"the tokenizer in {folder} writes {tokenizer.context} positions of {tokenizer.vocab_size:,} words, the "
            f"model takes {config.text.context} of {config.text.vocab_size:,}; copy the tokenizer it was trained with"
        )
    model = build_coca(config, _folder_weights(folder, config), image_size, str(folder))
    return LoadedCoCa(model, tokenizer, str(described.get("name", folder.name)))


def _folder_weights(folder: Path, config: CoCaConfig) -> Weights:
    if not (folder / WEIGHTS_FILE).exists():
        # Only a checkpoint of a training on several processes needs torch's own, which takes a while to import.
        from coca_cli.model.sharded_weights import SHARDS, read_sharded_weights

        if any(folder.glob(SHARDS)):
            return read_sharded_weights(folder, config)
    return read_weights(folder / WEIGHTS_FILE)


def save_folder(
    folder: Path, model: CoCa, tokenizer: Tokenizer, name: str, extra: dict[str, Any] | None = None
) -> None:
    """Write config.json, model.safetensors and the tokenizer; each file appears whole or not at all.

    Args:
        folder: Where to; made if needed.
        model: The model; weights are written in fp32.
        tokenizer: Its tokenizer.
        name: What result rows shall call it.
        extra: Further facts for config.json, such as how it was trained.
    """
    save_weights(folder, model.state_dict(), model.config, tokenizer, name, extra)


def save_weights(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: CoCaConfig,
    tokenizer: Tokenizer,
    name: str,
    extra: dict[str, Any] | None = None,
) -> None:
    """As `save_folder`, from weights by name."""
    make_folder(folder)
    whole = {k: v.detach().float().cpu().contiguous() for k, v in weights.items()}
    with written_whole(folder / WEIGHTS_FILE) as file:
        save_file(whole, file, metadata={"format": "pt"})
    save_description(folder, config, tokenizer, name, extra)


def save_description(
    folder: Path, config: CoCaConfig, tokenizer: Tokenizer, name: str, extra: dict[str, Any] | None = None
) -> None:
    """Write all of a model folder but the weights: config.json and the tokenizer."""
    tokenizer.save(folder)
    described = {
        "format": "coca",
        "format_version": FORMAT_VERSION,
        "name": name,
        "model": config.to_dict(),
        **(extra or {}),
    }
    with written_whole(folder / CONFIG_FILE) as file:
        file.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
