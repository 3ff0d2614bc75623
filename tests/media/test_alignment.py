from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from coca_cli.media.alignment import MIN_DETAIL, agree_roughly, compare_details, is_flat, middle_within
from coca_cli.media.hashes import MIDDLE, WHOLE, Crop, make_thumbnail
from tests.photographs import EDITS, photograph


def thumb(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(make_thumbnail(picture))


def coast(height: float, seed: int) -> NDArray[np.uint8]:
    """Sea and sand: an edge, and the grain of the film."""
    random = np.random.default_rng(seed)
    rows = np.arange(64)[:, None] + 4 * np.sin(np.arange(64) / 20)[None, :]
    picture = np.where(rows < 64 * height, 200, 80) + random.normal(0, 3, (64, 64))
    return picture.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("crop", "other", "expected"),
    [
        (WHOLE, WHOLE, MIDDLE),
        (MIDDLE, Crop(0.1, 0.0, 0.05, 0.0), Crop(0.1, 0.0, 0.05, 0.0)),
        (WHOLE, Crop(0.1, 0.1, 0.1, 0.1), Crop(0.18, 0.18, 0.18, 0.18)),
        (WHOLE, Crop(0.1, 0.0, 0.0, 0.0), Crop(0.19, 0.1, 0.09, 0.1)),
    ],
)
def test_where_the_middle_lies(crop: Crop, other: Crop, expected: Crop) -> None:
    assert middle_within(crop, other) == pytest.approx(expected)


@pytest.mark.parametrize("edit", ["jpeg 30", "half", "double", "96 x 96", "grey", "half, jpeg 50"])
def test_a_copy_agrees(edit: str) -> None:
    random = np.random.default_rng(0)
    for seed in range(5):
        picture = photograph(seed)
        copy = EDITS[edit](picture, random)
        assert compare_details(thumb(copy), thumb(picture), MIDDLE).correlation > 0.9
        assert agree_roughly(thumb(copy), thumb(picture), MIDDLE) > 0.99


@pytest.mark.parametrize("cuts", [(0.1, 0.1, 0.1, 0.1), (0.07, 0.0, 0.0, 0.03), (0.0, 0.1, 0.04, 0.0)])
def test_a_crop_is_laid_over_its_place(cuts: tuple[float, float, float, float]) -> None:
    picture = photograph(3, (400, 300))
    left, top, right, bottom = cuts
    crop = picture.crop((round(400 * left), round(300 * top), round(400 * (1 - right)), round(300 * (1 - bottom))))
    start = middle_within(WHOLE, Crop(0.05, 0.05, 0.05, 0.05))  # at most 0.05 away
    assert compare_details(thumb(crop), thumb(picture), start).correlation > 0.9
    whole = thumb(picture), thumb(crop)
    assert compare_details(*whole, Crop(0.05, 0.05, 0.05, 0.05)).correlation > 0.9
    assert compare_details(thumb(crop), thumb(picture), MIDDLE).correlation > 0.9  # even from the wrong place


def test_different_pictures_do_not_agree() -> None:
    thumbs = [thumb(photograph(seed)) for seed in range(6)]
    for i, one in enumerate(thumbs):
        for other in thumbs[:i]:
            assert compare_details(one, other, MIDDLE).correlation < 0.4


def test_a_mirror_image_does_not_agree_before_it_is_mirrored() -> None:
    picture = photograph(4)
    mirrored = thumb(ImageOps.mirror(picture))
    assert compare_details(mirrored, thumb(picture), MIDDLE).correlation < 0.4
    assert compare_details(mirrored[:, ::-1], thumb(picture), MIDDLE).correlation > 0.9


def test_two_coasts_agree_along_their_edges_and_not_everywhere() -> None:
    agreement = compare_details(coast(0.5, seed=0), coast(0.52, seed=1), MIDDLE)
    assert agreement.correlation > 0.9
    assert agreement.everywhere < 0.5 * agreement.correlation
    same = compare_details(coast(0.5, seed=0), coast(0.5, seed=0), MIDDLE)
    assert same.everywhere > 0.95


def test_two_skies_that_darken_upwards_do_not_agree() -> None:
    random = np.random.default_rng(0)
    skies = [
        (np.linspace(90, 210, 64)[:, None] + random.normal(0, 2.5, (64, 64))).clip(0, 255).astype(np.uint8)
        for _ in range(2)
    ]
    assert agree_roughly(*skies, MIDDLE) > 0.95
    assert compare_details(*skies, MIDDLE).correlation < 0.3


def test_nothing_is_told_of_flat_pictures() -> None:
    grey = np.full((64, 64), 90, np.uint8)
    slope = np.broadcast_to(np.linspace(50, 100, 64).astype(np.uint8), (64, 64))
    for flat in (grey, slope):
        assert is_flat(flat)
        assert compare_details(flat, flat, MIDDLE).correlation == 0.0
    assert not is_flat(thumb(photograph(0)))
    assert agree_roughly(grey, grey, MIDDLE) == 0.0


def test_only_one_flat_picture_is_enough_to_tell_nothing() -> None:
    weak = (thumb(photograph(0)) // 60 + 90).astype(np.uint8)
    assert compare_details(thumb(photograph(0)), weak, MIDDLE).detail > MIN_DETAIL
    assert compare_details(thumb(photograph(0)), np.full((64, 64), 90, np.uint8), MIDDLE).correlation == 0.0


def test_detail_is_of_the_picture_with_more_of_it() -> None:
    picture = thumb(photograph(5))
    faint = (picture // 4 + 90).astype(np.uint8)
    both = compare_details(picture, picture, MIDDLE).detail
    assert compare_details(faint, picture, MIDDLE).detail == pytest.approx(both, rel=0.05)
    assert compare_details(picture, faint, MIDDLE).detail == pytest.approx(both, rel=0.05)
