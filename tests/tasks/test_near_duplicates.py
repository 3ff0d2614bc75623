"""Copies are found and different pictures are not: on drawn pictures, and measured on real ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from coca_cli.datasets.wds import open_shards
from coca_cli.media.hashes import EVALUATION_LOOKS, TRAINING_LOOKS, Look, fingerprint, fingerprint_type
from coca_cli.media.images import read_image
from coca_cli.tasks import near_duplicates
from coca_cli.tasks.near_duplicates import EvaluationPictures, Match
from tests.photographs import EDITS, after, encoded_anew, mirrored, photograph, tenth_off

PICTURES = [photograph(seed) for seed in range(12)]


def records(pictures: Sequence[Image.Image], looks: Sequence[Look]) -> NDArray[Any]:
    return np.concatenate([fingerprint(picture, looks) for picture in pictures]).view(fingerprint_type(len(looks)))


def find(training: Sequence[Image.Image], evaluation: Sequence[Image.Image], workers: int = 0) -> list[Match]:
    library = EvaluationPictures(records(evaluation, EVALUATION_LOOKS), workers=workers)
    return library.find(records(training, TRAINING_LOOKS))


def pairs(matches: Sequence[Match]) -> list[tuple[int, int]]:
    return [(match.picture, match.evaluation) for match in matches]


def edited(pictures: Sequence[Image.Image], edit: str) -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [EDITS[edit](picture, random) for picture in pictures]


SAME = [(i, i) for i in range(len(PICTURES))]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_copy_in_the_training_data_is_found_and_nothing_else(edit: str) -> None:
    matches = find(edited(PICTURES, edit), PICTURES)
    assert pairs(matches) == SAME
    expected = "copy" if edit == "png" else "hash"
    assert {match.found_by for match in matches} == {expected}
    assert {match.mirrored for match in matches} == {"mirrored" in edit}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_evaluation_picture_is_found_and_nothing_else(edit: str) -> None:
    assert pairs(find(PICTURES, edited(PICTURES, edit))) == SAME


def test_a_match_says_how_near_it_is() -> None:
    (copy,) = find(PICTURES[:1], PICTURES)
    assert copy == Match(0, 0, "copy")
    (match,) = find(edited(PICTURES[:1], "mirrored, cropped, jpeg 50"), PICTURES)
    assert match.mirrored
    assert match.distance in range(0, near_duplicates.MAX_DISTANCE + 1, 2)
    assert match.correlation is not None
    assert 0.9 < match.correlation <= 1
    assert match.cosine is None


def test_a_picture_may_show_several_evaluation_pictures() -> None:
    evaluation = [PICTURES[0], PICTURES[1], edited(PICTURES[:1], "jpeg 50")[0], PICTURES[0]]
    matches = find([PICTURES[2], PICTURES[0]], evaluation)
    assert [(match.evaluation, match.found_by) for match in matches] == [(0, "copy"), (2, "hash"), (3, "copy")]
    assert {match.picture for match in matches} == {1}


def test_different_pictures_are_not_found() -> None:
    assert find([photograph(seed) for seed in range(100, 130)], PICTURES) == []


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_threads_and_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    training = [*edited(PICTURES, "cropped"), *edited(PICTURES, "mirrored")]
    expected = find(training, PICTURES)
    assert len(expected) == 24
    monkeypatch.setattr(near_duplicates, "_TILE", (3, 7))
    monkeypatch.setattr(near_duplicates, "_SPAN", 14)
    assert find(training, PICTURES, workers) == expected


def test_flat_pictures_are_found_as_copies_alone() -> None:
    grey, other = Image.new("RGB", (50, 40), (90, 90, 90)), Image.new("RGB", (60, 40), (91, 91, 91))
    library = EvaluationPictures(records([grey, PICTURES[0]], EVALUATION_LOOKS))
    assert library.flat == 1
    assert library.find(records([other, grey], TRAINING_LOOKS)) == [Match(1, 0, "copy")]
    assert pairs(library.find(records([grey, PICTURES[0]], TRAINING_LOOKS))) == [(0, 0), (1, 1)]


def test_only_flat_pictures_on_one_side() -> None:
    grey = Image.new("RGB", (50, 40), (90, 90, 90))
    assert find([PICTURES[0]], [grey]) == []
    assert find([grey], [PICTURES[0]]) == []


def test_one_shape_on_an_even_ground_is_no_match() -> None:
    def bridge(seed: int) -> Image.Image:
        grain = np.random.default_rng(seed).normal(0, 4, (96, 96))
        rows, columns = np.indices((96, 96))
        grey = 60 + 140 * (abs(rows - columns) < 5) + grain
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")

    assert find([bridge(0)], [bridge(1)]) == []
    jpeg = encoded_anew("JPEG", 75)(bridge(0), np.random.default_rng(0))
    assert pairs(find([jpeg], [bridge(0)])) == [(0, 0)]


def test_embeddings_find_what_hashes_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "_COLUMNS", 2)
    evaluation, training = PICTURES[:5], [photograph(50), PICTURES[3], photograph(51)]
    theirs = F.normalize(torch.randn(5, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    ours = theirs[[4, 3, 0]].clone()
    ours[2] = F.normalize(ours[2] + 0.5 * theirs[1], dim=0)  # not near enough
    library = EvaluationPictures(records(evaluation, EVALUATION_LOOKS), theirs, least_cosine=0.99)
    matches = library.find(records(training, TRAINING_LOOKS), ours)
    assert matches == [Match(0, 4, "embedding", cosine=1.0), Match(1, 3, "copy", cosine=1.0)]


def test_the_cosine_of_other_matches_is_told_however_low() -> None:
    theirs = torch.eye(2)
    library = EvaluationPictures(records(PICTURES[:2], EVALUATION_LOOKS), theirs, least_cosine=0.9)
    (match,) = library.find(records(PICTURES[1:2], TRAINING_LOOKS), torch.tensor([[0.8, 0.6]]))
    assert match == Match(0, 1, "copy", cosine=0.6)


def test_a_thumbnail_is_kept() -> None:
    library = EvaluationPictures(records(PICTURES[:2], EVALUATION_LOOKS))
    assert library.thumbnail(1).shape == (64, 64)
    assert not np.array_equal(library.thumbnail(0), library.thumbnail(1))


# Measured on 292 photographs of Flickr8k, 100 of ImageNet and 274 aerial pictures of RSICD (96 x 96 pixels), each edit
# applied once to the training and once to the evaluation picture; the worse of the two, in per cent:
#
#                                    Flickr8k  ImageNet  RSICD
#   PNG, 96 x 96, mirrored, grey        100       100    100
#   JPEG 50, half, twice as large       100       100    100
#   JPEG 30                             100       100     98.9
#   WebP 50                             100       100     98.5
#   cropped                             100       100     99.6
#   mirrored, cropped                   100       100     99.6
#   mirrored, cropped, JPEG 50          100       100     99.3
#   mirrored, a tenth off, JPEG 30      100       100     97.4
#   half, JPEG 50 (48 x 48 of RSICD)    100       100     97.1
#
# No different picture was taken for one: 0.64 million pairs of photographs; 5 million of CIFAR-10 (train and test,
# where nine true pairs are found); 9.6 million of RSICD (train and val, where four pairs show the same place). Within
# RSICD train, 38 million pairs, two of the 22 found are wrong.
LEAST_FOUND = {"flickr8k": 1.0, "imagenet": 1.0, "rsicd": 0.96}


def real_pictures(folder: Path, name: str) -> list[Image.Image]:
    if name == "rsicd":
        examples = islice(open_shards(str(folder / "rsicd")).read(folder, "val"), 0, None, 20)
        return [read_image(example.media[0]) for example in examples]
    pattern = {"flickr8k": "flickr8k/images/*.jpg", "imagenet": "imagenet/val/*/*.JPEG"}[name]
    return [read_image(path) for path in sorted(folder.glob(pattern))[:: 15 if name == "flickr8k" else 5]]


@pytest.mark.slow
@pytest.mark.parametrize("name", LEAST_FOUND)
def test_copies_of_real_pictures_are_found(test_data: Path, name: str) -> None:
    pictures = real_pictures(test_data, name)
    assert len(pictures) >= 40
    edits = EDITS | {"mirrored, a tenth off, jpeg 30": after(mirrored, tenth_off, encoded_anew("JPEG", 30))}
    random = np.random.default_rng(0)
    plain = records(pictures, TRAINING_LOOKS), EvaluationPictures(records(pictures, EVALUATION_LOOKS))
    for edit, apply in edits.items():
        changed = [apply(picture, random) for picture in pictures]
        in_training = plain[1].find(records(changed, TRAINING_LOOKS))
        in_evaluation = EvaluationPictures(records(changed, EVALUATION_LOOKS)).find(plain[0])
        for matches in (in_training, in_evaluation):
            same = [match for match in matches if match.picture == match.evaluation]
            assert len(same) >= LEAST_FOUND[name] * len(pictures), edit
            assert len(same) == len(matches), edit


def test_different_real_pictures_are_not_found(test_data: Path) -> None:
    photographs = [*real_pictures(test_data, "flickr8k"), *real_pictures(test_data, "imagenet")]
    assert pairs(find(photographs, photographs)) == [(i, i) for i in range(len(photographs))]
    aerial = open_shards(str(test_data / "rsicd"))
    training, evaluation = (
        [read_image(example.media[0]) for example in islice(aerial.read(test_data, split), number)]
        for split, number in (("train", 1500), ("val", 300))
    )
    found = find(training, evaluation)
    assert len(found) <= 2  # the same place at another time
    assert all((match.correlation or 0) > 0.8 for match in found)
