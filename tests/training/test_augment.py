from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from coca_cli.media.images import ImageSettings, fit_image
from coca_cli.training.augment import Augmentation
from tests.pictures import drawn

SETTINGS = ImageSettings(size=24)


def view(augmentation: Augmentation, seed: int, picture: Image.Image | None = None) -> NDArray[np.uint8]:
    return augmentation(picture or drawn(3), SETTINGS, np.random.default_rng(seed))


def test_one_key_gives_one_view_and_another_key_another() -> None:
    augmentation = Augmentation(min_area=0.5, flip=True)
    first = view(augmentation, 1)
    assert first.shape == (3, 24, 24)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(view(augmentation, 1), first)
    assert len({view(augmentation, seed).tobytes() for seed in range(20)}) == 20


@pytest.mark.parametrize("min_area", [0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("size", [(40, 32), (32, 40), (100, 100), (3, 3), (640, 480)])
def test_a_crop_lies_within_the_picture_and_is_large_enough(min_area: float, size: tuple[int, int]) -> None:
    width, height = size
    found = 0
    for seed in range(100):
        box = Augmentation(min_area=min_area)._crop(width, height, np.random.default_rng(seed))
        if box is None:
            continue
        found += 1
        left, top, right, bottom = box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        w, h = right - left, bottom - top
        assert (w + 0.5) * (h + 0.5) >= min_area * width * height  # sides are whole pixels
        assert (w - 0.5) / (h + 0.5) <= 4 / 3
        assert (h - 0.5) / (w + 0.5) <= 4 / 3
    assert found > 0


def test_crops_reach_every_corner_and_many_sizes() -> None:
    boxes = [Augmentation(min_area=0.2)._crop(100, 100, np.random.default_rng(seed)) for seed in range(300)]
    kept = [box for box in boxes if box is not None]
    areas = [(right - left) * (bottom - top) / 10_000 for left, top, right, bottom in kept]
    assert min(areas) < 0.3
    assert max(areas) > 0.9
    assert min(box[0] for box in kept) == min(box[1] for box in kept) == 0
    assert max(box[2] for box in kept) == max(box[3] for box in kept) == 100


def test_a_view_is_the_resized_crop() -> None:
    picture, augmentation = drawn(3, (200, 160)), Augmentation(min_area=0.3)
    box = augmentation._crop(200, 160, np.random.default_rng(5))
    expected = picture.crop(box).resize((24, 24), Image.Resampling.BICUBIC)
    found = view(augmentation, 5, picture).astype(int)
    # cropped first, the filter sees no pixel beyond the crop's edge; within, both are the same
    assert np.abs(found - np.asarray(expected).transpose(2, 0, 1))[:, 1:-1, 1:-1].max() <= 2


@pytest.mark.parametrize("resize", ["shortest", "squash"])
def test_a_smallest_area_of_1_gives_what_evaluation_sees(resize: str) -> None:
    settings = ImageSettings(size=24, resize=resize)
    for seed in range(5):
        found = Augmentation(min_area=1.0)(drawn(seed), settings, np.random.default_rng(seed))
        np.testing.assert_array_equal(found, fit_image(drawn(seed), settings))


def test_a_picture_too_narrow_for_any_crop_is_fitted() -> None:
    picture = drawn(1, (9, 300))
    np.testing.assert_array_equal(view(Augmentation(min_area=0.9), 0, picture), fit_image(picture, SETTINGS))


def test_flip_mirrors_about_half_of_the_pictures() -> None:
    picture = drawn(3)
    plain = fit_image(picture, SETTINGS)
    mirrored = fit_image(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), SETTINGS)
    assert np.abs(plain.astype(int) - mirrored).max() > 50
    flipped = 0
    for seed in range(200):
        found = view(Augmentation(min_area=1.0, flip=True), seed).astype(int)
        is_mirrored = np.abs(found - mirrored).max() <= 2
        assert is_mirrored or np.array_equal(found, plain)
        flipped += is_mirrored
    assert 70 < flipped < 130


def test_without_flip_nothing_is_mirrored() -> None:
    plain = fit_image(drawn(3), SETTINGS)
    assert all(np.array_equal(view(Augmentation(min_area=1.0), seed), plain) for seed in range(20))


def test_the_settings_interpolation_is_used() -> None:
    pictures = {
        how: Augmentation(min_area=0.5)(
            drawn(3), ImageSettings(size=24, interpolation=how), np.random.default_rng(0)
        ).tobytes()
        for how in ("bicubic", "bilinear")
    }
    assert pictures["bicubic"] != pictures["bilinear"]
