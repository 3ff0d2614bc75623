from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from coca_cli.datasets.sources import Source, find_source
from coca_cli.errors import BadExample
from coca_cli.media.images import ImageSettings
from coca_cli.training import mixture as module
from coca_cli.training.augment import Augmentation
from coca_cli.training.batches import BATCHES_AHEAD, TrainingBatch, training_batches
from coca_cli.training.mixture import Feed, Mixture, share_out
from coca_cli.world import World
from tests.training.pictures import broken, examples_of, pairs, stream, with_broken

SETTINGS = ImageSettings(size=8)


def mixture_of(sources: Sequence[Source], seed: int = 0) -> Mixture:
    feeds = [Feed(source, number, seed) for number, source in enumerate(sources)]
    return Mixture(feeds, share_out(sources, [feed.size for feed in feeds], None), seed)


def draw(source: Source | Mixture, batches: int, **options: object) -> list[TrainingBatch]:
    arguments = {
        "batch_size": 4,
        "seed": 0,
        "workers": 0,
        "augmentation": Augmentation(min_area=1.0),
        **options,
    }
    augmentation, seed = arguments.pop("augmentation"), arguments.pop("seed")
    mixture = source if isinstance(source, Mixture) else mixture_of([source], seed)
    with closing(training_batches(mixture, augmentation.view(SETTINGS), **arguments)) as found:
        return list(itertools.islice(found, batches))


def captions(batches: Sequence[TrainingBatch]) -> list[str]:
    return [caption for batch in batches for caption in batch.captions]


def numbers(batches: Sequence[TrainingBatch]) -> list[int]:
    return [int(caption.split()[0]) for caption in captions(batches)]


def assert_same(found: Sequence[TrainingBatch], expected: Sequence[TrainingBatch]) -> None:
    assert captions(found) == captions(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.names == other.names
        assert one.position == other.position
        assert one.pixels.equal(other.pixels)


@pytest.fixture(scope="module")
def scenes() -> Source:
    """Ten of the built-in captioned pictures."""
    examples = list(itertools.islice(find_source("scenes", Path("nowhere")).read(), 10))
    return pairs(examples, "scenes")


# --- what is drawn ---


def test_every_example_is_drawn_once_per_epoch_in_a_new_order() -> None:
    found = draw(pairs(examples_of(12)), 9)
    epochs = [numbers(found[start : start + 3]) for start in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, range(12)]}) == 4


def test_a_batch_may_span_two_epochs_so_that_nothing_is_left_over() -> None:
    found = numbers(draw(pairs(examples_of(10)), 10))
    assert all(sorted(found[start : start + 10]) == list(range(10)) for start in (0, 10, 20, 30))


def test_pictures_captions_and_names_stay_together() -> None:
    for batch in draw(pairs(examples_of(12)), 6, workers=3):
        assert batch.pixels.shape == (4, 3, 8, 8)
        assert batch.pixels.dtype == torch.uint8
        shades = batch.pixels.flatten(1).unique(dim=1).flatten().tolist()
        assert shades == [10 * int(caption.split()[0]) for caption in batch.captions]
        assert batch.names == [f"pairs: picture {caption.split()[0]}" for caption in batch.captions]


def test_a_position_says_what_has_been_given_however_much_is_read_ahead() -> None:
    mixture = mixture_of([pairs(examples_of(12)), pairs(examples_of(4), "few")])
    found = draw(mixture, 5, workers=2)
    assert [batch.position.batches for batch in found] == [1, 2, 3, 4, 5]
    assert [batch.position.taken for batch in found] == [[3, 1], [6, 2], [9, 3], [12, 4], [15, 5]]
    assert mixture.batches > 5
    assert sum(name.startswith("few") for batch in found for name in batch.names) == 5


@pytest.mark.parametrize("workers", [1, 2, 5, None])
def test_the_number_of_workers_changes_nothing(scenes: Source, workers: int | None) -> None:
    options = {"augmentation": Augmentation(min_area=0.3, flip=True)}
    assert_same(draw(scenes, 6, workers=workers, **options), draw(scenes, 6, workers=0, **options))


def test_another_seed_gives_another_order_other_captions_and_other_views(scenes: Source) -> None:
    options = {"batch_size": 10, "augmentation": Augmentation(min_area=0.3)}
    (first,), (again,), (other,) = (draw(scenes, 1, seed=seed, **options) for seed in (0, 0, 1))
    assert_same([again], [first])
    assert other.captions != first.captions
    assert {picture.numpy().tobytes() for picture in other.pixels}.isdisjoint(
        picture.numpy().tobytes() for picture in first.pixels
    )


def test_views_vary_over_the_epochs(scenes: Source) -> None:
    one = pairs(list(itertools.islice(scenes.read(), 1)))
    found = draw(one, 5, batch_size=1, augmentation=Augmentation(min_area=0.3))
    assert len({batch.pixels.numpy().tobytes() for batch in found}) == 5


def test_a_few_batches_are_read_ahead_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHUFFLED_AHEAD", 0)
    read: list[str] = []
    source = stream({"a": examples_of(100)}, read=read)
    draw(source, 3, batch_size=5, workers=1)
    assert len(read) == (3 + BATCHES_AHEAD) * 5


def test_no_thread_is_left_behind() -> None:
    draw(pairs(examples_of(12)), 3, workers=3)
    for thread in threading.enumerate():
        if thread.name.startswith("decode"):
            thread.join(timeout=5)
            assert not thread.is_alive()


# --- several processes, and going on later ---


def sources(scenes: Source) -> list[Source]:
    passing = {"a": examples_of(7), "b": examples_of(6, first=7)}
    digits = list(itertools.islice(find_source("digits", Path("nowhere")).read(), 9))
    labels = Source(name="digits", kind="labels", read=lambda: iter(digits), templates=("a {c}.", "the {c}"))
    return [scenes, labels, stream(passing)]


@pytest.mark.parametrize("size", [2, 3, 6])
def test_the_processes_rows_together_are_the_batch_of_one(scenes: Source, size: int) -> None:
    options = {"augmentation": Augmentation(min_area=0.5), "batch_size": 12}
    alone = draw(mixture_of(sources(scenes)), 6, **options)
    shares = [draw(mixture_of(sources(scenes)), 6, world=World(rank, size), **options) for rank in range(size)]
    for number, expected in enumerate(alone):
        parts = [share[number] for share in shares]
        assert all(len(part.captions) == 12 // size for part in parts)
        assert [caption for part in parts for caption in part.captions] == expected.captions
        assert [name for part in parts for name in part.names] == expected.names
        assert torch.cat([part.pixels for part in parts]).equal(expected.pixels)
        assert all(part.position == expected.position for part in parts)


@pytest.mark.parametrize("stop", [1, 4])
def test_training_goes_on_with_the_very_same_pictures(scenes: Source, stop: int) -> None:
    options = {"augmentation": Augmentation(min_area=0.5), "workers": 2}
    whole = draw(mixture_of(sources(scenes)), 9, **options)
    later = mixture_of(sources(scenes))
    later.taken, later.batches = list(whole[stop - 1].position.taken), whole[stop - 1].position.batches
    assert_same(draw(later, 9 - stop, **options), whole[stop:])


# --- pictures that cannot be read ---


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_is_replaced_and_named(workers: int) -> None:
    found = draw(with_broken(25, 1), 25, workers=workers)  # 4 passes
    assert all(len(batch.captions) == 4 for batch in found)
    for start in (0, 25, 50, 75):  # of each epoch the others as ever, and one of them a second time
        epoch = numbers(found)[start : start + 25]
        assert len(epoch) == 25
        assert set(epoch) == set(range(24))
    named = [batch.unreadable for batch in found if batch.unreadable]
    assert len(named) == 4
    assert all(list(unreadable) == ["pairs: broken 0"] for unreadable in named)
    assert "not a picture that can be read" in named[0]["pairs: broken 0"]


def test_a_replacement_is_the_same_each_time_and_another_in_each_epoch() -> None:
    def replaced(batches: list[TrainingBatch]) -> list[int]:
        found = numbers(batches)
        return [sum(epoch) - sum(range(24)) for epoch in (found[25 * i : 25 * i + 25] for i in range(len(found) // 25))]

    first = draw(with_broken(25, 1), 50)
    assert_same(draw(with_broken(25, 1), 50, workers=3), first)
    assert len(set(replaced(first))) > 3


def broken_stream() -> Source:
    return stream({"a": examples_of(20) + broken(3), "b": examples_of(20, first=20)})


@pytest.mark.parametrize("source", [lambda: with_broken(40, 3), broken_stream])
@pytest.mark.parametrize("size", [3, 12])
def test_replacements_do_not_depend_on_the_number_of_processes(source: Callable[[], Source], size: int) -> None:
    """With a row for each process, too; nothing is repeated from the process's own rows."""
    options = {"augmentation": Augmentation(min_area=0.5), "batch_size": 12}
    alone = draw(source(), 8, **options)
    assert sum(len(batch.unreadable) for batch in alone) >= 5
    shares = [draw(source(), 8, world=World(rank, size), **options) for rank in range(size)]
    for number, expected in enumerate(alone):
        parts = [share[number] for share in shares]
        assert [caption for part in parts for caption in part.captions] == expected.captions
        assert [name for part in parts for name in part.names] == expected.names
        assert torch.cat([part.pixels for part in parts]).equal(expected.pixels)
        assert {name for part in parts for name in part.unreadable} == set(expected.unreadable)


@pytest.mark.parametrize("source", [lambda: with_broken(40, 3), broken_stream])
@pytest.mark.parametrize("stop", [1, 7, 13])
def test_training_goes_on_past_broken_pictures_with_the_very_same_pictures(
    source: Callable[[], Source], stop: int
) -> None:
    options = {"augmentation": Augmentation(min_area=0.5)}
    whole = draw(source(), 25, **options)
    assert sum(len(batch.unreadable) for batch in whole[stop:]) >= 3
    later = mixture_of([source()])
    later.taken, later.batches = list(whole[stop - 1].position.taken), stop
    assert_same(draw(later, 25 - stop, **options), whole[stop:])


def test_a_replacement_comes_from_the_same_source() -> None:
    mixture = mixture_of([with_broken(25, 1), pairs(examples_of(25), "others")])
    found = draw(mixture, 26, batch_size=2)
    assert all(sum(name.startswith("pairs: ") for name in batch.names) == 1 for batch in found)
    assert not any("broken" in name for batch in found for name in batch.names)


def test_a_broken_picture_of_a_stream_is_replaced_by_others_of_it_and_its_caption_with_it() -> None:
    found = draw(stream({"a": examples_of(24) + broken(1)}), 50)
    assert {name for batch in found for name in batch.unreadable} == {"stream: broken 0"}
    assert set(numbers(found)) == set(range(24))
    replaced = [sum(numbers(found)[25 * i : 25 * i + 25]) - sum(range(24)) for i in range(8)]
    assert len(set(replaced)) > 3
    for batch in found:
        shades = batch.pixels.flatten(1).unique(dim=1).flatten().tolist()
        assert shades == [10 * int(caption.split()[0]) for caption in batch.captions]


def test_replacements_end_somewhere() -> None:
    message = r"pairs: broken 0 cannot be read, and neither can any of 20 others .* first: broken 0\.jpg: not a picture"
    with pytest.raises(BadExample, match=message):
        draw(mixture_of([pairs(broken(1)), pairs(examples_of(40), "others")]), 10)
    with pytest.raises(BadExample, match=r"stream: broken .* cannot be read, and neither can any of 20 others"):
        draw(stream({"a": broken(12)}), 1)


def test_a_picture_that_is_no_array_of_its_source_is_never_changed() -> None:
    """Crops and flips work on copies: the built-in sets give the same arrays again and again."""
    examples = examples_of(4)
    before = [example.media[0].array.copy() for example in examples]  # type: ignore[union-attr]
    draw(pairs(examples), 4, augmentation=Augmentation(min_area=0.3, flip=True))
    for example, array in zip(examples, before, strict=True):
        np.testing.assert_array_equal(example.media[0].array, array)  # type: ignore[union-attr]
