from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from coca_cli.datasets.digits import DIGITS, digit_scans, draw
from coca_cli.datasets.example import Pixels
from coca_cli.errors import UnknownName

NO_ROOT = Path("nowhere")


def test_splits_share_no_scan_and_leave_none_out() -> None:
    test, train = digit_scans("test"), digit_scans("train")

    assert (len(test[0]), len(train[0])) == (599, 1198)
    assert len({*test[2], *train[2]}) == 1797
    assert not {scan.tobytes() for scan in test[0]} & {scan.tobytes() for scan in train[0]}


def test_every_digit_keeps_about_a_third_in_test() -> None:
    test, train = (np.bincount(digit_scans(split)[1]) for split in ("test", "train"))

    assert len(test) == 10
    shares = test / (test + train)
    assert 0.28 < shares.min() <= shares.max() < 0.39


@pytest.mark.parametrize("split", ["test", "train"])
def test_scans_are_those_of_scikit_learn(split: str) -> None:
    images, labels, ids = digit_scans(split)
    bunch = load_digits()
    rows = [int(name.removeprefix("scan-")) for name in ids]

    assert (images.dtype, images.shape[1:]) == (np.uint8, (8, 8))
    assert np.array_equal(images, bunch.images[rows])
    assert np.array_equal(labels, bunch.target[rows])
    assert (images.min(), images.max()) == (0, 16)


def test_a_split_can_be_changed_without_harm_to_the_next_reader() -> None:
    images, labels, _ = digit_scans("test")
    images[:], labels[:] = 0, 0

    again = digit_scans("test")

    assert again[0].max() == 16
    assert again[1].max() == 9


def test_pictures_show_the_scans_white_on_black() -> None:
    scans, labels, ids = digit_scans("test")
    examples = list(DIGITS.read(NO_ROOT, "test"))

    assert [e.id for e in examples] == list(ids)
    assert [e.label for e in examples] == list(labels)
    for scan, example in zip(scans[:50], examples, strict=False):
        (pixels,) = example.media
        assert isinstance(pixels, Pixels)
        assert (pixels.array.shape, pixels.array.dtype) == ((64, 64, 3), np.uint8)
        small = np.asarray(Image.fromarray(pixels.array[:, :, 0]).resize((10, 10), Image.Resampling.BOX))
        assert np.corrcoef(small[1:-1, 1:-1].ravel(), scan.ravel())[0, 1] > 0.98


def test_pictures_have_a_black_margin_and_full_white() -> None:
    full = draw(np.full((8, 8), 16, np.uint8))

    assert full[32, 32].tolist() == [255, 255, 255]
    assert full[[0, 1, -2, -1]].max() < 20
    assert full[:, [0, 1, -2, -1]].max() < 20
    assert draw(np.zeros((8, 8), np.uint8)).max() == 0


def test_prompts() -> None:
    assert DIGITS.prompts is not None
    names, templates = DIGITS.prompts(NO_ROOT)

    assert (names[0], names[7], len(names)) == ("zero", "seven", 10)
    assert all(template.count("{c}") == 1 for template in templates)
    assert DIGITS.built_in


def test_unknown_split() -> None:
    with pytest.raises(UnknownName, match=r"unknown split of digits 'val'\. Known: test, train\."):
        digit_scans("val")
