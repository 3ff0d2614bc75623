from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from coca_cli.media.images import ImageSettings
from coca_cli.model.architectures import architectures
from coca_cli.model.baselines import Baseline
from coca_cli.model.coca import CoCa
from coca_cli.model.config import PAPER_PRESETS, CoCaConfig, tiny_config
from coca_cli.model.loaded import Loaded
from coca_cli.model.tokenizer import ClipTokenizer, OpenClipTokenizer, SentencePieceTokenizer, train_sentencepiece
from coca_cli.reports.models import render_architectures, render_baseline, render_config

TINY = tiny_config(vocab_size=100, image_size=64, context=32)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")


def facts(text: str) -> dict[str, str]:
    """The rows of a rendered description; names of parts keep the two blanks before them."""
    rows = [re.fullmatch(r"((?:  )?\S.*?) {2,}(\S.*?) *", line) for line in text.splitlines()]
    assert all(rows), text
    found = dict(row.groups() for row in rows if row)
    assert len(found) == len(rows)
    return found


def test_every_architecture_has_a_line() -> None:
    header, *lines = render_architectures().splitlines()
    assert header.split() == ["architecture", "parameters", "pixels", "weights"]
    rows = {line.split()[0]: line for line in lines if not line.startswith(" ")}
    assert list(rows) == list(architectures())
    assert rows["coca_large"].split()[2:] == ["288", "paper,", "Table", "1"]
    assert rows["coca_tiny"].endswith("for tests, the demo, small corpora")
    assert rows["coca_ViT-B-32"].split()[1:3] == ["253.6M", "224"]
    assert rows["coca_ViT-L-14"].split()[1:3] == ["638.5M", "224"]  # figures of open_clip's model profile
    for tag in ("laion2b_s13b_b90k", "mscoco_finetuned_laion2b_s13b_b90k"):
        assert sum(tag in line.split() for line in lines) == 2


def test_a_preset_is_described_in_full() -> None:
    rows = facts(render_config("coca_base", PAPER_PRESETS["coca_base"], None))
    assert rows["model"] == "coca_base"
    assert rows["image encoder"] == "ViT, 12 layers, width 768, 12 heads, MLP 3072"
    assert rows["patches"] == "18 px, 256 of them"
    assert rows["poolers"] == (
        "cascade: generative 256 queries, contrastive 1 query on the generative pooler's output, 12 heads"
    )
    assert rows["unimodal decoder"] == "12 layers, width 768, 12 heads, MLP 3072"
    assert rows["multimodal decoder"] == "12 layers with cross-attention to 256 pooled tokens"
    assert rows["embedding"] == "768 numbers"
    assert rows["text"] == "64 positions + 1 [CLS] (correct mask), padding id 0"
    assert rows["tokenizer"] == "sentencepiece, learned from captions, 64,000 words"
    assert rows["pictures"] == "288 px, bicubic, shorter side resized, centre cropped"
    assert rows["mean / std"] == "0.4815 0.4578 0.4082 / 0.2686 0.2613 0.2758"
    assert rows["  without poolers"] == "382.8M"  # the paper's Table 1
    assert rows["GFLOPs per caption"].endswith("(64 positions, picture given)")


def test_the_parts_add_up_to_all_parameters() -> None:
    rows = facts(render_config("tiny", TINY, None))
    parts = ("image encoder", "poolers", "unimodal decoder", "multimodal decoder", "projections and temperature")
    counts = {part: int(rows[f"  {part}"].replace(",", "")) for part in parts}
    total = sum(p.numel() for p in CoCa(TINY).parameters())
    assert sum(counts.values()) == total == int(rows["parameters"].replace(",", ""))
    assert rows["  without poolers"] == f"{(total - counts['poolers']) / 1e6:,.1f}M"
    assert float(rows["GFLOPs per picture"]) > 0


def test_open_clip_s_architecture_is_described() -> None:
    rows = facts(render_config("coca_ViT-L-14", architectures()["coca_ViT-L-14"], None))
    assert rows["patches"] == "14 px, 256 of them and a CLS token"
    assert rows["poolers"] == "shared: 256 queries, the first is the embedding, 8 heads"
    assert rows["multimodal decoder"] == "12 layers with cross-attention to 255 pooled tokens"
    assert rows["embedding"] == "768 numbers, projected"
    assert rows["text"] == "76 positions + 1 [CLS] (legacy mask), padding id 0"
    assert rows["tokenizer"] == "CLIP byte-pair encoding, 49,408 words"


@pytest.mark.parametrize(
    ("changes", "poolers", "seen"),
    [
        (
            ["pooler.wiring=parallel"],
            "parallel: generative 16 queries, contrastive 1 query on the patches, 4 heads",
            "16 pooled tokens",
        ),
        (["pooler.queries=0"], "contrastive alone, 1 query on the patches, 4 heads", "all patches"),
        (
            ["pooler.wiring=shared"],
            "shared: 16 queries, the first is the embedding, 4 heads",
            "15 pooled tokens",
        ),
    ],
)
def test_poolers_of_every_wiring(changes: list[str], poolers: str, seen: str) -> None:
    rows = facts(render_config("tiny", TINY.with_changes(changes), None))
    assert rows["poolers"] == poolers
    assert rows["multimodal decoder"].endswith(f"cross-attention to {seen}")


def test_squashed_pictures() -> None:
    config = replace(TINY, image=ImageSettings(size=64, resize="squash", interpolation="bilinear"))
    assert facts(render_config("tiny", config, None))["pictures"] == "64 px, bilinear, resized to a square"


def loaded(config: CoCaConfig, tokenizer: ClipTokenizer | SentencePieceTokenizer) -> Loaded:
    return Loaded(CoCa(config), tokenizer, config.image, "mine", "0123abcd")


def test_a_checkpoint_shows_its_hash_and_its_own_tokenizer() -> None:
    pieces = SentencePieceTokenizer(train_sentencepiece(["a photo of a cat", "a dog"], 30), context=32)
    rows = facts(render_config("mine", TINY, loaded(TINY, pieces)))
    assert rows["model"] == "mine (weights 0123abcd)"
    assert rows["tokenizer"] == "sentencepiece, 100 words"
    assert facts(render_config("mine", TINY, loaded(TINY, ClipTokenizer(32))))["tokenizer"] == (
        "CLIP byte-pair encoding, 100 words"
    )


def test_names_are_printed_as_they_are() -> None:
    name = "runs/[red]mine[/red] :cat:"
    assert facts(render_config(name, TINY, None))["model"] == name


def test_narrow_terminals_fold_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = render_config("tiny", TINY, None)
    assert max(map(len, text.splitlines())) <= 60
    words = " ".join(text.split())
    assert "generative 16 queries, contrastive 1 query" in words


class Other(nn.Module):
    """Stands for any other model of open_clip."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1234, 10))


def test_a_baseline_is_described() -> None:
    def tokenize(texts: list[str]) -> Tensor:
        return torch.zeros(len(texts), 4, dtype=torch.long)

    model = Loaded(Baseline(Other()), OpenClipTokenizer(tokenize), ImageSettings(), "ViT-B-32", "89abcdef")
    rows = facts(render_baseline(model))
    assert rows["model"] == "ViT-B-32 (weights 89abcdef)"
    assert rows["kind"].startswith("open_clip model without captions: a baseline for zero-shot")
    assert rows["pictures"].startswith("224 px, bicubic")
    assert rows["parameters"] == "12,340"


def test_the_text_is_plain() -> None:
    assert "\x1b" not in render_config("tiny", TINY, None)
