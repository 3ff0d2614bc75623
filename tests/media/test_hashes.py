from __future__ import annotations

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageOps

from coca_cli.media.hashes import (
    EVALUATION_LOOKS,
    MIDDLE,
    THUMBNAIL,
    TRAINING_LOOKS,
    WHOLE,
    Crop,
    Look,
    fingerprint,
    fingerprint_type,
    hash_look,
    make_thumbnail,
)
from coca_cli.media.images import ImageSettings, fit_image
from tests.photographs import EDITS, photograph


def distance(first: int, second: int) -> int:
    return (first ^ second).bit_count()


def test_a_look_at_the_whole_is_the_librarys_hash() -> None:
    for seed in range(5):
        thumbnail = make_thumbnail(photograph(seed))
        expected = imagehash.phash(thumbnail.resize((32, 32), Image.Resampling.BICUBIC))
        assert f"{hash_look(thumbnail, Look(WHOLE)):016x}" == str(expected)


def test_hashes_differ_in_an_even_number_of_bits() -> None:
    hashes = [hash_look(make_thumbnail(photograph(seed)), Look(WHOLE)) for seed in range(20)]
    assert {each.bit_count() for each in hashes} == {32}


def test_different_pictures_have_far_hashes_and_copies_near_ones() -> None:
    random = np.random.default_rng(0)
    hashes = [hash_look(make_thumbnail(photograph(seed)), Look(WHOLE)) for seed in range(12)]
    assert min(distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]) > 12
    for seed, known in enumerate(hashes):
        for edit in ("jpeg 30", "half", "double", "96 x 96", "grey"):
            copy = make_thumbnail(EDITS[edit](photograph(seed), random))
            assert distance(known, hash_look(copy, Look(WHOLE))) <= 6


def test_a_mirrored_look_is_the_look_of_the_mirror_image() -> None:
    thumbnail = make_thumbnail(photograph(0))
    mirrored = ImageOps.mirror(thumbnail)
    for crop in (WHOLE, MIDDLE):
        assert distance(hash_look(thumbnail, Look(crop, mirrored=True)), hash_look(mirrored, Look(crop))) <= 2
        assert distance(hash_look(thumbnail, Look(crop)), hash_look(mirrored, Look(crop))) > 12


def test_a_look_at_a_part_is_the_look_of_the_crop() -> None:
    picture = photograph(1, (200, 200))
    cut = picture.crop((20, 10, 200, 190))  # a tenth off the left, a twentieth off top and bottom
    part = hash_look(make_thumbnail(picture), Look(Crop(0.1, 0.05, 0.0, 0.05)))
    assert distance(part, hash_look(make_thumbnail(cut), Look(WHOLE))) <= 4
    assert distance(hash_look(make_thumbnail(picture), Look(WHOLE)), hash_look(make_thumbnail(cut), Look(WHOLE))) > 12


def test_the_looks() -> None:
    assert len(set(TRAINING_LOOKS)) == 4
    assert len(set(EVALUATION_LOOKS)) == 25
    assert not any(look.mirrored for look in EVALUATION_LOOKS)
    assert {WHOLE, MIDDLE} < {look.crop for look in EVALUATION_LOOKS}


def test_a_thumbnail_is_grey_and_square() -> None:
    thumbnail = make_thumbnail(photograph(2, (500, 90)))
    assert (thumbnail.mode, thumbnail.size) == ("L", (THUMBNAIL, THUMBNAIL))
    assert make_thumbnail(Image.new("RGB", (3, 2), (10, 10, 10))).getextrema() == (10, 10)


@pytest.mark.parametrize("model", [None, ImageSettings(size=24)])
def test_a_fingerprint_holds_what_was_asked_for(model: ImageSettings | None) -> None:
    picture = photograph(3)
    raw = fingerprint(picture, TRAINING_LOOKS, model)
    assert raw.dtype == np.uint8
    (record,) = raw.view(fingerprint_type(4, model.size if model else 0))
    thumbnail = make_thumbnail(picture)
    assert record["hashes"].tolist() == [hash_look(thumbnail, look) for look in TRAINING_LOOKS]
    assert np.array_equal(record["thumbnail"], np.asarray(thumbnail))
    if model:
        assert np.array_equal(record["pixels"], fit_image(picture, model))
    else:
        assert record["pixels"].size == 0


def digest(picture: Image.Image) -> bytes:
    return bytes(fingerprint(picture, ()).view(fingerprint_type(0))["digest"][0])


def test_the_digest_is_of_the_pixels_not_of_the_file() -> None:
    picture, random = photograph(4), np.random.default_rng(0)
    assert digest(EDITS["png"](picture, random)) == digest(picture)
    assert digest(EDITS["jpeg 95"](picture, random)) != digest(picture)
    changed = np.array(picture)
    changed[0, 0, 0] ^= 1
    assert digest(Image.fromarray(changed)) != digest(picture)
    flat = Image.new("RGB", (6, 4)), Image.new("RGB", (4, 6))  # the same bytes in another shape
    assert digest(flat[0]) != digest(flat[1])
