from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from coca_cli.datasets.example import Example, Pixels
from coca_cli.datasets.sources import Source, find_source
from coca_cli.errors import BadExample
from coca_cli.media.batches import Skipped
from coca_cli.media.images import ImageSettings
from coca_cli.training.augment import Augmentation
from coca_cli.training.pairs import TrainingBatch, load_sources, training_batches

SAMPLES = Path(__file__).parents[1] / "samples"
SETTINGS = ImageSettings(size=8)


def examples_of(n: int, texts: int = 1) -> list[Example]:
    """Pictures of one shade each, 10 times their number, and captions that begin with it."""
    return [
        Example(
            f"picture {i}",
            (Pixels(np.full((10, 12, 3), 10 * i, np.uint8), f"picture {i}"),),
            texts=tuple(f"{i} {t}" for t in range(texts)),
        )
        for i in range(n)
    ]


def draw(examples: Sequence[Example], batches: int, **options: object) -> list[TrainingBatch]:
    arguments = {
        "batch_size": 4,
        "seed": 0,
        "skipped": Skipped(),
        "workers": 0,
        "augmentation": Augmentation(min_area=1.0),
        **options,
    }
    augmentation = arguments.pop("augmentation")
    with closing(training_batches(examples, SETTINGS, augmentation, **arguments)) as found:
        return list(itertools.islice(found, batches))


def captions(batches: Sequence[TrainingBatch]) -> list[str]:
    return [caption for batch in batches for caption in batch.captions]


def numbers(batches: Sequence[TrainingBatch]) -> list[int]:
    return [int(caption.split()[0]) for caption in captions(batches)]


# --- what is drawn ---


def test_every_example_is_drawn_once_per_epoch_in_a_new_order() -> None:
    found = draw(examples_of(12), 9)
    epochs = [numbers(found[start : start + 3]) for start in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, range(12)]}) == 4
    assert [batch.epoch for batch in found] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_batch_may_span_two_epochs_so_that_nothing_is_left_over() -> None:
    found = numbers(draw(examples_of(10), 10))
    assert all(sorted(found[start : start + 10]) == list(range(10)) for start in (0, 10, 20, 30))


def test_pictures_and_captions_stay_together() -> None:
    for batch in draw(examples_of(12), 6, workers=3):
        assert batch.pixels.shape == (4, 3, 8, 8)
        shades = batch.pixels.flatten(1).unique(dim=1).flatten().tolist()
        assert shades == [10 * int(caption.split()[0]) for caption in batch.captions]


@pytest.mark.parametrize("workers", [1, 2, 5, None])
def test_the_number_of_workers_changes_nothing(workers: int | None) -> None:
    options = {"augmentation": Augmentation(min_area=0.3, flip=True)}
    scenes = list(itertools.islice(find_source("scenes", Path("nowhere")).read(), 10))
    alone = draw(scenes, 6, workers=0, **options)
    together = draw(scenes, 6, workers=workers, **options)
    assert captions(together) == captions(alone)
    for found, expected in zip(together, alone, strict=True):
        assert found.pixels.equal(expected.pixels)


def test_another_seed_gives_another_order_other_captions_and_other_views() -> None:
    scenes = list(itertools.islice(find_source("scenes", Path("nowhere")).read(), 12))
    options = {"batch_size": 12, "augmentation": Augmentation(min_area=0.3)}
    (first,), (again,), (other,) = (draw(scenes, 1, seed=seed, **options) for seed in (0, 0, 1))
    assert again.captions == first.captions
    assert again.pixels.equal(first.pixels)
    assert other.captions != first.captions
    assert {picture.numpy().tobytes() for picture in other.pixels}.isdisjoint(
        picture.numpy().tobytes() for picture in first.pixels
    )


def test_captions_vary_over_the_epochs_and_all_are_used() -> None:
    found = captions(draw(examples_of(4, texts=5), 50))  # 50 epochs
    for number in range(4):
        counts = Counter(caption for caption in found if caption.startswith(f"{number} "))
        assert len(counts) == 5
        assert max(counts.values()) < 25


def test_views_vary_over_the_epochs() -> None:
    scene = [next(find_source("scenes", Path("nowhere")).read())]
    found = draw(scene, 5, batch_size=1, augmentation=Augmentation(min_area=0.3))
    assert len({batch.pixels.numpy().tobytes() for batch in found}) == 5


# --- pictures that cannot be read ---


def with_broken(tmp_path: Path, n: int, broken: int) -> list[Example]:
    file = tmp_path / "broken.jpg"
    file.write_text("no picture")
    bad = [Example(f"broken {i}", (file,), texts=("99 never",)) for i in range(broken)]
    return examples_of(n - broken) + bad


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_is_left_out_and_named(tmp_path: Path, workers: int) -> None:
    skipped = Skipped()
    found = draw(with_broken(tmp_path, 25, 1), 18, skipped=skipped, workers=workers)  # three epochs of 24
    assert all(sorted(numbers(found)[start : start + 24]) == list(range(24)) for start in (0, 24, 48))
    assert list(skipped.reasons) == ["broken 0"]
    assert "not a picture that can be read" in skipped.reasons["broken 0"]
    assert skipped.seen == 25


def test_more_than_5_percent_broken_stops_the_run_after_the_first_epoch(tmp_path: Path) -> None:
    with pytest.raises(BadExample, match="2 of 25 examples cannot be read, which is more than 5 %"):
        draw(with_broken(tmp_path, 25, 2), 12)


def test_nothing_readable_at_all_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(BadExample, match="5 of 5 examples cannot be read"):
        draw(with_broken(tmp_path, 5, 5), 1)


def test_strict_stops_at_the_first_broken_picture(tmp_path: Path) -> None:
    with pytest.raises(BadExample, match=r"not a picture that can be read\. Stopped because of --strict"):
        draw(with_broken(tmp_path, 25, 1), 7, skipped=Skipped(strict=True))


# --- sources ---


def test_pairs_keep_their_captions() -> None:
    source = find_source(str(SAMPLES / "pairs" / "pairs.csv"), Path("nowhere"))
    assert load_sources([source]) == list(source.read())


def labelled(labels: Sequence[int]) -> Source:
    def read() -> Iterator[Example]:
        return (Example(f"{i}", (Path("none"),), label) for i, label in enumerate(labels))

    return Source(
        name="animals",
        kind="labels",
        read=read,
        class_names=("cat", "big {dog}"),
        templates=("a {c}.", "{c}, a {c}"),
    )


def test_a_label_becomes_its_class_name_in_every_template() -> None:
    found = load_sources([labelled([1, 0, 1])])
    assert [(example.id, example.label, example.texts) for example in found] == [
        ("0", 1, ("a big {dog}.", "big {dog}, a big {dog}")),
        ("1", 0, ("a cat.", "cat, a cat")),
        ("2", 1, ("a big {dog}.", "big {dog}, a big {dog}")),
    ]


def test_sources_are_joined_in_their_order() -> None:
    pairs = find_source(str(SAMPLES / "pairs" / "pairs.csv"), Path("nowhere"))
    found = load_sources([labelled([0]), pairs, labelled([1])])
    assert found == [*load_sources([labelled([0])]), *pairs.read(), *load_sources([labelled([1])])]


@pytest.mark.parametrize(("limit", "ids"), [(None, "01201"), (9, "01201"), (4, "0120"), (2, "01")])
def test_a_limit_takes_the_first_of_all_sources_together(limit: int | None, ids: str) -> None:
    found = load_sources([labelled([0, 1, 0]), labelled([1, 1])], limit)
    assert "".join(example.id for example in found) == ids


def test_a_limit_reads_nothing_after_it() -> None:
    def endless() -> Iterator[Example]:
        yield Example("0", (Path("none"),), texts=("a cat",))
        pytest.fail("read on")

    assert len(load_sources([Source(name="many", kind="pairs", read=endless)], 1)) == 1
