from __future__ import annotations

import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from coca_cli.training import utilisation as module
from coca_cli.training.objective import Objective, Part, Weights, backward, pack_texts
from coca_cli.training.utilisation import measured_peak, step_cost
from tests.model.small_models import BUILDS, small_coca, small_config, texts
from tests.tasks.tiny import LetterTokenizer, tiny_coca

CPU = torch.device("cpu")


def positions(*lengths: int) -> int:
    return len(pack_texts(small_coca(), texts(*lengths)).rows)


def test_a_step_costs_what_its_pictures_and_words_cost() -> None:
    cost = step_cost(small_config())
    assert cost.picture > cost.word > 0
    one, two = cost.of(1, positions(4)), cost.of(2, positions(4, 4))
    assert two == 2 * one
    assert cost.of(1, positions(7)) - one == 3 * 3 * cost.word  # three words more, three passes
    assert one == 3 * (cost.picture + (4 + 1) * cost.word)  # a [CLS] is a position as a word is


@pytest.mark.parametrize("lengths", [(24, 24, 24, 24), (8, 8, 8, 8), (20, 12, 5, 9)])
def test_the_count_is_near_what_torch_counts_in_a_step(lengths: tuple[int, ...]) -> None:
    """Torch counts each product of a real step, backward pass included; ours is a straight line through two lengths."""
    model = tiny_coca().train()
    tokens = LetterTokenizer().encode(["x" * (length - 2) for length in lengths])
    part = Part(torch.zeros(len(lengths), 3, 16, 16, dtype=torch.uint8), pack_texts(model, tokens))
    with FlopCounterMode(display=False) as counter:
        backward(Objective(model), [part], model.pad_id, Weights())
    found = step_cost(model.config).of(len(lengths), len(part.texts.rows))
    assert found == pytest.approx(counter.get_total_flops(), rel=0.15)


def test_without_captions_the_decoder_costs_nothing() -> None:
    """Torch counts what such a step takes."""
    model = tiny_coca().train()
    tokens = LetterTokenizer().encode(["x" * 10] * 4)
    part = Part(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), pack_texts(model, tokens))
    with FlopCounterMode(display=False) as counter:
        backward(Objective(model), [part], model.pad_id, Weights(1, 0))
    found = step_cost(model.config, captions=False).of(4, len(part.texts.rows))
    assert found == pytest.approx(counter.get_total_flops(), rel=0.15)
    assert found < 0.9 * step_cost(model.config).of(4, len(part.texts.rows))


@pytest.mark.parametrize("build", ["no queries, own widths", "three [CLS]", "open_clip, legacy mask"])
def test_every_build_can_be_counted(build: str) -> None:
    cost = step_cost(small_config(*BUILDS[build]))
    assert cost.picture > cost.word > 0


@pytest.mark.parametrize("mixed", [False, True])
def test_the_peak_is_that_of_a_product_on_this_machine(mixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MATRIX_SIDE", 256)
    monkeypatch.setattr(module, "SECONDS", 0.05)
    found = measured_peak(CPU, mixed=mixed)
    a = torch.randn(256, 256, dtype=torch.bfloat16 if mixed else torch.float32)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    once = 2 * 256**3 / min(seconds)
    assert once / 5 < found < 5 * once  # a neighbour may be busy


def test_the_peak_counts_the_best_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product that was disturbed says nothing about the machine."""
    monkeypatch.setattr(module, "MATRIX_SIDE", 8)
    clock = iter([0.0, 0.0, 0.0, 0.05, 0.1, 0.1, 0.11, 0.15, 0.15, 0.3, 0.3])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    # begin 0; loop at 0: 0 to 0.05; at 0.1: 0.1 to 0.11; at 0.15: 0.15 to 0.3; at 0.3 it is over
    assert measured_peak(CPU, mixed=False) == pytest.approx(2 * 8**3 / 0.01)
