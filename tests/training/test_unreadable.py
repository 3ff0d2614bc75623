from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from itertools import count, islice

import numpy as np
import pytest
import torch

from coca_cli.datasets.sources import Source
from coca_cli.errors import BadExample
from coca_cli.media.batches import Skipped
from coca_cli.media.images import ImageSettings
from coca_cli.training.augment import Augmentation
from coca_cli.training.batches import Position, TrainingBatch, training_batches
from coca_cli.training.mixture import Feed, Mixture
from coca_cli.training.unreadable import checked_batches
from coca_cli.world import SINGLE
from tests.training.pictures import broken, examples_of, pairs, stream, with_broken

CPU = torch.device("cpu")


def check(source: Source, batches: int, skipped: Skipped | None = None, taken: int = 0, batch_size: int = 4) -> Skipped:
    """Read so many batches, beginning after so many pictures."""
    mixture = Mixture([Feed(source, 0, 0)], [1.0], 0, [taken], taken // batch_size)
    skipped = Skipped() if skipped is None else skipped
    settings, augmentation = ImageSettings(size=8), Augmentation(min_area=1.0)
    data = training_batches(mixture, augmentation.view(settings), batch_size=batch_size, workers=0)
    with closing(checked_batches(data, mixture, skipped, SINGLE, CPU)) as checked:
        assert len(list(islice(checked, batches))) == batches
    return skipped


def test_a_broken_picture_is_named_and_counts_once() -> None:
    skipped = check(with_broken(25, 1), 60)
    assert list(skipped.reasons) == ["pairs: broken 0"]
    assert "not a picture that can be read" in skipped.reasons["pairs: broken 0"]
    assert skipped.seen == 25


def test_more_than_5_percent_broken_stops_the_run_after_one_pass() -> None:
    """Of a small set too, whose broken pictures come again and again."""
    with pytest.raises(BadExample, match="2 of 25 examples cannot be read, which is more than 5 %"):
        check(with_broken(25, 2), 8)
    check(with_broken(25, 2), 6)  # nobody knows yet
    check(with_broken(40, 2), 40)  # 5 % are just bearable, however long it lasts
    with pytest.raises(BadExample, match="2 of 25 examples cannot be read, which is more than 5 %"):
        check(with_broken(25, 2), 20, taken=12)


def test_a_run_on_mostly_broken_pictures_stops_early() -> None:
    with pytest.raises(BadExample, match=r"of 2\d\d examples cannot be read, which is more than 5 %"):
        check(with_broken(10_000, 1500), 75)
    with pytest.raises(BadExample, match=r"of 2\d\d examples cannot be read, which is more than 5 %"):
        check(stream({"a": examples_of(850) + broken(150)}), 75)


def counted(n: int, bad: int, seed: int, batch_size: int = 8) -> int:
    """Batches that a pass over so many pictures gives until the run is stopped; nothing is decoded."""
    mixture = Mixture([Feed(pairs(examples_of(1) * n), 0, 0)], [1.0], 0)
    places = np.random.default_rng(seed).permutation(n) < bad

    def batches() -> Generator[TrainingBatch, None, None]:
        for i in count():
            rows = range(i * batch_size, (i + 1) * batch_size)
            unreadable = {str(row % n): "broken" for row in rows if places[row % n]}
            yield TrainingBatch(torch.empty(0), [], [], [], Position([rows.stop], i + 1), unreadable)

    number = 0
    try:
        for _ in islice(checked_batches(batches(), mixture, Skipped(), SINGLE, CPU), n // batch_size):
            number += 1
    except BadExample:
        return number
    return number


def test_a_set_with_few_broken_pictures_is_not_stopped_by_chance() -> None:
    """Without the interval one of ten sets with 3 % would be stopped, and a third of those with 4 %."""
    assert [counted(4000, 120, seed) for seed in range(60)] == [500] * 60
    assert sum(counted(4000, 160, seed) < 500 for seed in range(60)) <= 2


def test_a_set_with_many_broken_pictures_is_stopped_before_it_has_been_read() -> None:
    assert all(counted(4000, 400, seed) < 250 for seed in range(20))
    assert counted(4000, 208, 0) == 499  # 5.2 % are too many, but that is known at the end only


def test_strict_stops_at_the_first_broken_picture() -> None:
    with pytest.raises(BadExample, match=r"not a picture that can be read\. Stopped because of --strict"):
        check(with_broken(25, 1), 7, Skipped(strict=True))


def test_the_batches_are_closed_with_it() -> None:
    mixture = Mixture([Feed(pairs(examples_of(8)), 0, 0)], [1.0], 0)
    data = training_batches(mixture, Augmentation().view(ImageSettings(size=8)), batch_size=4, workers=1)
    with closing(checked_batches(data, mixture, Skipped(), SINGLE, CPU)) as checked:
        next(checked)
    assert next(data, None) is None
