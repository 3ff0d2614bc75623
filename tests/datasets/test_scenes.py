from __future__ import annotations

import re
from collections import Counter
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from coca_cli.datasets import find_dataset
from coca_cli.datasets.digits import CLASS_NAMES, digit_scans, draw
from coca_cli.datasets.example import Pixels
from coca_cli.datasets.scene_captions import MOST_WORDS, PLACES, Dice, DigitFacts, SceneFacts, describe
from coca_cli.datasets.scenes import COLOUR_SPREAD, COLOURS, SCENES, Scene, draw_scene
from coca_cli.errors import UnknownName

NO_ROOT = Path("nowhere")
PLURALS = {"sixes": "six", **{f"{word}s": word for word in CLASS_NAMES if word != "six"}}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(split, index) for split in ("test", "train") for index in range(700)]


def cut_box(picture: NDArray[np.uint8], digit: DigitFacts) -> NDArray[np.int64]:
    left, top, side = digit.box
    return picture[top : top + side, left : left + side].astype(np.int64)


def words_of(caption: str) -> list[str]:
    return re.findall(r"[a-z]+", caption)


def named_digits(caption: str) -> Counter[str]:
    """The digits that a caption speaks of, without the word that only counts them."""
    rest = re.sub(r"\b(one|two|three) ((small|large) )?digits?\b", "", caption)
    named: Counter[str] = Counter()
    for count, plural in re.findall(r"\b(two|three) ([a-z]+s)\b", rest):
        if plural in PLURALS:
            named[PLURALS[plural]] += {"two": 2, "three": 3}[count]
            rest = rest.replace(f"{count} {plural}", "")
    named.update(word for word in words_of(rest) if word in CLASS_NAMES)
    return named


def test_the_dataset_needs_no_files() -> None:
    dataset = find_dataset("scenes")

    assert (dataset.built_in, dataset.task, dataset.splits) == (True, "captions", ("test", "train"))
    assert SCENES == {"test": 1_000, "train": 8_000}
    examples = list(dataset.read(NO_ROOT, "test"))
    assert len({example.id for example in examples}) == len(examples) == 1_000
    (picture,) = examples[42].media
    assert isinstance(picture, Pixels)
    assert picture.array.shape == (64, 64, 3)
    assert picture.array.dtype == np.uint8
    np.testing.assert_array_equal(picture.array, draw_scene("test", 42).array)
    assert examples[42].texts == draw_scene("test", 42).captions


def test_a_scene_is_the_same_whatever_was_drawn_before() -> None:
    later = [draw_scene("train", index) for index in (5, 3)]
    again = list(islice(find_dataset("scenes").read(NO_ROOT, "train"), 6))

    for scene, example in zip(later, (again[5], again[3]), strict=True):
        picture = example.media[0]
        assert isinstance(picture, Pixels)
        np.testing.assert_array_equal(scene.array, picture.array)
        assert scene.captions == example.texts


def test_a_scene_stays_as_it_was_published() -> None:
    """Whoever changes a scene must raise the dataset's version: scores on it are no longer the same."""
    scene = draw_scene("test", 0)

    assert find_dataset("scenes").version == 1
    assert scene.facts.background == "dark"
    assert scene.facts.digits == (
        DigitFacts(6, "purple", "small", "left", "scan-1701", (1, 22, 20)),
        DigitFacts(7, "orange", "small", "centre", "scan-1164", (22, 21, 20)),
        DigitFacts(5, "green", "small", "right", "scan-0120", (44, 24, 18)),
    )
    assert scene.captions == (
        "a green five on the right, a purple six on the left and an orange seven in the centre",
        "a six in purple, a seven in orange and a five in green",
        "a picture of the numbers five, six and seven.",
        "three digits: a green five, a purple six and an orange seven",
        "there is a five on the right, a six on the left and a seven in the centre.",
    )
    assert scene.array.mean() == pytest.approx(37.5, abs=0.2)


def test_scenes_differ(scenes: list[Scene]) -> None:
    assert len({scene.array.tobytes() for scene in scenes}) == len(scenes)


def test_no_scan_is_in_both_splits() -> None:
    used = {
        split: {digit.scan for index in range(900) for digit in draw_scene(split, index).facts.digits}
        for split in SCENES
    }

    assert used["test"] <= set(digit_scans("test")[2])
    assert used["train"] <= set(digit_scans("train")[2])
    assert not used["test"] & used["train"]
    assert len(used["test"]) > 400


def test_the_scan_shows_the_digit() -> None:
    _, labels, ids = digit_scans("train")
    known = dict(zip(ids, labels.tolist(), strict=True))

    digits = [digit for index in range(200) for digit in draw_scene("train", index).facts.digits]

    assert all(known[digit.scan] == digit.digit for digit in digits)


def test_half_of_the_scenes_show_one_digit(scenes: list[Scene]) -> None:
    counts = Counter(len(scene.facts.digits) for scene in scenes)
    plain = [
        s for s in scenes if s.facts.background == "black" and s.facts.digits[0][1:4] == ("white", "large", "centre")
    ]

    assert set(counts) == {1, 2, 3}
    assert counts[1] / len(scenes) == pytest.approx(0.5, abs=0.05)
    assert len([scene for scene in plain if len(scene.facts.digits) == 1]) / len(scenes) > 0.15


def test_every_digit_colour_place_and_size_occurs(scenes: list[Scene]) -> None:
    digits = [digit for scene in scenes for digit in scene.facts.digits]

    assert {digit.digit for digit in digits} == set(range(10))
    assert {digit.colour for digit in digits} == set(COLOURS)
    assert {digit.place for digit in digits} == set(PLACES)
    assert {digit.size for digit in digits} == {"small", "large"}
    assert {scene.facts.background for scene in scenes} == {"black", "dark", "light"}


def test_digits_do_not_overlap(scenes: list[Scene]) -> None:
    for scene in scenes:
        for digit in scene.facts.digits:
            left, top, side = digit.box
            assert min(left, top) >= 0
            assert max(left, top) + side <= 64
        for first, second in combinations(scene.facts.digits, 2):
            (left, top, side), (other_left, other_top, other_side) = first.box, second.box
            beside = left + side <= other_left or other_left + other_side <= left
            assert beside or top + side <= other_top or other_top + other_side <= top


def test_digits_lie_where_the_facts_say(scenes: list[Scene]) -> None:
    for scene in scenes:
        for digit in scene.facts.digits:
            left, top, side = digit.box
            for third, start in zip(PLACES[digit.place][:2], (left, top), strict=True):
                middle = start + side / 2
                assert (middle < 28, 21 <= middle <= 43, middle > 36)[third], (digit.place, digit.box)


def test_large_is_larger_than_small(scenes: list[Scene]) -> None:
    sides = {size: {d.box[2] for s in scenes for d in s.facts.digits if d.size == size} for size in ("small", "large")}

    assert max(sides["small"]) <= 0.8 * min(sides["large"])


def test_the_colours_are_in_the_picture(scenes: list[Scene]) -> None:
    for scene in scenes:
        for digit in scene.facts.digits:
            box = cut_box(scene.array, digit)
            distance = np.abs(box - np.array(COLOURS[digit.colour])).max(axis=2)  # (side, side)
            assert distance.min() <= COLOUR_SPREAD + 40, digit  # a few scans have no full ink
            others = {
                name: np.abs(box - np.array(rgb)).max(axis=2).min()
                for name, rgb in COLOURS.items()
                if name not in ("black", "white") and digit.colour not in ("black", "white")
            }
            assert not others or min(others, key=lambda name: others[name]) == digit.colour


def test_nothing_is_drawn_outside_the_boxes(scenes: list[Scene]) -> None:
    for scene in scenes:
        outside = np.ones((64, 64), bool)
        for digit in scene.facts.digits:
            left, top, side = digit.box
            outside[top : top + side, left : left + side] = False
        paper = scene.array[outside]  # (n, 3)
        assert (paper == paper[:1]).all()


def test_digits_stand_out_from_the_background(scenes: list[Scene]) -> None:
    for scene in scenes:
        for digit in scene.facts.digits:
            box = cut_box(scene.array, digit)
            assert np.abs(box - box[0, 0]).max() > 90, (scene.facts.background, digit)


def test_a_lone_large_digit_looks_as_in_the_digits_set() -> None:
    images, _, ids = digit_scans("train")
    full = [
        (draw_scene("train", index), digit)
        for index in range(600)
        for digit in draw_scene("train", index).facts.digits
        if digit.box[2] == 64 and digit.colour == "white" and draw_scene("train", index).facts.background == "black"
    ]

    assert len(full) >= 3
    for scene, digit in full[:3]:
        expected = draw(images[ids.index(digit.scan)]).astype(int)
        assert np.abs(scene.array.astype(int) - expected).max() <= COLOUR_SPREAD + 4  # the shade of white, and rounding


def test_five_different_captions(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert len(set(scene.captions)) == len(scene.captions) == 5


def test_captions_name_exactly_the_digits(scenes: list[Scene]) -> None:
    for scene in scenes:
        expected = Counter(digit.word for digit in scene.facts.digits)
        for caption in scene.captions:
            assert named_digits(caption) == expected, caption


def test_captions_are_true_of_colours_sizes_and_background(scenes: list[Scene]) -> None:
    for scene in scenes:
        grounds = {word for caption in scene.captions for word in re.findall(r"on a ([a-z]+) background", caption)}
        assert grounds <= {scene.facts.background}
        for caption in scene.captions:
            words = set(words_of(re.sub(r"on (a [a-z]+ background|black\b)", "", caption)))
            assert words & set(COLOURS) <= {digit.colour for digit in scene.facts.digits}, caption
            assert words & {"small", "large"} <= {digit.size for digit in scene.facts.digits}, caption
            assert "on black" not in caption or scene.facts.background == "black"


def test_counts_in_captions_are_true(scenes: list[Scene]) -> None:
    for scene in scenes:
        for caption in scene.captions:
            for count in re.findall(r"\b(one|two|three) (?:(?:small|large) )?digits?\b", caption):
                assert ("one", "two", "three").index(count) + 1 == len(scene.facts.digits)


def test_captions_are_short_and_written_alike(scenes: list[Scene]) -> None:
    captions = [caption for scene in scenes for caption in scene.captions]

    assert max(len(caption.split()) for caption in captions) <= MOST_WORDS
    assert min(len(caption.split()) for caption in captions) == 2
    for caption in captions:
        assert re.fullmatch(r"[a-z]+([,:]? [a-z]+)*\.?", caption), caption
        assert not re.search(r"\ba (eight|orange)\b|\ban (?!eight|orange)", caption), caption
    assert 0.2 < sum(caption.endswith(".") for caption in captions) / len(captions) < 0.8


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ((7, 2), {"a red seven to the left of a red two", "a red two to the right of a red seven"}),
        ((6, 6), {"two sixes", "the digits six and six", "two digits: two sixes"}),
        ((8, 8), {"an eight in red"}),
    ],
)
def test_wordings(digits: tuple[int, ...], expected: set[str]) -> None:
    places = ("left", "right") if digits != (8, 8) else ("top left", "bottom right")
    facts = SceneFacts(
        "dark", tuple(DigitFacts(d, "red", "large", p, "s", (0, 0, 1)) for d, p in zip(digits, places, strict=True))
    )

    met = {caption for seed in range(200) for caption in describe(facts, Dice(seed))}

    for wording in expected:
        assert wording in met or any(caption.startswith(wording) for caption in met)


def test_another_split_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown split of scenes 'val'"):
        draw_scene("val", 0)
    with pytest.raises(UnknownName, match="unknown split of scenes 'val'"):
        next(find_dataset("scenes").read(NO_ROOT, "val"))
