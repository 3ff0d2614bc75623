"""RandAugment: torchvision's operations, drawn by each picture's own generator; clips as pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import RandAugment, autoaugment

from coca_cli.datasets.example import Example, Pixels
from coca_cli.media.images import ImageSettings
from coca_cli.media.video import Sampling
from coca_cli.training import rand_augment as module
from coca_cli.training.augment import Augmentation
from coca_cli.training.rand_augment import RandAugmentStrength, rand_augment
from tests.photographs import photograph

SETTINGS = ImageSettings(size=32)
OPERATIONS = 14


class Script:
    """Gives the numbers of a list one after the other, in the place of a generator."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)

    def integers(self, high: int) -> int:
        number = self.numbers.pop(0)
        assert 0 <= number < high
        return number


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return photograph(0).resize((48, 40))


@pytest.mark.peer
@pytest.mark.parametrize("magnitude", [1, 20, 30])
@pytest.mark.parametrize("sign", [0, 1])
def test_every_operation_is_torchvisions(
    picture: Image.Image, monkeypatch: pytest.MonkeyPatch, magnitude: int, sign: int
) -> None:
    theirs = RandAugment(num_ops=1, magnitude=magnitude)
    for operation in range(OPERATIONS):
        draws = [operation, sign]

        def scripted(high: int, shape: tuple[int, ...], draws: list[int] = draws) -> torch.Tensor:
            return torch.tensor([draws.pop(0)])

        with monkeypatch.context() as patched:
            patched.setattr(autoaugment.torch, "randint", scripted)
            expected = theirs(picture)
        found = rand_augment(picture, RandAugmentStrength(1, magnitude), Script(operation, sign))  # type: ignore[arg-type]
        assert np.array_equal(np.asarray(found), np.asarray(expected)), operation
    with pytest.raises(AssertionError):
        rand_augment(picture, RandAugmentStrength(1, magnitude), Script(OPERATIONS))  # type: ignore[arg-type]


def test_the_generator_decides(picture: Image.Image) -> None:
    def changed(seed: int, strength: RandAugmentStrength = RandAugmentStrength(2, 20)) -> Any:
        return np.asarray(rand_augment(picture, strength, np.random.default_rng(seed)))

    assert np.array_equal(changed(1), changed(1))
    assert len({changed(seed).tobytes() for seed in range(20)}) > 10
    assert np.array_equal(changed(1, RandAugmentStrength()), np.asarray(picture))


def test_it_comes_last_and_keeps_the_shape(picture: Image.Image) -> None:
    plain, more = Augmentation(min_area=1.0), Augmentation(min_area=1.0, rand_augment=RandAugmentStrength(2, 20))
    assert not plain.changes
    assert more.changes
    example = Example("a", (Pixels(np.asarray(picture), "a"),))
    seen = plain.view(SETTINGS)(example, np.random.default_rng(0))
    views = [more.view(SETTINGS)(example, np.random.default_rng(seed)) for seed in range(8)]
    assert all(view.shape == seen.shape == (3, 32, 32) and view.dtype == np.uint8 for view in views)
    assert any(not np.array_equal(view, seen) for view in views)


def test_all_frames_of_a_clip_are_changed_alike(picture: Image.Image) -> None:
    frames = np.stack([np.asarray(picture)] * 5)
    clip = Example("a", (Pixels(frames, "a"),))
    wild = Augmentation(min_area=0.3, flip=True, turn=True, rand_augment=RandAugmentStrength(2, 20))
    view = wild.clip_view(SETTINGS, Sampling(frames=4))
    seen = [view(clip, np.random.default_rng(seed)) for seed in range(6)]
    assert all(one.shape == (4, 3, 32, 32) for one in seen)
    assert all(np.array_equal(frame, one[0]) for one in seen for frame in one)
    assert len({one.tobytes() for one in seen}) > 3


def test_an_augmentation_that_changes_nothing_sees_clips_as_evaluation_does(picture: Image.Image) -> None:
    from coca_cli.media.video import read_frames

    frames = np.stack([np.asarray(picture), np.asarray(picture)[::-1]])
    clip = Example("a", (Pixels(frames, "a"),))
    view = Augmentation(min_area=1.0).clip_view(SETTINGS, Sampling(frames=2))
    expected = read_frames(clip.media[0], SETTINGS, Sampling(frames=2))
    assert np.array_equal(view(clip, np.random.default_rng(0)), expected)


def test_hues_stay_where_colours_are_asked_about(picture: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    done: set[str] = set()
    apply = module._apply_op
    monkeypatch.setattr(module, "_apply_op", lambda *args, **named: done.add(args[1]) or apply(*args, **named))
    for seed in range(200):
        rand_augment(picture, RandAugmentStrength(1, 10), np.random.default_rng(seed), keep_colours=True)
    geometry = {"Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"}
    assert done == geometry | {"Brightness", "Contrast", "Sharpness"}
    done.clear()
    for seed in range(200):
        rand_augment(picture, RandAugmentStrength(1, 10), np.random.default_rng(seed))
    assert done >= set(module.CHANGES_HUES)
    colour = Image.new("RGB", (16, 16), (200, 40, 60))
    hue = colour.convert("HSV").getpixel((8, 8))[0]  # type: ignore[index]
    for seed in range(100):
        kept = rand_augment(colour, RandAugmentStrength(1, 10), np.random.default_rng(seed), keep_colours=True)
        assert abs(kept.convert("HSV").getpixel((8, 8))[0] - hue) <= 2  # type: ignore[index]
