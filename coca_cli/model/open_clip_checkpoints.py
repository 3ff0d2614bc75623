"""Checkpoints of open_clip: by its names and tags, from the hub, from a folder; and written for it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from coca_cli.errors import BadCheckpoint, CocaError, MissingExtra, MissingFile, UnknownName
from coca_cli.files import make_folder, written_whole
from coca_cli.json_text import parse_json
from coca_cli.model.baselines import Baseline
from coca_cli.model.coca import CoCa
from coca_cli.model.config import CoCaConfig
from coca_cli.model.loaded import Loaded, LoadedCoCa
from coca_cli.model.open_clip_config import describe_for_open_clip, image_settings, open_clip_config
from coca_cli.model.open_clip_package import model_config, part, whole
from coca_cli.model.open_clip_weights import from_open_clip, to_open_clip
from coca_cli.model.tokenizer import ClipTokenizer, OpenClipTokenizer, Tokenizer
from coca_cli.model.weights import build_coca, hash_weights, read_weights
from coca_cli.registry import unknown_name

OPEN_CLIP_CONFIG_FILE = "open_clip_config.json"
OPEN_CLIP_WEIGHTS_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
)


def load_named(name: str, pretrained: str | None, image_size: int | None) -> Loaded:
    """A model that open_clip knows by name, with weights from a file or one of its tags.

    Raises:
        UnknownName: No such tag.
        MissingFile: No such file.
        BadCheckpoint: The weights are damaged, unsafe or do not fit.
    """
    model_cfg = model_config(name) or {}
    tag_cfg: dict[str, Any] = {}
    if pretrained is not None and Path(pretrained).expanduser().is_file():
        path = Path(pretrained).expanduser()
    else:
        pretrained, tag_cfg = _find_tag(name, pretrained)
        path = _download(name, pretrained, tag_cfg)
    if "multimodal_cfg" in model_cfg:
        config = open_clip_config(model_cfg, image_settings(model_cfg, tag_cfg))
        return _open_clip_coca(config, path, image_size, f"{name} {pretrained}")
    return _load_baseline(name, path, f"{name} {pretrained}", image_size, tag_cfg)


def _find_tag(name: str, pretrained: str | None) -> tuple[str, dict[str, Any]]:
    """The tag of published weights that is meant, and open_clip's configuration of it."""
    published = part("pretrained")
    tags: list[str] = published.list_pretrained_tags_by_model(name)
    if pretrained is None:
        known = f"one of the tags {', '.join(tags)}, or a file" if tags else "a file with weights"
        raise CocaError(f"{name} is an architecture: pass --pretrained, {known}")
    tag = pretrained.lower().replace("-", "_")  # as open_clip reads tags
    if tag in tags:
        return tag, published.get_pretrained_cfg(name, tag)
    if "/" in pretrained or "." in pretrained:
        raise MissingFile(f"no weights file {pretrained}; --pretrained takes a file or one of: {', '.join(tags)}")
    raise UnknownName(unknown_name(f"tag of {name}", pretrained, tags))


def _download(name: str, tag: str, tag_cfg: dict[str, Any]) -> Path:
    try:
        return Path(part("pretrained").download_pretrained(tag_cfg))
    except Exception as error:  # huggingface_hub and urllib raise many kinds, all of which mean this
        raise CocaError(
            f"cannot download the weights {tag} of {name} ({type(error).__name__}); "
            "fetch them on a machine with network and pass their file as --pretrained FILE"
        ) from None


def load_hub(name: str, image_size: int | None) -> Loaded:
    """A model on the Hugging Face hub, `hf-hub:OWNER/NAME` or `hf-hub:OWNER/NAME@REVISION`, in open_clip's layout.

    Raises:
        CocaError: It cannot be fetched.
        BadCheckpoint: It is damaged or not of a kind that coca builds.
    """
    owner_name, _, revision = name.removeprefix("hf-hub:").partition("@")
    fetch = partial(part("pretrained").download_pretrained_from_hf, revision=revision or None)
    try:
        config_path = Path(fetch(owner_name, filename=OPEN_CLIP_CONFIG_FILE))
        weights_path = Path(fetch(owner_name))
    except Exception as error:  # as in _download
        raise CocaError(
            f"cannot fetch {name} from the hub ({type(error).__name__}); check the name and the network, "
            "or pass a folder that holds the downloaded files as --model"
        ) from None
    # open_clip, which builds what is no CoCa, would take the newest revision
    open_clip_name = f"local-dir:{config_path.parent}" if revision else name
    return _from_open_clip_files(config_path, weights_path, name, image_size, open_clip_name)


def load_open_clip_folder(folder: Path, image_size: int | None) -> Loaded:
    """A folder with open_clip's configuration and weights, as downloaded from the hub or written by `convert`.

    Raises:
        MissingFile: The folder lacks one of the two.
        BadCheckpoint: They are damaged or not of a kind that coca builds.
    """
    config_path = folder / OPEN_CLIP_CONFIG_FILE
    if not config_path.is_file():
        raise MissingFile(
            f"{folder} is not a model folder: it has neither config.json (coca) nor {OPEN_CLIP_CONFIG_FILE} (open_clip)"
        )
    for file in OPEN_CLIP_WEIGHTS_FILES:
        if (folder / file).is_file():
            return _from_open_clip_files(config_path, folder / file, folder.name, image_size, f"local-dir:{folder}")
    raise MissingFile(f"no weights in {folder}; looked for {', '.join(OPEN_CLIP_WEIGHTS_FILES)}")


def _from_open_clip_files(
    config: Path, weights: Path, name: str, image_size: int | None, open_clip_name: str
) -> Loaded:
    try:
        described = parse_json(config.read_text(encoding="utf-8"))
        model_cfg, preprocess = described.get("model_cfg", described), described.get("preprocess_cfg", {})
        coca = None
        if "multimodal_cfg" in model_cfg:
            coca = open_clip_config(model_cfg, image_settings(model_cfg, preprocess))
    except (ValueError, AttributeError, KeyError, TypeError):
        raise BadCheckpoint(f"{config} is damaged: it should hold open_clip's model configuration") from None
    if coca is None:
        return _load_baseline(open_clip_name, weights, name, image_size, {})
    return _open_clip_coca(coca, weights, image_size, name)


def _open_clip_coca(config: CoCaConfig, path: Path, image_size: int | None, name: str) -> Loaded:
    weights = from_open_clip(read_weights(path), config)
    model = build_coca(config, weights, image_size, str(path))
    return LoadedCoCa(model, ClipTokenizer(config.text.context), name).ready()


def _load_baseline(
    open_clip_name: str, weights: Path, name: str, image_size: int | None, tag_cfg: dict[str, Any]
) -> Loaded:
    if image_size is not None:
        raise CocaError(f"{name} is no CoCa, and only CoCa models take another picture size; leave out --image-size")
    read_weights(weights)  # says clearly what is wrong with an unsafe or damaged file
    pretrained = None if ":" in open_clip_name else str(weights)  # hub and folder names bring their weights along
    open_clip = whole()
    try:
        model = open_clip.create_model(
            open_clip_name,
            pretrained=pretrained,
            precision="fp32",
            force_quick_gelu=tag_cfg.get("quick_gelu", False),
            force_preprocess_cfg=tag_cfg,  # open_clip takes what it knows of it
        )
        tokenizer = open_clip.get_tokenizer(open_clip_name)
    except ImportError as error:
        raise MissingExtra(f"{name} needs the package {error.name}; install it: pip install {error.name}") from None
    except (RuntimeError, KeyError, ValueError, AttributeError, TypeError, OSError) as error:
        raise BadCheckpoint(f"open_clip cannot load {name}: {' '.join(str(error).split())[:300]}") from None
    image = image_settings({"vision_cfg": {}}, model.visual.preprocess_cfg)
    baseline = Baseline(model).eval()
    return Loaded(baseline, OpenClipTokenizer(tokenizer), image, name, hash_weights(dict(model.state_dict())))


def save_open_clip(folder: Path, model: CoCa, tokenizer: Tokenizer) -> None:
    """Write a folder that open_clip loads as `local-dir:FOLDER` with strict=True.

    Raises:
        BadCheckpoint: The model has parts that open_clip cannot build.
    """
    described = describe_for_open_clip(model.config, clip_tokenizer=isinstance(tokenizer, ClipTokenizer))
    make_folder(folder)
    weights = {k: v.detach().float().cpu() for k, v in model.state_dict().items()}
    theirs = {k: v.contiguous().clone() for k, v in to_open_clip(weights, model.config).items()}
    with written_whole(folder / OPEN_CLIP_WEIGHTS_FILES[0]) as file:
        save_file(theirs, file, metadata={"format": "pt"})
    with written_whole(folder / OPEN_CLIP_CONFIG_FILE) as file:
        file.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
