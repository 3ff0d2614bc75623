from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from coca_cli.tasks.encoding import in_halves, within_memory


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield 4
    torch.set_num_threads(before)


def test_halves_are_computed_beside_each_other_with_half_of_the_threads(threads: int) -> None:
    both = threading.Barrier(2, timeout=60)
    seen: list[tuple[int, int]] = []

    def double(half: Tensor) -> Tensor:
        both.wait()  # breaks unless both are here
        seen.append((len(half), torch.get_num_threads()))
        return 2 * half

    torch.testing.assert_close(in_halves(double, torch.arange(7.0)), 2 * torch.arange(7.0), atol=0, rtol=0)
    assert sorted(seen) == [(3, 2), (4, 2)]


@pytest.mark.parametrize("broken", [False, True])
def test_other_threads_have_as_many_as_before(threads: int, broken: bool) -> None:
    def compute(half: Tensor) -> Tensor:
        if broken and len(half) == 3:
            raise ValueError("of one half")
        return half

    if broken:
        with pytest.raises(ValueError, match="of one half"):
            in_halves(compute, torch.zeros(7))
    else:
        in_halves(compute, torch.zeros(7))
    told: list[int] = []
    thread = threading.Thread(target=lambda: told.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert told == [threads]
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("count", [1, 2, 7])
def test_one_thread_computes_the_same_halves(count: int) -> None:
    sizes: list[int] = []

    def compute(half: Tensor) -> Tensor:
        sizes.append(len(half))
        return half + 1

    batch = torch.arange(float(count))
    torch.testing.assert_close(in_halves(compute, batch), batch + 1, atol=0, rtol=0)
    assert sizes == {1: [1], 2: [1, 1], 7: [4, 3]}[count]


def test_what_the_memory_does_not_hold_is_computed_in_halves() -> None:
    sizes: list[int] = []

    def compute(part: Tensor) -> Tensor:
        sizes.append(len(part))
        if len(part) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return part + 1

    torch.testing.assert_close(within_memory(compute, torch.arange(5.0)), torch.arange(5.0) + 1, atol=0, rtol=0)
    assert sizes == [5, 3, 2, 1, 2]
