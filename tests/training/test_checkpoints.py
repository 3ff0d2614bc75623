from __future__ import annotations

import errno
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coca_cli.errors import BadCheckpoint, CocaError, MissingFile
from coca_cli.model.checkpoint import load_folder, save_description
from coca_cli.model.coca import CoCa
from coca_cli.model.tokenizer import ClipTokenizer
from coca_cli.options import OptimizerChoice
from coca_cli.training import checkpoints as module
from coca_cli.training.checkpoints import (
    TrainingState,
    latest_checkpoint,
    load_checkpoint,
    read_facts,
    save_checkpoint,
    whole_weights,
)
from coca_cli.training.ema import Ema
from coca_cli.training.optim import build_optimizer
from coca_cli.world import SINGLE
from tests.tasks.tiny import CONTEXT, tiny_coca

TOKENIZER = ClipTokenizer(CONTEXT)
WORDS = "text.vocab_size=49408"  # as many as the tokenizer has


def new_state(seed: int = 0, average: bool = True, optimizer: str = "adafactor") -> TrainingState:
    model = tiny_coca(seed, WORDS)
    built = build_optimizer(model, OptimizerChoice(optimizer), 1e-2, 0.1)
    return TrainingState(model, built, Ema(model, 0.9) if average else None)


def step(state: TrainingState) -> None:
    """One step on gradients that depend on the step alone."""
    random = torch.Generator().manual_seed(state.step)
    for parameter in state.model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=random)
    state.optimizer.step()
    state.step += 1
    if state.ema is not None:
        state.ema.update(state.model, state.step)


def save(run: Path, state: TrainingState, keep: int = 1, **facts: Any) -> Path:
    model = state.model
    assert isinstance(model, CoCa)

    def describe(folder: Path) -> None:
        save_description(folder, model.config, TOKENIZER, run.name, {"step": state.step})

    return save_checkpoint(run, state, describe, facts, SINGLE, keep)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingState]:
    """A checkpoint after two steps, and the state that it was made of."""
    state = new_state()
    step(state)
    step(state)
    return save(tmp_path_factory.mktemp("runs") / "run", state, taken=[3, 4]), state


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor", "muon"])
def test_training_goes_on_from_a_checkpoint_as_without_it(tmp_path: Path, optimizer: str) -> None:
    state, other = new_state(optimizer=optimizer), new_state(seed=1, optimizer=optimizer)
    for _ in range(2):
        step(state)
    load_checkpoint(save(tmp_path, state), other)
    assert other.step == 2
    for _ in range(2):
        step(state)
        step(other)
    for name, tensor in state.tensors().items():
        assert torch.equal(other.tensors()[name], tensor), name


def test_a_checkpoint_holds_weights_memory_average_and_facts(saved: tuple[Path, TrainingState]) -> None:
    checkpoint, state = saved
    assert checkpoint.name == "step-00000002"
    assert read_facts(checkpoint) == {"step": 2, "taken": [3, 4]}
    names = state.tensors()
    for prefix in ("model.", "ema.", "optimizer."):
        assert any(name.startswith(prefix) for name in names)
    assert "optimizer.image.vit.positions.exp_avg" in names


def test_a_checkpoint_is_a_model_with_the_averaged_weights(saved: tuple[Path, TrainingState], tmp_path: Path) -> None:
    checkpoint, state = saved
    weights = load_folder(checkpoint).model.state_dict()
    expected = whole_weights(state)
    assert state.ema is not None
    assert not torch.equal(expected["log_scale"], state.model.log_scale)
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    plain = new_state(average=False)
    step(plain)
    weights = load_folder(save(tmp_path, plain)).model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in plain.model.state_dict().items())


def test_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    state = new_state(average=False)
    for _ in range(4):
        step(state)
        save(tmp_path, state, keep=2)
    found = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert found == ["step-00000003", "step-00000004"]
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoints" / "step-00000004"
    assert latest_checkpoint(tmp_path / "nowhere") is None


def test_what_a_kill_left_half_written_is_no_checkpoint(tmp_path: Path) -> None:
    state = new_state(average=False)
    step(state)
    first = save(tmp_path, state)
    shutil.copytree(first, first.with_name(".step-00000009.part"))
    (first.with_name("step-00000007")).mkdir()
    assert latest_checkpoint(tmp_path) == first


@pytest.mark.parametrize("place", ["write_shards", "save_description", "_flush_to_disk"])
def test_a_full_disk_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    state = new_state(average=False)
    step(state)
    with monkeypatch.context() as full:
        where = sys.modules[__name__] if place == "save_description" else module
        full.setattr(where, place, _raise(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(CocaError, match=r"No space left on device.*there is no earlier one\. Make room"):
            save(tmp_path, state)
    first = save(tmp_path, state)
    step(state)
    monkeypatch.setattr(where, place, _raise(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(CocaError, match=r"the checkpoint of step 2 cannot be written .*; the last good one is step-0"):
        save(tmp_path, state)
    assert list((tmp_path / "checkpoints").iterdir()) == [first]
    load_checkpoint(first, new_state(average=False))


def _raise(error: Exception) -> Callable[..., None]:
    def raising(*_: object, **__: object) -> None:
        raise error

    return raising


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="it is not a checkpoint of coca pretrain"):
        read_facts(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is damaged: it should be JSON; remove"), ('{"a": 1}', "does not say its step; remove")],
)
def test_facts_that_are_damaged(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(BadCheckpoint, match=message):
        read_facts(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "gone", "other model", "no average"])
def test_shards_that_are_damaged_or_of_another_model(
    saved: tuple[Path, TrainingState], tmp_path: Path, damage: str
) -> None:
    checkpoint = shutil.copytree(saved[0], tmp_path / "copy")
    (shard,) = checkpoint.glob("shard-*")
    state = new_state()
    if damage == "cut":
        shard.write_bytes(shard.read_bytes()[:1000])
    elif damage == "gone":
        shard.unlink()
    elif damage == "other model":
        model = tiny_coca(0, WORDS, "vision.layers=2")
        state = TrainingState(model, build_optimizer(model, OptimizerChoice.adamw, 1e-3, 0.0), Ema(model, 0.9))
    else:
        plain = new_state(average=False)
        step(plain)
        checkpoint = save(tmp_path / "plain", plain)
    with pytest.raises(BadCheckpoint, match="it is damaged or of another model"):
        load_checkpoint(checkpoint, state)


def test_a_damaged_shard_is_no_model(saved: tuple[Path, TrainingState], tmp_path: Path) -> None:
    checkpoint = shutil.copytree(saved[0], tmp_path / "copy")
    (shard,) = checkpoint.glob("shard-*")
    shard.write_bytes(b"x" * 100)
    with pytest.raises(BadCheckpoint, match="copy the checkpoint again"):
        load_folder(checkpoint)


def test_no_pickle_is_written_or_read(saved: tuple[Path, TrainingState]) -> None:
    files = sorted(path.name for path in saved[0].iterdir())
    assert files == ["config.json", "shard-00001-model-00001-of-00001.safetensors", "state.json", "tokenizer.json"]
    assert json.loads((saved[0] / "config.json").read_text())["format"] == "coca"
