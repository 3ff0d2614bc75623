"""Clips as cameras, editors and broken downloads leave them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from tests.faults.pictures import encoded, photograph
from tests.media.test_video import QUARTERS, VPX, encode_silence, patched, write_clip, write_sound


class Clip(NamedTuple):
    """A file of a corpus.

    Attributes:
        name: Its file name.
        make: Writes it to a path.
        readable: It must be read; otherwise it must be named.
    """

    name: str
    make: Callable[[Path], object]
    readable: bool


def _with_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=25)
        sound = container.add_stream("aac", rate=16000)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8), format="rgb24")
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        encode_silence(container, sound)


def _without_frames(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        container.start_encoding()


def _cut(part: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        content = write_clip(path, 40).read_bytes()
        path.write_bytes(content[: int(part * len(content))])

    return make


def _spoiled(start: float, count: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        content = bytearray(write_clip(path, 40).read_bytes())
        place = int(start * len(content))
        content[place : place + count] = bytes(b ^ 0xFF for b in content[place : place + count])
        path.write_bytes(content)

    return make


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _turned(degrees: int) -> Callable[[Path], object]:
    return lambda path: patched(write_clip(path), b"tkhd", 40, *QUARTERS[degrees])


def _written(frames: int = 10, **options: object) -> Callable[[Path], object]:
    return lambda path: write_clip(path, frames, **options)  # type: ignore[arg-type]


def clips() -> list[Clip]:
    """All of them."""
    uneven = [0, 1, 2, 3, 10, 11, 30, 31, 90, 200]
    readable: dict[str, Callable[[Path], object]] = {
        "plain.mp4": _written(),
        "one-frame.mp4": _written(1),
        "two-frames.mkv": _written(2),
        "variable-rate.mp4": _written(shown=uneven),
        "variable-rate.mkv": _written(shown=uneven),
        "begins-late.mp4": _written(shown=[100 + number for number in range(10)]),
        "turned-90.mp4": _turned(90),
        "turned-180.mp4": _turned(180),
        "turned-270.mov": _turned(270),
        "with-sound.mp4": _with_sound,
        "two-pixels.mp4": _written(size=(2, 2)),
        "narrow.mp4": _written(size=(16, 400)),
        "wide.mp4": _written(size=(400, 16)),
        "mpeg4.avi": _written(codec="mpeg4"),
        "mpeg2.mpg": _written(codec="mpeg2video"),
        "vp8.webm": _written(codec="libvpx", options={"auto-alt-ref": "0", **VPX}),
        "motion-jpeg.avi": _written(codec="mjpeg", options={"strict": "unofficial"}),
        "transport.ts": _written(),
        "mp4-called.avi": lambda path: path.write_bytes(write_clip(path.with_suffix(".mp4")).read_bytes()),
        "CAPITALS.MP4": _written(),
        "with spaces (1).mp4": _written(),
        "ünïcödé-写真-🦝.mp4": _written(),
        "title.mp4": _written(title="<script>alert(1)</script>"),
    }
    jpeg = encoded(photograph(), "JPEG")
    broken: dict[str, Callable[[Path], object]] = {
        "empty.mp4": _bytes(b""),
        "zeros.mp4": _bytes(bytes(5000)),
        "page.mp4": _bytes(b"<!DOCTYPE html><html><body>Sign in to confirm you're not a bot</body></html>"),
        "text.mp4": _bytes(b"private video\n"),
        "playlist.ts": _bytes(b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n/etc/passwd\n#EXT-X-ENDLIST\n"),
        "list.mp4": _bytes(b"ffconcat version 1.0\nfile /etc/passwd\n"),
        "picture.mp4": _bytes(jpeg),
        "animation.mp4": _bytes(b"GIF89a" + bytes(20)),
        "sound-alone.mp4": write_sound,
        "no-frames.mp4": _without_frames,
        "no-frames.avi": _without_frames,
        "nine-tenths.mp4": _cut(0.9),
        "half.mp4": _cut(0.5),
        "half.mkv": _cut(0.5),
        "half.avi": lambda path: _halved(write_clip(path, 40, codec="mpeg4")),
        "header-alone.mp4": _cut(0.02),
        "header-alone.mkv": _cut(0.05),
        "spoiled-header.mp4": _spoiled(0.0, 60),
    }
    made = [Clip(name, make, True) for name, make in readable.items()]
    return made + [Clip(name, make, False) for name, make in broken.items()]


def _halved(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
