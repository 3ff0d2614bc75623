from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from coca_cli.datasets.example import Pixels
from coca_cli.datasets.moving_scenes import ACTIONS, CLIPS, FRAMES, MOVING_SCENES, draw_clip, draw_course
from coca_cli.datasets.scene_captions import Dice
from coca_cli.errors import BadExample, UnknownName
from coca_cli.media.images import ImageSettings, read_image
from coca_cli.media.video import Sampling, read_frames


def test_a_clip_is_always_the_same_and_no_two_are() -> None:
    clips = [draw_clip(split, index) for split in ("test", "train") for index in range(40)]
    assert all(clip.shape == (FRAMES, 64, 64, 3) for clip in clips)
    assert len({clip.tobytes() for clip in clips}) == 80
    assert np.array_equal(draw_clip("test", 7), clips[7])


def test_as_many_clips_of_each_action() -> None:
    labels = Counter(example.label for example in MOVING_SCENES.read(Path(), "test"))
    assert labels == dict.fromkeys(range(5), CLIPS["test"] // 5)


@pytest.mark.parametrize(
    ("action", "absent", "colours"),
    [
        ("appears", range(9, 13), 1),
        ("vanishes and returns", range(3, 5), 1),
        ("blinks", range(6, 8), 1),
        ("changes colour", range(1), 2),
        ("stays", range(1), 1),
    ],
)
def test_actions_differ_in_how_many_frames_show_what(action: str, absent: range, colours: int) -> None:
    first = ACTIONS.index(action)
    for index in range(first, 200, 5):
        clip = draw_clip("train", index)
        looks = Counter(frame.tobytes() for frame in clip)
        course = draw_course(action, Dice(index))
        assert FRAMES - course.shown.sum() in absent
        assert len(looks) == colours + int(absent.start > 0)


def test_one_frame_does_not_tell() -> None:
    """Whoever sees the middle frame alone, and knows whether the digit is there, is right in less than 60 %."""
    seen = Counter(
        (index % 5, draw_course(ACTIONS[index % 5], Dice(index)).shown[FRAMES // 2]) for index in range(2000)
    )
    best = sum(max(seen[label, there] for label in range(5)) for there in (True, False))
    assert best / 2000 < 0.45


def test_frames_of_a_drawn_clip() -> None:
    (example, *_) = MOVING_SCENES.read(Path(), "test")
    (medium,) = example.media
    assert isinstance(medium, Pixels)
    settings = ImageSettings(size=64)
    frames = read_frames(medium, settings, Sampling(16))
    assert np.array_equal(frames, medium.array.transpose(0, 3, 1, 2))
    assert read_frames(medium, settings, Sampling(4, "segments", views=2, span=0.5)).shape == (8, 3, 64, 64)
    with pytest.raises(BadExample, match="a drawn clip is no picture"):
        read_image(medium)
    with pytest.raises(BadExample, match="a drawn picture is no clip"):
        read_frames(Pixels(medium.array[0], "a picture"), settings, Sampling(4))


def test_an_unknown_split() -> None:
    with pytest.raises(UnknownName):
        draw_clip("val", 0)
