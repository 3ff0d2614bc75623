from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
import torch

from coca_cli.datasets.sources import Source
from coca_cli.options import Parallel
from coca_cli.training import pretrain_setup
from coca_cli.training.augment import Augmentation
from coca_cli.training.dry_run import _in_words, describe_plan
from coca_cli.training.memory import estimate_memory
from coca_cli.training.objective import pack_texts
from coca_cli.training.optim import learning_rate_at
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.pretrain_setup import Prepared, prepare
from coca_cli.training.schedule import Recipe
from coca_cli.world import SINGLE, World
from tests.training.pictures import examples_of, pairs, stream

CPU = torch.device("cpu")
NARROW = (
    *("image.size=16", "vision.layers=1", "text.unimodal_layers=1", "text.multimodal_layers=1", "text.context=24"),
    *("vision.width=32", "pooler.width=32", "text.width=32", "embed_dim=32", "text.mlp_width=64"),
)
REQUEST = PretrainRequest(
    data=("scenes", "digits"),
    root=Path("nowhere"),
    output=Path("out"),
    changes=NARROW,
    vocab_size=120,
    recipe=Recipe(steps=40, batch_size=8, learning_rate=1e-3, warmup=0.1),
    augmentation=Augmentation(),
    limit=32,
)


@pytest.fixture(autouse=True, scope="module")
def _no_terminal() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        yield


def prepared_of(request: PretrainRequest) -> Prepared:
    return prepare(request, CPU)


def rows_of(text: str) -> dict[str, str]:
    """First cell -> the cells behind it, of every table."""
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    return {first: " | ".join(rest) for first, *rest in cells}


def plan(request: PretrainRequest = REQUEST, world: World = SINGLE, **changes: Any) -> dict[str, str]:
    request = replace(request, **changes)
    return rows_of(describe_plan(request, prepared_of(request), world))


def test_shapes_alone_give_the_same_plan() -> None:
    for changes in ({}, {"freeze": ("image",), "accumulate": 2, "checkpoint_activations": True}):
        request = replace(REQUEST, **changes)
        shapes = prepare(request, CPU, shapes_alone=True)
        assert all(parameter.is_meta for parameter in shapes.model.parameters())
        assert describe_plan(request, shapes, SINGLE) == describe_plan(request, prepared_of(request), SINGLE)


@pytest.fixture(scope="module")
def whole() -> dict[str, str]:
    """The plan of the request as it is."""
    return plan()


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """What `find_source` finds for every name, in turn."""
    found: list[Source] = []
    monkeypatch.setattr(pretrain_setup, "find_source", lambda *_: found[0])
    return found


def test_sources_with_their_counts_and_shares() -> None:
    found = plan(data=("scenes", "digits"), shares=(3, 1))
    assert found["scenes"] == "pairs | 32 | 0 | 75.0% | 7.5"
    assert found["digits"] == "labels as text | 32 | 0 | 25.0% | 2.5"


def test_a_stream_has_no_count(sources: list[Source]) -> None:
    sources.append(stream({"a": examples_of(30, texts=2)}))
    assert plan(data=("stream",), limit=None, tokenizer="clip")["stream"] == "pairs | streamed | 0 | 100.0% | ?"


def test_the_first_five_pairs_are_those_that_training_sees_first() -> None:
    prepared = prepared_of(REQUEST)
    found = rows_of(describe_plan(REQUEST, prepared, SINGLE))
    for feed in prepared.mixture.feeds:
        shown = [example.id for example in feed.examples if example.id in found]
        assert sorted(shown) == sorted(feed.draw(number).example.id for number in range(5))
        for number in range(5):
            draw = feed.draw(number)
            assert found[draw.example.id] == draw.caption
    assert prepared.mixture.taken == [0, 0]  # training would still begin at the beginning
    assert prepared.mixture.batches == 0


def test_fewer_than_five_pairs_are_all_shown(sources: list[Source]) -> None:
    sources.append(pairs(examples_of(3)))
    found = plan(data=("pairs",), recipe=replace(REQUEST.recipe, batch_size=2), tokenizer="clip")
    assert {found[f"picture {i}"] for i in range(3)} == {"0 0", "1 0", "2 0"}


def test_what_looks_like_markup_is_shown_as_it_is(sources: list[Source]) -> None:
    examples = [replace(example, id=f"[red]{example.id}", texts=("[bold]x[/bold]",)) for example in examples_of(5)]
    sources.append(pairs(examples, "[blue]"))
    recipe = replace(REQUEST.recipe, batch_size=5)
    found = plan(data=("x",), tokenizer="clip", output=Path("[green]"), recipe=recipe)
    assert found["[blue]"].startswith("pairs | 5")
    assert found["[red]picture 0"] == "[bold]x[/bold]"
    assert found["saved"] == "at the end, in [green]"


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_the_terminal(sources: list[Source], width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    examples = [replace(example, id="long/" * 30 + example.id, texts=("word " * 60,)) for example in examples_of(8)]
    sources.append(pairs(examples, "source" * 30))
    request = replace(REQUEST, data=("x",), tokenizer="clip")
    text = describe_plan(request, prepared_of(request), SINGLE)
    assert max(map(len, text.splitlines())) <= width
    assert text.endswith("\n")
    for number in range(5):
        assert f"long/{prepared_of(request).mixture.feeds[0].draw(number).example.id[-9:]} " in text


def test_a_stdout_without_box_characters(sources: list[Source], monkeypatch: pytest.MonkeyPatch) -> None:
    sources.append(pairs([replace(example, texts=("a žába",)) for example in examples_of(8)]))
    request = replace(REQUEST, data=("x",), tokenizer="clip")
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(BytesIO(), "ascii"))
    text = describe_plan(request, prepared_of(request), SINGLE)
    assert text.isascii()
    assert "| architecture" in text
    assert r"a \u017e" in text


def test_the_model_and_what_of_it_is_trained(whole: dict[str, str]) -> None:
    prepared = prepared_of(REQUEST)
    total = sum(p.numel() for p in prepared.model.parameters())
    assert whole["architecture"] == "coca_tiny"
    assert whole["parameters"] == f"{total:,}"
    assert whole["pictures"] == "16 px, patches of 8"
    assert whole["texts"] == f"{prepared.tokenizer.vocab_size:,} words, 24 positions"
    image = sum(p.numel() for p in prepared.model.image.parameters())
    assert plan(freeze=("image",))["parameters"] == f"{total:,}, {total - image:,} of them trained"


def mebibytes(text: str) -> float:
    number, unit = text.split()[:2]
    return float(number.replace(",", "")) * {"MiB": 1, "GiB": 1024}[unit]


def test_memory_is_that_of_one_part_on_one_process(whole: dict[str, str]) -> None:
    prepared = prepared_of(REQUEST)
    captions = [row.draw().caption for row in prepared.mixture.next_batch(8)]
    texts = pack_texts(prepared.model, prepared.tokenizer.encode(captions))
    expected = estimate_memory(
        prepared.model,
        texts,
        prepared.recipe.optimizer,
        pictures=8,
        mixed=False,
        average=False,
        checkpointed=False,
    )
    for name in ("weights", "gradients", "optimizer", "activations", "logits"):
        assert mebibytes(whole[name]) == pytest.approx(getattr(expected, name) / 2**20, abs=0.06), name
    assert mebibytes(whole["memory together"]) == pytest.approx(expected.total / 2**20, abs=0.06)
    parts = plan(accumulate=4)
    assert mebibytes(parts["activations"]) < mebibytes(whole["activations"]) / 2
    shared = plan(world=World(0, 4), parallel=Parallel.fsdp)
    assert mebibytes(shared["weights"]) < mebibytes(whole["weights"]) / 2
    assert mebibytes(shared["activations"]) == mebibytes(parts["activations"])
    averaged = plan(world=World(0, 4), recipe=replace(REQUEST.recipe, ema=0.9))  # ddp keeps all of them
    assert mebibytes(averaged["weights"]) == pytest.approx(2 * mebibytes(whole["weights"]), abs=0.1)


def test_large_sizes_are_gibibytes() -> None:
    assert [_in_words(size) for size in (0, 3 * 2**20, 2**30, 1500 * 2**30)] == [
        "0.0 MiB",
        "3.0 MiB",
        "1.00 GiB",
        "1,500.00 GiB",
    ]


def test_the_schedule_has_the_rates_of_training(whole: dict[str, str]) -> None:
    found = whole
    for step in (0, 4, 20, 39):
        rate = learning_rate_at(step, steps=40, warmup=4, peak=1e-3, decay=REQUEST.recipe.decay)
        assert found[f"rate at step {step + 1}"] == f"{rate:.2e}"
    assert found["steps"] == "40 of 8 pairs"
    assert found["optimiser"] == "adafactor, weight decay 0.01, clip 1"
    assert found["losses"] == "1 contrastive + 2 caption"
    assert found["precision"] == "fp32"
    assert found["saved"] == "at the end, in out"
    assert "evaluated" not in found


def test_parts_processes_savings_and_evaluations_are_told() -> None:
    found = plan(
        world=World(0, 2),
        accumulate=2,
        save_every=1500,
        eval_zeroshot=("digits",),
        eval_retrieval=("scenes",),
        eval_every=10,
    )
    assert found["steps"] == "40 of 8 pairs, 2 processes (ddp), 2 parts each"
    assert found["saved"] == "every 1,500 steps and at the end, in out"
    assert found["evaluated"] == "every 10 steps and at the end: digits, scenes"
