"""Two and four processes compute what one computes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import torch.multiprocessing

from coca_cli.errors import CocaError
from coca_cli.model.checkpoint import load_folder
from coca_cli.options import Parallel
from coca_cli.training.distributed import parallelise
from coca_cli.training.objective import Objective
from coca_cli.training.optim import CONTRASTIVE
from coca_cli.world import SINGLE
from tests.tasks.tiny import tiny_coca
from tests.training.runs import losses, run_whole, words
from tests.training.worlds import ALL_WAYS, captions_alone, computed_together, gradients_alone


def assert_equal_gradients(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], way: str) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=0, msg=lambda m, n=name: f"{way} {n}: {m}")


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """How many processes computed the same batches together, and where they left what came out."""
    size, folder = request.param, tmp_path_factory.mktemp("together")
    torch.multiprocessing.spawn(computed_together, (size, str(folder)), nprocs=size)
    return size, folder


def test_loss_and_gradients_are_those_of_one_process(together: tuple[int, Path]) -> None:
    size, folder = together
    expected = gradients_alone()
    assert expected["gradient image.vit.positions"].abs().max() > 1e-3
    assert expected["gradient log_scale"].abs() > 1e-4
    for way in ALL_WAYS:
        for rank in range(size):
            found = torch.load(folder / f"{way}-{rank}.pt", weights_only=True)
            assert_equal_gradients(found, expected, f"{way}, process {rank}")


def test_steps_on_captions_alone_are_those_of_one_process(together: tuple[int, Path]) -> None:
    """And leave on every process what only the embeddings need."""
    size, folder = together
    expected, start = captions_alone(), dict(tiny_coca().named_parameters())
    assert expected["caption loss at step 2"] < expected["caption loss at step 0"] - 0.01
    assert (expected["decoder.to_vocab.weight"] - start["decoder.to_vocab.weight"]).abs().max() > 1e-3
    for way in ALL_WAYS:
        # of several parts the contrastive loss that is looked at is the mean of theirs
        left_out = "contrastive loss" if way.endswith("2") else "none"
        right = {name: value for name, value in expected.items() if not name.startswith(left_out)}
        for rank in range(size):
            found = torch.load(folder / f"captions-{way}-{rank}.pt", weights_only=True)
            for name, value in start.items():
                assert not name.startswith(CONTRASTIVE) or torch.equal(found[name], value), name
            compared = {name: value for name, value in found.items() if not name.startswith(left_out)}
            assert_equal_gradients(compared, right, f"{way}, process {rank}")


def test_fsdp_alone_is_refused() -> None:
    model = tiny_coca()
    with pytest.raises(CocaError, match="start them with torchrun"):
        parallelise(Objective(model), model.layers, Parallel.fsdp, SINGLE, torch.device("cpu"))


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_with_one(tmp_path: Path) -> None:
    """The course is the same under fsdp with parts, and shards are read by another number of processes."""
    run_whole(words(tmp_path / "alone"))
    shared = tmp_path / "shared"
    more = ("--keep-checkpoints", 9)
    run_whole(words(shared, "--parallel", "fsdp", "--accumulate", 2, *more), processes=2)
    expected = losses(tmp_path / "alone")
    assert losses(shared) == pytest.approx(expected, abs=1e-5)
    checkpoint = shared / "checkpoints" / "step-00000004"
    assert len(list(checkpoint.glob("shard-*.safetensors"))) == 2
    merged = load_folder(checkpoint)  # a checkpoint is a model like any other
    assert not torch.equal(merged.model.log_scale, load_folder(shared).model.log_scale)
    for later in ("step-00000006", "step-00000008"):
        shutil.rmtree(shared / "checkpoints" / later)
    run_whole(words(shared, "--resume", *more))
    assert losses(shared) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("way", [("--parallel", "ddp", "--accumulate", 2), ("--parallel", "fsdp")])
@pytest.mark.parametrize(("optimizer", "rate"), [("adamw", 2e-4), ("adafactor", 8e-4), ("muon", 8e-4)])
def test_four_processes_have_the_course_of_one(
    tmp_path: Path, way: tuple[object, ...], optimizer: str, rate: float
) -> None:
    """AdamW divides a gradient by its own size, so that the rounding of a tiny one moves a weight by a whole step. At
    8e-4, without a warm-up, one process with its batch in four parts is as far off as four processes, 5e-5; at 4e-4 and
    below both are within 3e-6.
    """
    more = ("--optimizer", optimizer, "--learning-rate", rate, "--ema", 0.9, "--freeze", "text.positions")
    run_whole(words(tmp_path / "alone", *more))
    run_whole(words(tmp_path / "shared", *more, *way), processes=4)
    alone = losses(tmp_path / "alone")
    assert alone[8] < alone[1] - 0.3
    allowed = 2e-3 if optimizer == "muon" else 1e-5  # muon turns its matrices in bf16
    assert losses(tmp_path / "shared") == pytest.approx(alone, abs=allowed)
