from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from coca_cli.model.decoding import write_captions
from coca_cli.model.decoding_terms import Decoding
from coca_cli.model.open_clip_config import open_clip_config
from coca_cli.model.open_clip_weights import from_open_clip
from coca_cli.model.weights import build_coca
from coca_cli.options import DecodingMethod
from tests.model.small_open_clip import COCA
from tests.model.test_decoding import NumberTokenizer
from tests.model.uncached import Uncached
from tests.parity.open_clip_captions import SEEDS, VOCABULARY, pictures, written_model

WRITTEN: list[list[list[int]]] = json.loads((Path(__file__).parent / "open_clip_captions.json").read_text())
NUMBERS = NumberTokenizer(context=76, vocab_size=VOCABULARY)


@pytest.mark.peer
@pytest.mark.parametrize("seed", SEEDS)
def test_the_search_of_open_clip_3_3_is_repeated_token_by_token(seed: int) -> None:
    theirs = written_model(seed)
    described = json.loads(json.dumps(COCA))
    described["text_cfg"]["vocab_size"] = described["multimodal_cfg"]["vocab_size"] = VOCABULARY
    config = open_clip_config(described)
    model = build_coca(config, from_open_clip(theirs.state_dict(), config), None, "small").eval()
    with torch.inference_mode():
        tokens = model.encode_image(pictures(seed)).tokens
    for build in (None, Uncached):
        more = {} if build is None else {"build": build}
        found = write_captions(model, tokens, NUMBERS, Decoding(method=DecodingMethod.open_clip), **more)
        assert [[1, *captions[0].tokens] for captions in found] == WRITTEN[seed]


def test_what_is_repeated_has_ends_early_and_late_and_special_tokens() -> None:
    lengths = {len(row) for rows in WRITTEN for row in rows}
    assert min(lengths) < 10
    assert max(lengths) == 30
    assert any(0 in row for rows in WRITTEN for row in rows)
