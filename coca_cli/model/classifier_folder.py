"""A classifier on disk: a task head, and the name and hash of the encoder that it was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file

from coca_cli.errors import BadCheckpoint, MissingFile
from coca_cli.files import make_folder, written_whole
from coca_cli.json_text import parse_json
from coca_cli.model.config import CoCaConfig
from coca_cli.model.task_head import TaskHead
from coca_cli.model.weights import read_weights

CLASSIFIER_FILE = "classifier.json"
HEAD_FILE = "head.safetensors"
FORMAT_VERSION = 1
OWN_ENCODER = "(in this folder)"
"""The name of an encoder that lies in the classifier's own folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierDescription:
    """All of a classifier but its weights.

    Attributes:
        name: What result rows call it.
        backbone: What the user typed after --model; `OWN_ENCODER` where it lies beside the head.
        pretrained: What the user typed after --pretrained.
        image_size: The picture size, where it is not the checkpoint's own.
        checkpoint: Short hash of the encoder's weights.
        features: What the head looks at: "patches" or "generative".
        width: Of the tokens.
        heads: Attention heads.
        norm_inputs: LayerNorm on query and tokens.
        class_names: C names in class order.
        clips: It classifies clips, not pictures.
        frames: Frames of a clip.
        sampling: Which frames: "uniform" or "segments".
        times: It has learned positions in time.
    """

    name: str
    backbone: str
    pretrained: str | None
    image_size: int | None
    checkpoint: str
    features: str
    width: int
    heads: int
    norm_inputs: bool
    class_names: tuple[str, ...]
    clips: bool = False
    frames: int = 0
    sampling: Literal["uniform", "segments"] = "uniform"
    times: bool = False

    def fits(self, other: ClassifierDescription) -> bool:
        """Whether the head of one can stand in the other's place."""
        return self._build == other._build

    @property
    def _build(self) -> tuple[object, ...]:
        frames = self.frames if self.times else 0  # a head without positions in time takes any number of them
        return self.features, self.width, self.heads, self.norm_inputs, self.class_names, self.clips, frames

    def build(self) -> TaskHead:
        """A head of this build, with random weights."""
        frames = self.frames if self.times else 0
        return TaskHead(self.width, self.heads, len(self.class_names), norm_inputs=self.norm_inputs, frames=frames)


@dataclass(frozen=True, slots=True)
class SavedClassifier:
    """A classifier without its encoder.

    Attributes:
        described: What it is.
        head: Its head, in evaluation mode.
    """

    described: ClassifierDescription
    head: TaskHead


def describe_classifier(
    config: CoCaConfig,
    features: str,
    class_names: tuple[str, ...],
    *,
    frames: int = 0,
    sampling: Literal["uniform", "segments"] = "uniform",
    times: bool = False,
) -> ClassifierDescription:
    """A classifier with as many attention heads as what it looks at has, name and encoder left open.

    Args:
        config: Of the model.
        features: What the head looks at: "patches" or "generative".
        class_names: C names in class order.
        frames: Of clips; 0 for pictures.
        sampling: Which frames.
        times: Learned positions in time.
    """
    patches = features == "patches"
    return ClassifierDescription(
        name="",
        backbone="",
        pretrained=None,
        image_size=None,
        checkpoint="",
        features=features,
        width=config.vision.width if patches else config.pooler.width,
        heads=config.vision.heads if patches else config.pooler.heads,
        norm_inputs=config.pooler.norm_inputs or not config.vision.final_norm,
        class_names=class_names,
        clips=frames > 0,
        frames=frames,
        sampling=sampling,
        times=times,
    )


def encoder_of(folder: Path, described: ClassifierDescription) -> tuple[str, str | None]:
    """Model and weights that a classifier's head was trained on, as `load` takes them."""
    if described.backbone == OWN_ENCODER:
        return str(folder), None
    return described.backbone, described.pretrained


def save_classifier(
    folder: Path, described: ClassifierDescription, head: TaskHead, extra: Mapping[str, Any] | None = None
) -> None:
    """Write classifier.json and head.safetensors, each whole or not at all.

    Args:
        folder: Where to; made if needed.
        described: What it is.
        head: Its head; weights are written in fp32.
        extra: Further facts for classifier.json, such as how it was trained.
    """
    make_folder(folder)
    weights = {name: value.detach().float().cpu().contiguous() for name, value in head.state_dict().items()}
    with written_whole(folder / HEAD_FILE) as file:
        save_file(weights, file, metadata={"format": "pt"})
    content = {"format": "coca-classifier", "format_version": FORMAT_VERSION, **asdict(described), **(extra or {})}
    with written_whole(folder / CLASSIFIER_FILE) as file:
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load_classifier(folder: Path) -> SavedClassifier:
    """The classifier in a folder that coca wrote.

    Raises:
        MissingFile: There is none.
        BadCheckpoint: A file is damaged or does not fit.
    """
    path = folder / CLASSIFIER_FILE
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFile(
            f"no {CLASSIFIER_FILE} in {folder}: give the folder that coca probe or coca finetune wrote"
        ) from None
    except ValueError:
        raise BadCheckpoint(f"{path} is damaged: it should be JSON; train the classifier again") from None
    if not isinstance(content, dict) or content.get("format") != "coca-classifier":
        raise BadCheckpoint(f'{path} is no classifier of coca: it should say "format": "coca-classifier"')
    if content.get("format_version") != FORMAT_VERSION:
        raise BadCheckpoint(
            f"{path} has the classifier format {content.get('format_version')}, this coca reads {FORMAT_VERSION}"
        )
    known = {field.name: content[field.name] for field in fields(ClassifierDescription) if field.name in content}
    try:
        described = ClassifierDescription(**(known | {"class_names": tuple(known.get("class_names", ()))}))
        head = described.build()
        head.load_state_dict(read_weights(folder / HEAD_FILE))
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise BadCheckpoint(f"the classifier in {folder} cannot be used ({error}); train it again") from None
    return SavedClassifier(described, head.eval())
