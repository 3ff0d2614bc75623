from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from coca_cli.datasets.example import Example, Pixels
from coca_cli.errors import BadExample
from coca_cli.media import batches as media_batches
from coca_cli.media.batches import Batch, Skipped, batches, decoded, default_workers
from coca_cli.media.images import ImageSettings, fit_image, read_image

SETTINGS = ImageSettings(size=8)


def shade(i: int) -> tuple[int, int, int]:
    return i % 256, i // 256, 7


def coloured(count: int, bad: frozenset[int] = frozenset()) -> list[Example]:
    """Pictures of one colour each, which tells their number; the bad ones do not exist."""
    examples = []
    for i in range(count):
        array = np.full((8, 9, 3), shade(i), dtype=np.uint8)
        medium = Path(f"missing-{i}.jpg") if i in bad else Pixels(array, f"drawn {i}")
        examples.append(Example(id=str(i), media=(medium,), label=i))
    return examples


def read(examples: list[Example], skipped: Skipped | None = None, **options: int) -> list[Batch]:
    options = {"batch_size": 4, "workers": 3, **options}
    return list(batches(examples, SETTINGS, skipped=skipped or Skipped(), **options))


@pytest.fixture
def slow_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding takes a random while, so that threads overtake one another."""
    chosen = random.Random(0)

    def read_slowly(medium: Pixels, border: int) -> object:
        time.sleep(chosen.random() * 0.01)
        return read_image(medium, border)

    monkeypatch.setattr(media_batches, "read_image", read_slowly)


@pytest.mark.usefixtures("slow_pictures")
@pytest.mark.parametrize("workers", [0, 1, 3, 16])
def test_order_is_kept(workers: int) -> None:
    found = read(coloured(50), workers=workers)
    assert [len(batch.examples) for batch in found] == [4] * 12 + [2]
    assert [example.label for batch in found for example in batch.examples] == list(range(50))
    for batch in found:
        assert batch.pixels.dtype == torch.uint8
        assert batch.pixels.shape == (len(batch.examples), 3, 8, 8)
        for example, pixels in zip(batch.examples, batch.pixels, strict=True):
            assert tuple(pixels[:, 0, 0].tolist()) == shade(int(example.id))


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (3, [3]), (4, [4]), (5, [4, 1]), (8, [4, 4])])
def test_the_last_batch_holds_the_rest(count: int, sizes: list[int]) -> None:
    assert [len(batch.examples) for batch in read(coloured(count))] == sizes


@pytest.mark.parametrize("workers", [0, 3])
def test_pictures_are_fitted_to_the_settings(workers: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    example = Example(id="a", media=(Pixels(array, "drawn"),))
    expected = fit_image(read_image(example.media[0], border=5), SETTINGS)
    assert (read([example], workers=workers, border=5)[0].pixels[0].numpy() == expected).all()


def test_threads_and_none_give_the_same() -> None:
    bad = frozenset({3, 17})
    outcomes = []
    for workers in (0, 3):
        skipped = Skipped()
        found = read(coloured(60, bad), skipped, workers=workers)
        outcomes.append(([b.pixels.tolist() for b in found], [b.examples[0].id for b in found], skipped))
    assert str(outcomes[0]) == str(outcomes[1])


@pytest.mark.parametrize("workers", [0, 3])
def test_unreadable_pictures_are_left_out_and_named(workers: int) -> None:
    skipped = Skipped()
    found = read(coloured(60, frozenset({0, 7, 59})), skipped, workers=workers)
    assert skipped.seen == 60
    assert list(skipped.reasons) == ["0", "7", "59"]
    assert skipped.reasons["7"] == "missing-7.jpg: the file does not exist"
    labels = [example.label for batch in found for example in batch.examples]
    assert labels == [i for i in range(60) if i not in (0, 7, 59)]
    assert [len(batch.examples) for batch in found] == [4] * 14 + [1]  # full batches, whatever was left out


def test_five_per_cent_may_be_unreadable_and_not_more() -> None:
    assert sum(len(b.examples) for b in read(coloured(100, frozenset(range(5))))) == 95
    message = "6 of 100 examples cannot be read, which is more than 5 %: too many to go on. The first: missing-0"
    with pytest.raises(BadExample, match=message) as caught:
        read(coloured(100, frozenset(range(6))))
    assert "Mend the files or fetch them again" in str(caught.value)


def test_a_small_set_of_unreadable_pictures_is_refused_at_its_end() -> None:
    stream = batches(coloured(10, frozenset({0})), SETTINGS, batch_size=4, skipped=Skipped(), workers=0)
    assert [len(next(stream).examples), len(next(stream).examples)] == [4, 4]
    with pytest.raises(BadExample, match="1 of 10 examples cannot be read"):
        next(stream)  # in place of the last, short batch


@pytest.mark.parametrize("workers", [0, 3])
def test_a_broken_set_is_refused_early(workers: int) -> None:
    """After 200 examples, not at the end of a million."""
    skipped = Skipped()
    with pytest.raises(BadExample, match=r"\d+ of 2\d\d examples cannot be read"):
        read(coloured(5000, frozenset(range(0, 5000, 5))), skipped, workers=workers)
    assert skipped.seen <= 205


def test_early_refusal_waits_for_enough_examples() -> None:
    """A bad start alone stops nothing: 9 of the first 10 are 4.5 % of all 200."""
    skipped = Skipped()
    assert sum(len(b.examples) for b in read(coloured(200, frozenset(range(9))), skipped)) == 191


@pytest.mark.parametrize("workers", [0, 3])
def test_strict_stops_at_the_first(workers: int) -> None:
    skipped = Skipped(strict=True)
    with pytest.raises(BadExample, match=r"missing-2\.jpg: the file does not exist\. Stopped because of --strict"):
        read(coloured(1000, frozenset({2, 3})), skipped, workers=workers)
    assert skipped.seen == 3
    assert skipped.reasons == {}


def decoding_threads() -> int:
    return sum(thread.name.startswith("decode") for thread in threading.enumerate())


def wait_until(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def test_threads_end_with_the_last_batch() -> None:
    read(coloured(20))
    assert wait_until(lambda: decoding_threads() == 0)


@pytest.mark.usefixtures("slow_pictures")
def test_stopping_early_stops_the_threads() -> None:
    taken = []

    def source() -> Iterator[Example]:
        for example in coloured(1000):
            taken.append(example.id)
            yield example

    stream = batches(source(), SETTINGS, batch_size=4, skipped=Skipped(), workers=3)
    assert [example.id for example in next(stream).examples] == ["0", "1", "2", "3"]
    assert decoding_threads() == 3
    stream.close()  # type: ignore[attr-defined]
    assert wait_until(lambda: decoding_threads() == 0)
    assert len(taken) < 20


def test_stopping_early_decodes_nothing_more() -> None:
    started = []

    def decode(number: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        started.append(number)
        time.sleep(0.05)
        return np.zeros(1, dtype=np.uint8)

    stream = decoded(range(1000), decode, workers=2, ahead=50)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert wait_until(lambda: decoding_threads() == 0)
    assert len(started) < 10


@pytest.mark.usefixtures("slow_pictures")
def test_an_error_in_the_consumer_stops_the_threads() -> None:
    def work() -> None:
        for _ in batches(coloured(1000), SETTINGS, batch_size=4, skipped=Skipped(), workers=3):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert wait_until(lambda: decoding_threads() == 0)


def test_little_is_read_ahead() -> None:
    """Two batches and no more, so that memory does not grow with the set."""
    taken = []

    def source() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    stream = decoded(source(), lambda n: np.full(1, n, dtype=np.uint8), workers=2, ahead=8)
    for number in range(5):
        item, outcome = next(stream)
        assert not isinstance(outcome, BadExample)
        assert (item, outcome.tolist()) == (number, [number])
        assert len(taken) <= 8 + number + 1


@pytest.mark.parametrize("workers", [0, 2])
def test_other_errors_are_not_hidden(workers: int) -> None:
    """A mistake in the program is no unreadable picture."""

    def decode(_: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(decoded(range(5), decode, workers, ahead=2))


def test_an_error_in_the_source_passes_through() -> None:
    def source() -> Iterator[Example]:
        yield from coloured(3)
        raise BadExample("the list of pictures is damaged")

    with pytest.raises(BadExample, match="the list of pictures is damaged"):
        list(batches(source(), SETTINGS, batch_size=2, skipped=Skipped(), workers=2))
    assert wait_until(lambda: decoding_threads() == 0)


def test_workers_fit_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    for cores, workers in ((1, 1), (6, 6), (200, 16)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, n=cores: set(range(n)), raising=False)
        assert default_workers() == workers


def test_processes_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    for cores, workers in ((2, 1), (16, 2), (50, 6), (200, 16)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, n=cores: set(range(n)), raising=False)
        assert default_workers() == workers


def test_decoding_overlaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four pictures of 100 ms each take less than 300 ms with four threads."""
    monkeypatch.setattr(media_batches, "read_image", lambda medium, border: (time.sleep(0.1), read_image(medium))[1])
    started = time.monotonic()
    read(coloured(4), workers=4)
    assert time.monotonic() - started < 0.3
