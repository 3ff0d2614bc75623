"""What answers questions, on disk: a head and its answers, in the folder of the model that it was trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from coca_cli.datasets.example import Dataset
from coca_cli.errors import BadCheckpoint, MissingFile
from coca_cli.files import make_folder, written_whole
from coca_cli.json_text import parse_json
from coca_cli.model.config import CoCaConfig
from coca_cli.model.understanding import UnderstandingHead
from coca_cli.model.weights import read_weights

UNDERSTANDING_FILE = "understanding.json"
HEAD_FILE = "understanding.safetensors"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderstandingDescription:
    """All of a head but its weights.

    Attributes:
        name: What result rows call the model.
        task: "questions", "entailment" or "reasoning".
        width: Of the decoder.
        heads: Attention heads of the pooler.
        pictures: How many an example has.
        answers: C answers in the order of the classes.
        checkpoint: Short hash of the model's weights.
        usual: Most frequent training answer by type of question; "" stands for all types together.
        dataset: What it was trained on.
        split: Which part of that.
    """

    name: str
    task: str
    width: int
    heads: int
    pictures: int
    answers: tuple[str, ...]
    checkpoint: str = ""
    usual: Mapping[str, str] = field(default_factory=dict)
    dataset: str = ""
    split: str = ""

    def build(self) -> UnderstandingHead:
        """A head of this build, with random weights."""
        return UnderstandingHead(self.width, self.heads, self.pictures, len(self.answers))


@dataclass(frozen=True, slots=True)
class SavedUnderstanding:
    """A head without its model.

    Attributes:
        described: What it is.
        head: In evaluation mode.
    """

    described: UnderstandingDescription
    head: UnderstandingHead


def describe_understanding(
    config: CoCaConfig, name: str, dataset: Dataset, split: str, answers: tuple[str, ...], usual: Mapping[str, str]
) -> UnderstandingDescription:
    """A head with as many attention heads as the decoder has, the model's hash left open.

    Args:
        config: Of the model.
        name: What result rows call the model.
        dataset: What it is trained on.
        split: Which part of that.
        answers: C answers in the order of the classes.
        usual: Most frequent training answer by type of question.
    """
    return UnderstandingDescription(
        name=name,
        task=dataset.task,
        width=config.text.width,
        heads=config.text.heads,
        pictures=dataset.pictures,
        answers=answers,
        usual=dict(usual),
        dataset=dataset.name,
        split=split,
    )


def save_understanding(
    folder: Path, described: UnderstandingDescription, head: UnderstandingHead, extra: Mapping[str, Any] | None = None
) -> None:
    """Write the head and its description, each whole or not at all.

    Args:
        folder: Where to; made if needed.
        described: What it is.
        head: Weights are written in fp32.
        extra: Further facts, such as how it was trained.
    """
    make_folder(folder)
    weights = {name: value.detach().float().cpu().contiguous() for name, value in head.state_dict().items()}
    with written_whole(folder / HEAD_FILE) as file:
        save_file(weights, file, metadata={"format": "pt"})
    content = {"format": "coca-understanding", "format_version": FORMAT_VERSION, **asdict(described), **(extra or {})}
    with written_whole(folder / UNDERSTANDING_FILE) as file:
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_understanding(folder: Path) -> SavedUnderstanding:
    """The head in a folder that coca wrote.

    Raises:
        MissingFile: There is none.
        BadCheckpoint: A file is damaged, or the answers do not fit the weights.
    """
    path = folder / UNDERSTANDING_FILE
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFile(
            f"no {UNDERSTANDING_FILE} in {folder}: give the folder that coca finetune vqa, snli-ve or nlvr2 wrote"
        ) from None
    except ValueError:
        raise BadCheckpoint(f"{path} is damaged: it should be JSON; finetune the model again") from None
    if not isinstance(content, dict) or content.get("format") != "coca-understanding":
        raise BadCheckpoint(f'{path} is no head of coca: it should say "format": "coca-understanding"')
    if content.get("format_version") != FORMAT_VERSION:
        raise BadCheckpoint(f"{path} has the head format {content.get('format_version')}, this coca reads 1")
    known = {item.name: content[item.name] for item in fields(UnderstandingDescription) if item.name in content}
    weights = read_weights(folder / HEAD_FILE)
    try:
        described = UnderstandingDescription(**(known | {"answers": tuple(known.get("answers", ()))}))
        rows = len(weights["classifier.bias"])
        if rows != len(described.answers):
            raise BadCheckpoint(
                f"{path} lists {len(described.answers):,} answers, and the weights beside it answer with {rows:,}: the "
                "list is not the one that the head was trained with; put that back, or finetune the model again"
            )
        head = described.build()
        head.load_state_dict(weights)
    except (TypeError, ValueError, AssertionError, KeyError, RuntimeError) as error:
        raise BadCheckpoint(f"the head in {folder} does not fit its description ({error}); finetune again") from None
    return SavedUnderstanding(described, head.eval())
