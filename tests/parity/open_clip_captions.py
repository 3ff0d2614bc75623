"""What open_clip 3.3.0 with transformers 4.49 writes, for models that are the same on every machine.

A current installation has a newer transformers, with which open_clip writes nothing; so its tokens stand in
open_clip_captions.json, made by:

    pip install --target theirs 'transformers==4.49.0'
    PYTHONPATH=theirs:. python -m tests.parity.open_clip_captions > tests/parity/open_clip_captions.json
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn

from tests.model.small_open_clip import COCA, known_to_open_clip

SEEDS = range(8)
PICTURES = 6
VOCABULARY, BEGIN, END, PAD = 40, 1, 2, 0


def written_model(seed: int) -> Any:
    """A small open_clip CoCa of 40 words; numpy promises that RandomState never changes."""
    config = deepcopy(COCA)
    config["text_cfg"]["vocab_size"] = config["multimodal_cfg"]["vocab_size"] = VOCABULARY
    with known_to_open_clip({"small-written": config}):
        model = open_clip.create_model("small-written").eval()
    random = np.random.RandomState(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if name != "logit_scale":
                _fill(parameter, random, one="ln_" in name and "weight" in name)
    return model


def _fill(parameter: nn.Parameter, random: np.random.RandomState, *, one: bool) -> None:
    spread = 1.5 * parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
    values = random.standard_normal(tuple(parameter.shape)) * spread + float(one)
    parameter.copy_(torch.from_numpy(values))


def pictures(seed: int) -> Tensor:
    """(6, 3, 24, 24), as the model takes them."""
    return torch.from_numpy(np.random.RandomState(1000 + seed).standard_normal((PICTURES, 3, 24, 24))).float()


def main() -> None:
    found = []
    for seed in SEEDS:
        tokens = written_model(seed).generate(pictures(seed), sot_token_id=BEGIN, eos_token_id=END)
        found.append([row[: row.index(END)] if END in row else row for row in tokens.tolist()])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
