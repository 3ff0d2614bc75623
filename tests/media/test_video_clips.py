"""Real and made clips -> frames."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from coca_cli.datasets.example import Pixels, Streamed
from coca_cli.errors import BadExample
from coca_cli.media import video
from coca_cli.media.images import ImageSettings
from coca_cli.media.video import Sampling, choose_frames, read_frames

SETTINGS = ImageSettings(size=64)


def chosen(starts: list[float], end: float, **sampling: object) -> list[int]:
    return choose_frames(np.asarray(starts), end, Sampling(**sampling)).tolist()  # type: ignore[arg-type]


def test_frames_are_chosen_by_time() -> None:
    steady = [0.1 * n for n in range(10)]
    assert chosen(steady, 1.0, frames=4) == [0, 3, 6, 9]
    assert chosen(steady, 1.0, frames=5, kind="segments") == [1, 3, 5, 7, 9]
    assert chosen(steady, 1.0, frames=1) == [4]
    # the same times, though most frames stand at the beginning
    assert chosen([0.0, 0.1, 0.2, 0.3, 2.0, 4.0], 5.0, frames=5, kind="segments") == [3, 3, 4, 4, 5]
    assert chosen([0.0], 0.04, frames=3) == [0, 0, 0]
    assert chosen(steady, 1.0, frames=2, views=2, span=0.2) == [0, 2, 7, 9]


def clips_of(test_data: Path) -> list[Path]:
    with (test_data / "videos" / "videos.csv").open() as file:
        return [test_data / "videos" / "clips" / row["file"] for row in csv.DictReader(file)]


def test_real_clips_are_read_alike_by_both_readers(test_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = clips_of(test_data)[::6]
    by_decord = [read_frames(clip, SETTINGS, Sampling(frames=4)) for clip in clips]

    def fail(*_: object) -> None:
        raise RuntimeError("Failed to seek")

    monkeypatch.setattr(video, "_by_decord", fail)
    for clip, expected in zip(clips, by_decord, strict=True):
        found = read_frames(clip, SETTINGS, Sampling(frames=4))
        assert found.shape == (4, 3, 64, 64)
        difference = np.abs(found.astype(int) - expected.astype(int)).mean()
        assert difference < 4, f"{clip.name}: {difference}"
        assert np.abs(expected[0].astype(int) - expected[-1].astype(int)).mean() > difference, clip.name


def test_bytes_are_read_as_files_are(test_data: Path) -> None:
    clip = clips_of(test_data)[0]
    in_memory = Streamed(clip.read_bytes(), clip.name)
    found, expected = (read_frames(medium, SETTINGS, Sampling(frames=3)) for medium in (in_memory, clip))
    assert np.abs(found.astype(int) - expected.astype(int)).mean() < 4


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("damage", [cut, lambda data: b"", lambda data: b"no clip at all"])
def test_damaged_clips_are_refused(test_data: Path, tmp_path: Path, damage: object) -> None:
    for number in (0, 16):  # mp4, mkv
        clip = clips_of(test_data)[number]
        broken = tmp_path / f"broken{clip.suffix}"
        broken.write_bytes(damage(clip.read_bytes()))  # type: ignore[operator]
        with pytest.raises(BadExample, match=": not a clip that can be read "):
            read_frames(broken, SETTINGS, Sampling(frames=8))


def test_what_is_no_clip_is_refused(tmp_path: Path) -> None:
    drawn: NDArray[np.uint8] = np.zeros((8, 8, 3), dtype=np.uint8)
    with pytest.raises(BadExample, match="a drawn picture is no clip"):
        read_frames(Pixels(drawn, "drawn"), SETTINGS, Sampling())
    with pytest.raises(BadExample, match="the file does not exist"):
        read_frames(tmp_path / "no.mp4", SETTINGS, Sampling())
