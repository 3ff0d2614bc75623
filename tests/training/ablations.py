"""A small ablation, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coca_cli.options import OptimizerChoice
from coca_cli.training.ablation_request import AblationRequest, HeadNumbers, parse_measures
from coca_cli.training.augment import Augmentation
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.schedule import Recipe

SMALL = (
    *("image.size=16", "vision.layers=1", "vision.width=32", "vision.mlp_width=32", "pooler.width=32", "embed_dim=32"),
    *("text.width=32", "text.mlp_width=32", "text.context=24"),
)
MEASURES = ("zeroshot:digits", "questions:scene-questions", "probe:digits", "linear:digits", "retrieval:scenes")


def ablation(output: Path, tables: tuple[str, ...] = (), **more: Any) -> AblationRequest:
    """Two seeds of two steps on 32 pictures; `more` are fields of the request, or of its base."""
    base: dict[str, Any] = {
        "data": ("scenes", "digits"),
        "root": output,
        "output": output,
        "changes": SMALL,
        "vocab_size": 200,
        "recipe": Recipe(steps=2, batch_size=8, learning_rate=1e-3, optimizer=OptimizerChoice.adamw, precision="fp32"),
        "augmentation": Augmentation(min_area=1.0),
        "limit": 32,
        "workers": 0,
        "device": "cpu",
    }
    base |= {name: more.pop(name) for name in list(more) if name in PretrainRequest.__dataclass_fields__}
    measures = parse_measures(more.pop("measures", MEASURES))
    request: dict[str, Any] = {"seeds": 2, "heads": HeadNumbers(2, 8, 1e-3), **more}
    return AblationRequest(tables=tables, base=PretrainRequest(**base), measures=measures, **request)
