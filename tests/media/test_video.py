from __future__ import annotations

import csv
import itertools
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
from av.container import OutputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from coca_cli.datasets.example import Member, Pixels, Streamed
from coca_cli.errors import BadExample
from coca_cli.media import video
from coca_cli.media.decord_library import decord
from coca_cli.media.images import ImageSettings
from coca_cli.media.video import Sampling, choose_frames, read_frames

SMALL = ImageSettings(size=32)
FRAMES = 48
B_FRAMES = {"g": "12", "bf": "2"}
VPX = {"qmin": "1", "qmax": "8", "b": "2M"}
QUARTERS = {  # degrees clockwise -> the matrix of an mp4, in 16.16 numbers
    90: (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
    180: (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30),
    270: (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30),
}


def shade(number: int) -> int:
    """The brightness by which a frame is known again."""
    return 20 + 4 * number


def numbers(pixels: NDArray[np.uint8]) -> list[int]:
    """Which frames were read."""
    return [round((float(frame.mean()) - 20) / 4) for frame in pixels]


def write_clip(
    path: Path,
    frames: int | Iterable[NDArray[np.uint8]] = FRAMES,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    shown: Sequence[int] | None = None,
    size: tuple[int, int] = (160, 120),
    muxer: dict[str, str] | None = None,
    title: str = "",
) -> Path:
    """A clip of 25 frames a second, each grey in its own shade unless they are given.

    Args:
        path: Its ending tells the container.
        frames: How many, or the (height, width, 3) frames themselves.
        codec: One of FFmpeg's.
        options: Of the codec.
        shown: When each frame is shown, in 1/25 seconds.
        size: Width and height in pixels.
        muxer: Options of the container.
        title: Noted in the container.
    """
    width, height = size
    if isinstance(frames, int):
        frames = [np.full((height, width, 3), shade(number), dtype=np.uint8) for number in range(frames)]
    with av.open(str(path), "w", options=muxer or {}) as container:
        if title:
            container.metadata["title"] = title
        stream = container.add_stream(codec, rate=25, options={"qmax": "3", **(options or {})})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts, frame.time_base = number if shown is None else shown[number], Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def encode_silence(container: OutputContainer, stream: Any) -> None:
    for number in range(20):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, number * 1024
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        encode_silence(container, container.add_stream("aac", rate=16000))
    return path


def patched(path: Path, box: bytes, offset: int, *values: int) -> Path:
    """An mp4 with some numbers of 32 bits replaced, so many bytes behind the name of a box."""
    data = bytearray(path.read_bytes())
    place = data.index(box) + 4 + offset
    data[place : place + 4 * len(values)] = struct.pack(f">{len(values)}i", *values)
    path.write_bytes(data)
    return path


def member(path: Path) -> Member:
    """The clip inside a shard, with other bytes around it."""
    data, shard = path.read_bytes(), path.with_suffix(".tar")
    shard.write_bytes(b"x" * 512 + data + b"the next member")
    return Member(shard, path.name, 512, len(data))


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who read what: "decord" where it had it to the end, "decord failed", and "pyav"."""
    seen: list[str] = []
    by_decord, by_pyav = video._by_decord, video._by_pyav

    def note_decord(*arguments: Any) -> Any:
        seen.append("decord failed")
        frames = by_decord(*arguments)
        seen[-1] = "decord"
        return frames

    def note_pyav(*arguments: Any) -> Any:
        seen.append("pyav")
        return by_pyav(*arguments)

    monkeypatch.setattr(video, "_by_decord", note_decord)
    monkeypatch.setattr(video, "_by_pyav", note_pyav)
    return seen


def refuse(error: Exception) -> Callable[..., Any]:
    def failing(*_: Any, **__: Any) -> Any:
        raise error

    return failing


# Which frames


def steady(frames: int, rate: float = 25.0) -> tuple[NDArray[np.float64], float]:
    return np.arange(frames) / rate, frames / rate


def test_uniform_goes_from_the_first_frame_to_the_last() -> None:
    assert choose_frames(*steady(101), Sampling(frames=5)).tolist() == [0, 25, 50, 75, 100]


def test_one_uniform_frame_is_the_middle_one() -> None:
    assert choose_frames(*steady(101), Sampling(frames=1)).tolist() == [50]


def test_segments_give_the_middle_of_each() -> None:
    assert choose_frames(*steady(100), Sampling(frames=4, kind="segments")).tolist() == [12, 37, 62, 87]


def test_views_are_stretches_from_the_beginning_to_the_end() -> None:
    uniform = choose_frames(*steady(101), Sampling(frames=3, views=3, span=1.0))
    assert uniform.reshape(3, 3).tolist() == [[0, 12, 25], [37, 50, 62], [75, 87, 100]]
    segments = choose_frames(*steady(100), Sampling(frames=2, kind="segments", views=2, span=1.0))
    assert segments.reshape(2, 2).tolist() == [[6, 18], [81, 93]]


def test_a_single_stretch_lies_in_the_middle() -> None:
    assert choose_frames(*steady(101), Sampling(frames=3, span=2.0)).tolist() == [25, 50, 75]


def test_a_stretch_longer_than_the_clip_is_the_clip() -> None:
    assert choose_frames(*steady(26), Sampling(frames=3, views=2, span=9.0)).tolist() == [0, 12, 25] * 2


@pytest.mark.parametrize("kind", ["uniform", "segments"])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_frames_of_short_clips_repeat_in_order(count: int, kind: Any) -> None:
    found = choose_frames(*steady(count), Sampling(frames=16, kind=kind))
    assert found.tolist() == sorted(found.tolist())
    assert set(found.tolist()) == set(range(count))


def test_time_decides_and_not_the_number_of_the_frame() -> None:
    """Ten frames in the first second, then one that stays for nine."""
    starts = np.append(np.arange(10) / 10, 1.0)
    assert choose_frames(starts, 10.0, Sampling(frames=5, kind="segments")).tolist() == [10] * 5
    assert choose_frames(starts, 10.0, Sampling(frames=5)).tolist() == [0, 2, 5, 7, 10]


def test_where_a_clip_begins_does_not_matter() -> None:
    starts, end = steady(100)
    for sampling in (Sampling(frames=7), Sampling(frames=7, kind="segments", views=2, span=0.7)):
        assert (choose_frames(starts + 41.37, end + 41.37, sampling) == choose_frames(starts, end, sampling)).all()


@pytest.mark.parametrize("rate", [10, 23.976, 25, 29.97, 30, 59.94, 120])
@pytest.mark.parametrize("count", [2, 16, 300, 9000])
def test_as_many_uniform_frames_as_there_are_give_each_once(rate: float, count: int) -> None:
    """Rounding takes none for the one before it."""
    starts = np.arange(count) * (1 / rate) + 1.4
    assert choose_frames(starts, starts[-1] + 1 / rate, Sampling(frames=count)).tolist() == list(range(count))


# Reading


class Case(NamedTuple):
    """A kind of clip.

    Attributes:
        name: Of the file.
        codec: One of FFmpeg's.
        options: Of the codec.
        reader: Who is to read the file.
    """

    name: str
    codec: str
    options: dict[str, str]
    reader: str


CASES = [
    Case("h264.mp4", "libx264", B_FRAMES, "decord"),
    Case("h264.mkv", "libx264", B_FRAMES, "decord"),
    Case("h264.mov", "libx264", {"g": "1"}, "decord"),
    Case("vp9.webm", "libvpx-vp9", {"g": "12", "cpu-used": "8", **VPX}, "decord"),
    # in an AVI decord gives no times to frames of H.264
    Case("h264.avi", "libx264", B_FRAMES, "pyav"),
    Case("mpeg4.avi", "mpeg4", {"g": "12"}, "pyav"),
    Case("mpeg4b.avi", "mpeg4", B_FRAMES, "pyav"),
    # decoding does not begin afresh at these key frames, and decord would count wrongly
    Case("open.mp4", "libx264", {"x264-params": "keyint=12:bframes=3:open-gop=1"}, "pyav"),
    Case("refresh.mp4", "libx264", {"x264-params": "keyint=20:bframes=0:intra-refresh=1"}, "pyav"),
    # in these decord lands beside the frames
    Case("mpeg2.ts", "mpeg2video", B_FRAMES, "pyav"),
    Case("mpeg2.mpg", "mpeg2video", B_FRAMES, "pyav"),
    Case("wmv2.wmv", "wmv2", {"g": "12"}, "pyav"),
    Case("h264.flv", "libx264", B_FRAMES, "pyav"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("kind", ["uniform", "segments"])
def test_the_frames_are_those_that_were_chosen(case: Case, kind: Any, readers: list[str], tmp_path: Path) -> None:
    """From a file, from bytes and from a shard; also where decord alone gives others without a word."""
    path = write_clip(tmp_path / case.name, codec=case.codec, options=case.options)
    sampling = Sampling(frames=7, kind=kind)
    found = read_frames(path, SMALL, sampling)
    assert (found.shape, found.dtype) == ((7, 3, 32, 32), np.uint8)
    assert numbers(found) == choose_frames(*steady(FRAMES), sampling).tolist()
    assert readers[-1] == case.reader
    readers.clear()
    for medium in (Streamed(path.read_bytes(), "a clip"), member(path)):
        assert numbers(read_frames(medium, SMALL, sampling)) == numbers(found)
    assert readers == ["pyav", "pyav"]


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_a_variable_frame_rate_is_read_by_time(name: str, readers: list[str], tmp_path: Path) -> None:
    shown = [*range(24), *range(24, 24 + 24 * 5, 5)]
    path = write_clip(tmp_path / name, options=B_FRAMES, shown=shown)
    sampling = Sampling(frames=9)
    wanted = choose_frames(np.asarray(shown) / 25, 0, sampling).tolist()
    assert wanted != choose_frames(*steady(FRAMES), sampling).tolist()
    assert numbers(read_frames(path, SMALL, sampling)) == wanted
    assert numbers(read_frames(Streamed(path.read_bytes(), "a clip"), SMALL, sampling)) == wanted
    assert readers == ["decord", "pyav"]


def test_a_short_clip_that_begins_late_is_not_cut_off(tmp_path: Path) -> None:
    """Its container counts the seconds before."""
    for name in ("late.mkv", "late.mp4"):
        path = write_clip(tmp_path / name, 3, options=B_FRAMES, shown=range(50, 53))
        assert numbers(read_frames(path, SMALL, Sampling(frames=3))) == [0, 1, 2]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", ["short.mp4", "short.mkv", "short.avi"])
def test_very_short_clips_are_read(name: str, count: int, tmp_path: Path) -> None:
    path = write_clip(tmp_path / name, count, codec="mpeg4" if name.endswith("avi") else "libx264")
    for medium in (path, member(path)):
        found = numbers(read_frames(medium, SMALL, Sampling(frames=8)))
        assert len(found) == 8
        assert found == sorted(found)
        assert set(found) == set(range(count))


def test_views_stand_one_behind_the_other(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", options=B_FRAMES)
    sampling = Sampling(frames=3, views=2, span=0.4)
    assert numbers(read_frames(path, SMALL, sampling)) == [0, 5, 10, 37, 42, 47]


@pytest.mark.parametrize("place", [20, FRAMES - 1])
def test_packets_that_show_no_frame_are_not_counted(place: int, readers: list[str], tmp_path: Path) -> None:
    """Encoders of VP8 write them to predict from, those of MPEG-4 where nothing moves. Decord counts them."""
    path = write_clip(tmp_path / "a.webm", codec="libvpx", options={"g": "99", "auto-alt-ref": "0", **VPX})
    with av.open(str(path)) as container:
        stored = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    assert data.count(stored[place]) == 1
    hidden = bytes([stored[place][0] & ~0x10]) + stored[place][1:]  # the bit that tells decoders to show it
    path.write_bytes(data.replace(stored[place], hidden))
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES - 1
    left = np.asarray([number for number in range(FRAMES) if number != place])
    for sampling in (Sampling(frames=5), Sampling(frames=5, kind="segments")):
        wanted = left[choose_frames(left / 25, (left[-1] + 1) / 25, sampling)].tolist()
        for medium in (path, member(path)):
            assert numbers(read_frames(medium, SMALL, sampling)) == wanted
    assert set(readers) == {"pyav"}
    if place == FRAMES - 1:  # so much decord sees, if it is told not to repeat frames
        with pytest.raises(decord.DECORDLimitReachedError):
            video._by_decord(str(path), video._inspect(str(path)), [0, place])


def test_trimmed_frames_are_not_shown(tmp_path: Path) -> None:
    """Cut without being encoded again, an mp4 holds frames that are only there to decode the next ones."""
    path = write_clip(tmp_path / "a.mp4", options=B_FRAMES, shown=range(-20, FRAMES - 20))
    for medium in (path, member(path)):
        assert numbers(read_frames(medium, SMALL, Sampling(frames=4))) == [20, 29, 38, 47]
    path = patched(write_clip(tmp_path / "b.mp4", options=B_FRAMES), b"elst", 8, 960)  # of 1920 milliseconds
    for medium in (path, member(path)):
        assert numbers(read_frames(medium, SMALL, Sampling(frames=4))) == [0, 7, 15, 23]
        assert numbers(read_frames(medium, SMALL, Sampling(frames=4, kind="segments"))) == [3, 9, 15, 21]


def remuxed(path: Path, to: Path, first: int) -> Path:
    """The clip without the packets before this one, not encoded again."""
    with av.open(str(path)) as source, av.open(str(to), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size and number >= first:
                packet.stream = stream
                container.mux(packet)
    return to


def test_a_clip_that_begins_amid_its_key_frames_is_read_from_the_first_one(tmp_path: Path) -> None:
    path = remuxed(write_clip(tmp_path / "a.mkv", options=B_FRAMES), tmp_path / "b.mkv", 5)
    for medium in (path, member(path)):
        assert numbers(read_frames(medium, SMALL, Sampling(frames=5))) == [12, 20, 29, 38, 47]


def corners() -> list[NDArray[np.uint8]]:
    """Two frames whose upper left quarter is bright."""
    frame = np.full((120, 200, 3), 40, dtype=np.uint8)
    frame[:60, :100] = 220
    return [frame, frame]


@pytest.mark.parametrize("size", [32, 100], ids=["reduced", "whole"])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_frames_stand_upright(degrees: int, size: int, readers: list[str], tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", corners(), size=(200, 120))
    if degrees:
        patched(path, b"tkhd", 40, *QUARTERS[degrees])
    settings = ImageSettings(size=size, resize="squash")
    expected = np.rot90(np.pad([[220]], ((0, 1), (0, 1)), constant_values=40), -degrees // 90)
    quarter = size // 2
    for medium in (path, member(path)):
        frame = read_frames(medium, settings, Sampling(frames=1))[0].mean(axis=0)
        parts = frame[: 2 * quarter, : 2 * quarter].reshape(2, quarter, 2, quarter).mean(axis=(1, 3))
        assert np.abs(parts - expected).max() < 8, parts
    assert readers == ["decord", "pyav"]


@pytest.mark.parametrize("degrees", [0, 90])
def test_frames_are_decoded_no_larger_than_needed(
    degrees: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / "a.mp4", 2, size=(400, 200))
    if degrees:
        patched(path, b"tkhd", 40, *QUARTERS[degrees])
    seen = set()
    fit = video.fit_image
    monkeypatch.setattr(video, "fit_image", lambda picture, settings: seen.add(picture.size) or fit(picture, settings))
    for medium, size in itertools.product((path, member(path)), (32, 150)):
        read_frames(medium, ImageSettings(size=size), Sampling(frames=2))
    assert seen == ({(64, 128), (200, 400)} if degrees else {(128, 64), (400, 200)})


def test_narrow_frames_are_no_stripes(tmp_path: Path) -> None:
    """Decord takes the padding of some widths for pixels: rows reach to a multiple of 32 pixels, with AVX-512 of 64."""
    clips = {width: write_clip(tmp_path / f"{width}.mp4", size=(width, 64)) for width in (72, 96)}
    assert any(decord.VideoReader(str(path))[0].shape != (64, width, 3) for width, path in clips.items())
    for path in clips.values():
        assert numbers(read_frames(path, SMALL, Sampling(frames=3))) == [0, 23, 47]


# What decord cannot read


def test_a_file_on_which_decord_cannot_seek_is_read_all_the_same(tmp_path: Path) -> None:
    """Here the first key frame that the index names is not the first frame."""
    path = patched(write_clip(tmp_path / "a.mp4", options=B_FRAMES), b"stss", 4, 1, 13)
    with pytest.raises(RuntimeError, match="Failed to seek"):
        decord.VideoReader(str(path))[0]
    assert numbers(read_frames(path, SMALL, Sampling(frames=5))) == [0, 11, 23, 35, 47]


@pytest.mark.parametrize("place", ["__init__", "__getitem__", "get_frame_timestamp"])
@pytest.mark.parametrize(
    "error",
    [
        decord.DECORDError("broken"),
        decord.DECORDLimitReachedError("repeated"),
        RuntimeError("Failed to seek_accurate to frame 3"),
        StopIteration(),
        IndexError("Out of bound"),
        AssertionError("Invalid frame count: 0"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_where_decord_fails_pyav_reads_the_same_frames(
    error: Exception, place: str, readers: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / "a.mp4", options=B_FRAMES)
    before = read_frames(path, SMALL, Sampling(frames=6))
    monkeypatch.setattr(decord.VideoReader, place, refuse(error))
    assert (read_frames(path, SMALL, Sampling(frames=6)) == before).all()
    assert readers == ["decord", "decord failed", "pyav"]


@pytest.mark.parametrize(
    "wrong",
    [lambda times: times * 1.01, lambda times: times[:-1], lambda times: times * np.nan],
    ids=["others", "fewer", "none"],
)
def test_where_decord_knows_other_times_it_is_not_asked(
    wrong: Callable[..., Any], readers: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / "a.mp4", options=B_FRAMES)
    asked = decord.VideoReader.get_frame_timestamp
    monkeypatch.setattr(decord.VideoReader, "get_frame_timestamp", lambda *arguments: wrong(asked(*arguments)))
    assert numbers(read_frames(path, SMALL, Sampling(frames=3))) == [0, 23, 47]
    assert readers == ["decord failed", "pyav"]


# What nobody can read


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for medium in (tmp_path / "gone.mp4", Member(tmp_path / "gone.mp4", "a.mp4", 0, 10)):
        with pytest.raises(BadExample, match=r"gone\.mp4.*: the file does not exist"):
            read_frames(medium, SMALL, Sampling())


@pytest.mark.parametrize("content", [b"", b"words", b"\0" * 5000, b"<html>" * 500])
def test_what_is_no_clip_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "fake.mp4").write_bytes(content)
    for medium in (tmp_path / "fake.mp4", Streamed(content, "fake.mp4")):
        with pytest.raises(BadExample, match=r"fake\.mp4: not a clip that can be read \(.*Invalid data"):
            read_frames(medium, SMALL, Sampling())


def test_a_folder_is_no_clip(tmp_path: Path) -> None:
    with pytest.raises(BadExample, match=r"not a clip that can be read \(.*Is a directory"):
        read_frames(tmp_path, SMALL, Sampling())


def test_sound_alone_is_no_clip(tmp_path: Path) -> None:
    for name in ("sound.mp4", "sound.mkv"):
        with pytest.raises(BadExample, match=rf"{name}: not a clip that can be read \(no moving pictures in it\)"):
            read_frames(write_sound(tmp_path / name), SMALL, Sampling())


def test_the_cover_of_a_song_is_no_clip(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.m4a"), "w", format="mp4") as container:
        sound, cover = container.add_stream("aac", rate=16000), container.add_stream("mjpeg", rate=1)
        assert isinstance(cover, VideoStream)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 64, "yuvj420p", Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), dtype=np.uint8), format="rgb24")))
        container.mux(cover.encode())
        encode_silence(container, sound)
    with pytest.raises(BadExample, match=r"song\.m4a: not a clip that can be read \(no moving pictures in it\)"):
        read_frames(tmp_path / "song.m4a", SMALL, Sampling())


def test_pictures_without_times_are_no_clip(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "bare.h264")
    with pytest.raises(BadExample, match=r"it does not say when its frames are shown"):
        read_frames(path, SMALL, Sampling())


def test_a_drawn_picture_is_no_clip() -> None:
    with pytest.raises(BadExample, match="a drawing: a drawn picture is no clip"):
        read_frames(Pixels(np.zeros((8, 8, 3), dtype=np.uint8), "a drawing"), SMALL, Sampling())


FIRST = {"movflags": "faststart"}  # the index before the frames


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.85])
@pytest.mark.parametrize(
    ("name", "codec", "options", "muxer"),
    [
        ("end.mp4", "libx264", B_FRAMES, {}),
        ("first.mp4", "libx264", B_FRAMES, FIRST),
        ("plain.mp4", "mpeg4", {}, FIRST),
        ("pieces.mp4", "libx264", B_FRAMES, {"movflags": "frag_keyframe"}),
        ("h264.mkv", "libx264", B_FRAMES, {}),
        ("mpeg4.avi", "mpeg4", {}, {}),
        ("h264.avi", "libx264", B_FRAMES, {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_clip_that_is_cut_off_is_refused(
    name: str, codec: str, options: dict[str, str], muxer: dict[str, str], part: float, tmp_path: Path
) -> None:
    """Decord reads most of them as shorter clips; a score must not speak of those."""
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 120, 160, 3), dtype=np.uint8)
    path = write_clip(tmp_path / name, noise, codec=codec, options=options, muxer=muxer)
    read_frames(path, SMALL, Sampling(frames=2))
    data = path.read_bytes()[: int(part * path.stat().st_size)]
    path.write_bytes(data)
    for medium in (path, Streamed(data, name)):
        with pytest.raises(
            BadExample,
            match=rf"{name}: not a clip that can be read \((cut off|.*Invalid data|none of its frames can be)",
        ):
            read_frames(medium, SMALL, Sampling(frames=2))


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    for name, codec, told in (
        ("a.mkv", "libx264", r"cut off: (0\.9|1\.0|1\.1) of 2\.0 seconds are there"),
        ("a.avi", "mpeg4", "cut off in the middle of a frame"),
    ):
        path = write_clip(tmp_path / name, 50, codec=codec, options={"g": "1"})
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(BadExample, match=rf"{name}: not a clip that can be read \({told}\)"):
            read_frames(path, SMALL, Sampling())


def test_a_clip_that_is_cut_off_between_two_frames_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", codec="mpeg4", options={"g": "1"}, muxer=FIRST)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    assert places == sorted(places)
    path.write_bytes(path.read_bytes()[: places[25]])
    with pytest.raises(BadExample, match=r"\(cut off: 1\.0 of 1\.9 seconds are there\)"):
        read_frames(path, SMALL, Sampling())


@pytest.mark.parametrize("kept", [24, 40])
def test_what_a_decoder_leaves_out_at_the_end_is_missed(
    kept: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / "a.flv", options=B_FRAMES)
    decode_all = video._decode_all

    def forgetful(*arguments: Any) -> Any:
        frames, starts = decode_all(*arguments)
        return frames, starts[:kept]

    monkeypatch.setattr(video, "_decode_all", forgetful)
    with pytest.raises(BadExample, match=rf"\(cut off: {(kept - 1) / 25:.1f} of 1\.9 seconds are there\)"):
        read_frames(path, SMALL, Sampling())


def test_frames_that_cannot_be_decoded_are_not_replaced_by_others(tmp_path: Path) -> None:
    """The index is whole, and so is the first half; in place of the second a download left zeros."""
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 120, 160, 3), dtype=np.uint8)
    path = write_clip(tmp_path / "a.mp4", noise, options=B_FRAMES, muxer=FIRST)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    for medium in (path, Streamed(bytes(data), "a.mp4")):
        with pytest.raises(BadExample, match=r"a\.mp4: not a clip that can be read"):
            read_frames(medium, SMALL, Sampling(frames=4))


@pytest.mark.parametrize("seed", range(30))
def test_random_damage_gives_frames_or_a_bad_example(seed: int, tmp_path: Path) -> None:
    """Never another error nor the end of the process, whatever the decoders stumble over."""
    random = np.random.default_rng(seed)
    for name, codec in (("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")):
        data = bytearray(
            write_clip(tmp_path / name, 10, codec=codec, muxer=FIRST if name == "a.mp4" else {}).read_bytes()
        )
        for place in random.integers(0, len(data), 10):
            data[place] = random.integers(0, 256)
        (tmp_path / name).write_bytes(data)
        for medium in (tmp_path / name, Streamed(bytes(data), name)):
            with suppress(BadExample):
                assert read_frames(medium, SMALL, Sampling(frames=3)).shape == (3, 3, 32, 32)


def test_a_header_that_claims_billions_of_frames_does_not_end_the_process(readers: list[str], tmp_path: Path) -> None:
    """Decord would make room for them."""
    path = patched(write_clip(tmp_path / "a.mp4", options=B_FRAMES), b"stts", 8, 2_000_000_000)
    assert numbers(read_frames(path, SMALL, Sampling(frames=4))) == [0, 15, 31, 47]
    assert readers == ["pyav"]


# Names


def test_a_title_in_an_old_encoding_does_not_matter(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", codec="mpeg4", title="Caf~")
    path.write_bytes(path.read_bytes().replace(b"Caf~", b"Caf\xe9"))
    with pytest.raises(UnicodeDecodeError), av.open(str(path)):
        pass
    assert numbers(read_frames(path, SMALL, Sampling(frames=2))) == [0, 47]


@pytest.mark.parametrize("name", ["http:clip.mp4", "a,b:c %d.mp4", "Übung 1.mp4", "-i.mp4"])
def test_any_name_will_do(name: str, readers: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert numbers(read_frames(Path(name), SMALL, Sampling(frames=2))) == [0, 47]
    assert readers == ["decord"]


# Threads, memory, terminal


def test_several_threads_read_at_once(tmp_path: Path) -> None:
    paths = [write_clip(tmp_path / f"{count}.mp4", count, options=B_FRAMES) for count in (10, 25, 40)]
    media = [*paths, *(Streamed(path.read_bytes(), path.name) for path in paths)]
    expected = [read_frames(medium, SMALL, Sampling(frames=6)) for medium in media]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda medium: read_frames(medium, SMALL, Sampling(frames=6)), media * 8))
    for number, frames in enumerate(found):
        assert (frames == expected[number % len(media)]).all()


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory of a process is read as Linux tells it")
@pytest.mark.parametrize("reads", [300, pytest.param(5000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("reader", ["decord", "pyav", "refused"])
def test_memory_does_not_grow(reader: str, reads: int, readers: list[str], tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 12, options=B_FRAMES, size=(320, 240), muxer=FIRST)
    data = path.read_bytes()
    medium = {"decord": path, "pyav": Streamed(data, "a.mp4"), "refused": Streamed(data[:-500], "cut.mp4")}[reader]
    before = 0
    for number in range(reads):
        if number == 100:
            before = resident()
        with suppress(BadExample):
            read_frames(medium, ImageSettings(size=120), Sampling(frames=4))
    assert set(readers) == (set() if reader == "refused" else {reader})
    # one frame kept of each read would be 46 MB of 200 reads and 1.1 GB of 4,900; the allocator takes some now and then
    assert resident() - before < (16_000_000 if reads == 300 else 64_000_000)


def test_nothing_is_written_to_the_terminal(tmp_path: Path) -> None:
    """Whatever FFmpeg, decord and their C++ say goes past sys.stderr."""
    whole = write_clip(tmp_path / "whole.mp4", options=B_FRAMES)
    cut = write_clip(tmp_path / "cut.mp4", options=B_FRAMES, muxer=FIRST)
    cut.write_bytes(cut.read_bytes()[:-2000])
    late = patched(write_clip(tmp_path / "late.mp4", options=B_FRAMES), b"stss", 4, 1, 13)
    words = tmp_path / "words.mp4"
    words.write_bytes(b"words")
    refresh = {"x264-params": "keyint=20:bframes=0:intra-refresh=1"}
    media = [whole, cut, late, words, tmp_path / "gone.mp4", write_sound(tmp_path / "sound.mp4")]
    media += [write_clip(tmp_path / "refresh.mp4", options=refresh), write_clip(tmp_path / "a.avi", options=B_FRAMES)]
    program = (
        "import sys; from pathlib import Path; from coca_cli.errors import BadExample\n"
        "from coca_cli.media.images import ImageSettings; from coca_cli.media.video import Sampling, read_frames\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(len(read_frames(Path(name), ImageSettings(size=32), Sampling(frames=4))))\n"
        "    except BadExample: print('bad')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *map(str, media)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "bad", "4", "bad", "bad", "bad", "4", "4"]
    assert done.stderr == ""


def test_decord_alone_would_write_to_the_terminal(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    late = patched(write_clip(tmp_path / "late.mp4", options=B_FRAMES), b"stss", 4, 1, 13)
    decord.VideoReader(str(late))
    assert "Failed to seek" in capfd.readouterr().err


# Real clips


def real_clips(test_data: Path) -> list[tuple[Path, dict[str, str]]]:
    folder = test_data / "videos"
    if not (folder / "videos.csv").is_file():
        pytest.skip(f"{folder} has no videos.csv: no real clips here")
    with (folder / "videos.csv").open(encoding="utf-8", newline="") as listing:
        return [(folder / "clips" / row["file"], row) for row in csv.DictReader(listing)]


def test_real_clips_have_the_frames_and_times_that_are_known_of_them(test_data: Path) -> None:
    for path, known in real_clips(test_data):
        clip = video._inspect(f"file:{path}")
        assert len(clip.starts) == int(known["frames"]), path
        assert (clip.width, clip.height) == (int(known["width"]), int(known["height"])), path
        assert abs(clip.end - clip.starts[0] - float(known["seconds"])) < 0.2, path


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_both_readers_give_the_same_frames_of_real_clips(
    every: int, readers: list[str], monkeypatch: pytest.MonkeyPatch, test_data: Path
) -> None:
    """Sizes are reduced by the same method, but for the rounding of colours."""
    compared = 0
    for path, _ in real_clips(test_data)[::every]:
        sampling = Sampling(kind="segments" if compared % 2 else "uniform")
        found = read_frames(path, ImageSettings(), sampling)
        if readers[-1] != "decord":
            continue
        with monkeypatch.context() as patch:
            patch.setattr(decord, "VideoReader", refuse(decord.DECORDError("broken")))
            other = read_frames(path, ImageSettings(), sampling)
        assert readers[-1] == "pyav"
        assert np.abs(found.astype(int) - other).mean(axis=(1, 2, 3)).max() < 0.5, path
        compared += 1
    assert compared >= 20 / every


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_reduced_frames_are_close_to_whole_ones(every: int, monkeypatch: pytest.MonkeyPatch, test_data: Path) -> None:
    sizes = [min(int(known["width"]), int(known["height"])) for _, known in real_clips(test_data)]
    least = video.WORTH * video.SPARE * 224
    assert max(sizes) >= least > min(size for size in sizes if size > video.SPARE * 224)
    for path, known in real_clips(test_data)[::every]:
        reduced = read_frames(path, ImageSettings(), Sampling(frames=4))
        with monkeypatch.context() as patch:
            patch.setattr(video, "SPARE", 1000)
            whole = read_frames(path, ImageSettings(), Sampling(frames=4))
        difference = np.abs(reduced.astype(int) - whole).mean(axis=(1, 2, 3)).max()
        if min(int(known["width"]), int(known["height"])) < least:  # a small reduction would blur for nothing
            assert not difference, path
        else:
            assert 0 < difference < 2, path
