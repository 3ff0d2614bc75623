"""A model that the user named, as far as it can be known without its weights: what it is and what it can do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from coca_cli.errors import BadCheckpoint, CocaError, MissingFile, UnknownName
from coca_cli.json_text import parse_json
from coca_cli.model.checkpoint import CONFIG_FILE, load
from coca_cli.model.classifier_folder import CLASSIFIER_FILE, SavedClassifier, encoder_of, load_classifier
from coca_cli.model.config import PAPER_PRESETS, CoCaConfig
from coca_cli.model.open_clip_checkpoints import OPEN_CLIP_CONFIG_FILE
from coca_cli.model.open_clip_config import image_settings, open_clip_config
from coca_cli.model.open_clip_package import model_config, model_names, part
from coca_cli.model.placement import Placed, place
from coca_cli.model.understanding_folder import UNDERSTANDING_FILE, SavedUnderstanding, load_understanding
from coca_cli.model.weights import hash_weights
from coca_cli.registry import unknown_name

HUB = "hf-hub:"


class Kind(StrEnum):
    """What a model is."""

    coca = "a CoCa"
    open_clip = "another open_clip model"
    hub = "a model of the hub, unknown before it is fetched"
    classifier = "a classifier"
    understanding = "a model that answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model without its weights.

    Attributes:
        text: As the user named it.
        model: What `load` takes.
        pretrained: The same.
        kind: What it is.
        name: What result rows call it.
        config: Of a CoCa, or of the CoCa below a head; None where nobody knows yet.
        stamp: Hash of its files' names, sizes and times: equal where nothing was written since.
        classifier: A head that classifies.
        understanding: A head that answers.
    """

    text: str
    model: str
    pretrained: str | None
    kind: Kind
    name: str
    config: CoCaConfig | None
    stamp: str
    classifier: SavedClassifier | None = None
    understanding: SavedUnderstanding | None = None


class Bound(NamedTuple):
    """A candidate with its weights, where it runs.

    Attributes:
        candidate: The candidate.
        placed: Its model.
        identity: Hash of all its weights, those of a head too.
    """

    candidate: Candidate
    placed: Placed
    identity: str


def describe_candidate(text: str) -> Candidate:
    """The model that the user named, without loading it.

    Args:
        text: NAME, DIR, hf-hub:OWNER/NAME, or one of them, a comma and a tag or a file.

    Raises:
        UnknownName: No such architecture or tag.
        MissingFile: No such folder or file.
        BadCheckpoint: What describes the model is damaged.
        CocaError: An architecture without weights.
    """
    model, _, pretrained = (text, "", "") if _folder(text).is_dir() else text.partition(",")
    folder = _folder(model)
    if folder.is_dir():
        if pretrained:
            raise CocaError(f"{model} is a folder with its own weights; leave out what follows the comma in {text}")
        return _describe_folder(text, folder)
    if model.startswith(HUB):
        return _candidate(text, Kind.hub, None, model)
    return _describe_named(text, model, pretrained)


def load_candidate(candidate: Candidate, image_size: int | None, device: str, precision: str) -> Bound:
    """Load and place it; a head brings the picture size that it was trained with.

    Raises:
        CocaError: It cannot be loaded; see the functions called.
    """
    named = (candidate.model, candidate.pretrained)
    if candidate.classifier is not None:
        described = candidate.classifier.described
        named, image_size = encoder_of(Path(candidate.model), described), described.image_size
    placed = place(load(*named, image_size), device, precision)
    identity = placed.checkpoint
    for saved in (candidate.classifier, candidate.understanding):
        if saved is not None:
            identity += hash_weights(dict(saved.head.state_dict()))
    return Bound(candidate, placed, identity)


def _folder(text: str) -> Path:
    return Path(text).expanduser()


def _describe_folder(text: str, folder: Path) -> Candidate:
    config_path, open_clip_path = folder / CONFIG_FILE, folder / OPEN_CLIP_CONFIG_FILE
    if (folder / CLASSIFIER_FILE).is_file():
        return _describe_classifier(text, folder)
    if open_clip_path.is_file():
        content = _read(open_clip_path)
        model_cfg = content.get("model_cfg", content)
        kind, config = _open_clip_kind(model_cfg, content.get("preprocess_cfg", {}))
        return _candidate(text, kind, config, folder.name, [folder])
    if not config_path.is_file():
        raise MissingFile(
            f"{folder} is no model: it has none of {CONFIG_FILE}, {OPEN_CLIP_CONFIG_FILE}, {CLASSIFIER_FILE}; give a "
            "folder that coca or open_clip wrote"
        )
    content = _read(config_path)
    config = CoCaConfig.from_dict(content.get("model") or {})
    if (folder / UNDERSTANDING_FILE).is_file():
        saved = load_understanding(folder)
        found = _candidate(text, Kind.understanding, config, saved.described.name, [folder])
        return replace(found, understanding=saved)
    return _candidate(text, Kind.coca, config, str(content.get("name", folder.name)), [folder])


def _describe_classifier(text: str, folder: Path) -> Candidate:
    saved = load_classifier(folder)
    model, pretrained = encoder_of(folder, saved.described)
    config, files = None, [folder]
    own = _folder(model) == folder
    if own:
        content = _read(folder / CONFIG_FILE)
        config = CoCaConfig.from_dict(content.get("model") or {})
    else:
        encoder = describe_candidate(f"{model},{pretrained}" if pretrained else model)
        config, files = encoder.config, [folder, _folder(model), *([_folder(pretrained)] if pretrained else [])]
    found = _candidate(text, Kind.classifier, config, saved.described.name, files)
    return replace(found, classifier=saved)


def _describe_named(text: str, model: str, pretrained: str) -> Candidate:
    name = model.replace("/", "-")  # open_clip takes ViT-B/32 for ViT-B-32
    model_cfg = model_config(name)
    if model in PAPER_PRESETS:
        raise CocaError(f"{model} is an architecture without published weights: give the folder that training wrote")
    if model_cfg is None:
        if "/" in model or model.startswith("."):
            raise MissingFile(f"there is no model folder {model}: give one that coca wrote, or NAME,TAG of open_clip")
        raise UnknownName(unknown_name("model", model, [n for n in model_names() if "coca" in n.lower()]))
    published = part("pretrained")
    tags = published.list_pretrained_tags_by_model(name)
    if not pretrained:
        raise CocaError(f"{model} is an architecture: write {model},TAG with one of {', '.join(tags)}, or a file")
    file = _folder(pretrained)
    tag = pretrained.lower().replace("-", "_")  # as open_clip reads tags
    if not file.is_file() and tag not in tags:
        raise UnknownName(unknown_name(f"tag of {model}", pretrained, tags))
    tag_cfg = {} if file.is_file() else published.get_pretrained_cfg(name, tag)
    kind, config = _open_clip_kind(model_cfg, tag_cfg)
    called = f"{name} {pretrained if file.is_file() else tag}"
    found = _candidate(text, kind, config, called, [file] if file.is_file() else [])
    return replace(found, model=model, pretrained=pretrained)


def _open_clip_kind(model_cfg: dict[str, Any], preprocess: dict[str, Any]) -> tuple[Kind, CoCaConfig | None]:
    if "multimodal_cfg" not in model_cfg:
        return Kind.open_clip, None
    return Kind.coca, open_clip_config(model_cfg, image_settings(model_cfg, preprocess))


def _candidate(text: str, kind: Kind, config: CoCaConfig | None, name: str, files: Iterable[Path] = ()) -> Candidate:
    stamp = _stamp(text, files)
    return Candidate(text=text, model=text, pretrained=None, kind=kind, name=name, config=config, stamp=stamp)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise BadCheckpoint(f"{path} cannot be read: it should hold a model's configuration; copy the folder again")
    return content


def _stamp(text: str, places: Iterable[Path]) -> str:
    """Of the files that the places are or hold; of a model that is only named, its name."""
    digest = hashlib.sha256(text.encode(errors="backslashreplace"))
    for there in places:
        for file in sorted(there.iterdir()) if there.is_dir() else [there]:
            if file.is_file():
                facts = file.stat()
                digest.update(repr((file.name, facts.st_size, facts.st_mtime_ns)).encode(errors="backslashreplace"))
    return digest.hexdigest()[:16]
