from __future__ import annotations

from pathlib import Path

import pytest

from coca_cli.datasets.video_files import find_videos, is_video, video_folders
from coca_cli.errors import MissingFile


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"clip")


@pytest.mark.parametrize(("name", "expected"), [("a.mp4", True), ("A.AVI", True), ("a.mp4.txt", False), ("mp4", False)])
def test_clips_are_told_by_their_endings(name: str, expected: bool) -> None:
    assert is_video(name) is expected


@pytest.mark.parametrize(
    "place",
    ["", "videos", "videos/all", "Videos", "TestVideo", "TrainValVideo", "YouTubeClips", "MSRVTT/videos/all", "clips"],
)
def test_usual_places(tmp_path: Path, place: str) -> None:
    put(tmp_path / place, "video7.mp4")
    assert find_videos(tmp_path, ["video7"], "") == {"video7": tmp_path / place / "video7.mp4"}


def test_other_folders_are_not_searched(tmp_path: Path) -> None:
    put(tmp_path, "frames/a.mp4", "videos/other/a.mp4", "videos/all/clips/video/a.mp4")
    with pytest.raises(MissingFile):
        find_videos(tmp_path, ["a"], "")


def test_a_link_to_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "videos").symlink_to(tmp_path, target_is_directory=True)
    assert len(video_folders(tmp_path, "")) == 4


def test_names_may_have_dots_and_any_ending(tmp_path: Path) -> None:
    put(tmp_path, "videos/-4ws.1_5.AVI", "videos/b.webm", "videos/b.txt", "videos/c.mp4")
    (tmp_path / "videos/d.mp4").mkdir()

    found = find_videos(tmp_path, ["b", "-4ws.1_5", "d"], "")

    assert list(found) == ["b", "-4ws.1_5", "d"]
    assert [file.name for file in found.values()] == ["b.webm", "-4ws.1_5.AVI", "d.AVI"]


def test_missing_clips_get_the_place_where_they_should_be(tmp_path: Path) -> None:
    put(tmp_path, "YouTubeClips/b.avi", "c.mp4")
    folder = tmp_path / "YouTubeClips"
    assert find_videos(tmp_path, ["a", "b", "c"], "") == {
        "a": folder / "a.avi",
        "b": folder / "b.avi",
        "c": tmp_path / "c.mp4",
    }


def test_no_clip_at_all(tmp_path: Path) -> None:
    put(tmp_path, "videos/other.mp4")
    with pytest.raises(
        MissingFile, match=r"none of the 2 clips such as a \(\.mp4, .*\.3gp\) is in .*\. Expected below"
    ):
        find_videos(tmp_path, ["a", "b"], "set/videos/a.mp4")
