"""Clips: a file -> a few frames, chosen by time, as the squares that a model was trained on."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from coca_cli.datasets.example import Medium, Pixels
from coca_cli.errors import BadExample
from coca_cli.media.decord_library import decord
from coca_cli.media.images import ImageSettings, fit_image

SPARE = 2
"""Frames are decoded no smaller than this many times the model's square, and then fitted as pictures are."""

WORTH = 1.5
"""Frames less than this many times larger are decoded as they are: a small reduction blurs and saves little."""

MOMENT = 1e-6
"""Seconds: a frame that appears at the wanted time, up to rounding, is shown then."""

MAY_LACK = 0.05
"""A file whose pictures end sooner than it says by more than this part, and by more than a fifth of a second, was cut
off. Headers are rounded, and sound may go on a little after the last picture."""

INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Containers, by FFmpeg's names, that say when each frame is shown and lead to it. In others decord may land beside it,
or know no times, as in an AVI."""

LISTS = ("hls", "concat", "dash", "sdp", "imf", "hls,applehttp")
"""Formats, by FFmpeg's names, that hold no frames but say where they are: on this disk, or on somebody's server."""

DRAWN_RATE = 8
"""Frames per second of clips that built-in sets draw."""

ONE_BY_ONE = ("h264", "hevc", "vp9", "av1")
"""Codecs, by FFmpeg's names, in which each packet of these containers shows a frame. Others have packets that show
none; decord counts them, and so takes other frames for those that were asked for."""

_NO_REPEATS = "0.000001"
"""What part of its frames decord may repeat in place of others that it cannot decode: none."""

Source = str | bytes
Fit = Callable[[Image.Image], NDArray[np.uint8]]
Frames = dict[int, NDArray[np.uint8]]  # number -> (height, width, 3) RGB, upright


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which frames of a clip are looked at, by time, so that a variable frame rate changes nothing.

    Attributes:
        frames: Frames of each view.
        kind: "uniform" spreads them evenly from the first frame to the last; "segments" cuts the time into as many
            equal parts and takes the middle of each (TSN, arXiv 1608.00859).
        views: How many stretches of the clip are looked at, evenly spread.
        span: Seconds of each stretch; None for the whole clip.
    """

    frames: int = 16
    kind: Literal["uniform", "segments"] = "uniform"
    views: int = 1
    span: float | None = None


class _Clip(NamedTuple):
    starts: NDArray[np.float64]  # seconds at which each frame appears, rising
    end: float  # seconds at which the last one disappears
    width: int  # of the upright frames
    height: int
    exact: bool  # decord finds the frames by their numbers


class _Packet(NamedTuple):
    shown: int | None  # when, in the stream's own unit; as decoders get them they need not rise
    key: bool
    left_out: bool  # decoded and not shown: the file was trimmed without being encoded again
    partial: bool  # its last bytes are missing


def choose_frames(starts: NDArray[np.float64], end: float, sampling: Sampling) -> NDArray[np.int64]:
    """The frames that are shown at the wanted times; of short clips the same ones several times.

    Args:
        starts: (n,) seconds at which each frame appears, rising.
        end: Seconds at which the last one disappears.
        sampling: Which times.

    Returns:
        (views * frames,) indices into `starts`, view after view.
    """
    first = float(starts[0])
    length = float(starts[-1] if sampling.kind == "uniform" else max(end, starts[-1])) - first
    span = length if sampling.span is None else min(sampling.span, length)
    offsets = np.linspace(0, length - span, sampling.views) if sampling.views > 1 else np.array([(length - span) / 2])
    if sampling.kind == "segments":
        within = (np.arange(sampling.frames) + 0.5) * span / sampling.frames
    else:
        within = np.linspace(0, span, sampling.frames) if sampling.frames > 1 else np.array([span / 2])
    times = first + (offsets[:, None] + within[None, :]).ravel()
    found = np.searchsorted(starts, times + MOMENT, side="right") - 1
    return found.clip(0, len(starts) - 1).astype(np.int64)


def read_frames(
    medium: Medium, settings: ImageSettings, sampling: Sampling, fit: Fit | None = None
) -> NDArray[np.uint8]:
    """The chosen frames of a clip, upright.

    Decord decodes the files in which it is sure to find the frames. PyAV has the others and those that decord fails on;
    only what PyAV cannot read either is unreadable.

    Args:
        medium: A file in a container that FFmpeg knows, or its bytes.
        settings: How frames become the model's input.
        sampling: Which frames.
        fit: What becomes of a frame; None for what becomes of pictures, (3, size, size).

    Returns:
        (views * frames, 3, size, size) uint8, or (views * frames, ...) of what `fit` gives.

    Raises:
        BadExample: It is missing, damaged, cut off, or has no pictures.
    """
    fit = fit or partial(fit_image, settings=settings)
    if isinstance(medium, Pixels):
        array = medium.array
        if array.ndim != 4:
            raise BadExample(f"{medium}: a drawn picture is no clip")
        times = np.arange(len(array)) / DRAWN_RATE
        drawn = choose_frames(times, len(times) / DRAWN_RATE, sampling).tolist()
        return np.stack([fit(Image.fromarray(array[number])) for number in drawn])
    try:
        # `file:` keeps FFmpeg from taking a name with a colon for an address
        source: Source = f"file:{medium}" if isinstance(medium, Path) else medium.read_bytes()
        wanted, frames = _read(source, sampling, settings)
    except FileNotFoundError:
        raise BadExample(f"{medium}: the file does not exist") from None
    except (FFmpegError, OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadExample(f"{medium}: not a clip that can be read ({reason})") from None
    fitted = {number: fit(Image.fromarray(frame)) for number, frame in frames.items()}
    return np.stack([fitted[number] for number in wanted])


def _read(source: Source, sampling: Sampling, settings: ImageSettings) -> tuple[list[int], Frames]:
    clip = _inspect(source)
    scale = SPARE * settings.size / min(clip.width, clip.height)
    scale = scale if scale <= 1 / WORTH else 1.0
    clip = clip._replace(width=max(1, round(clip.width * scale)), height=max(1, round(clip.height * scale)))
    wanted = choose_frames(clip.starts, clip.end, sampling).tolist()
    # in bytes, damaged offsets lead decord outside its memory, which ends the whole process
    if clip.exact and isinstance(source, str):
        try:
            return wanted, _by_decord(source, clip, wanted)
        except Exception:  # besides its own errors it raises those of its checks and iterators
            pass
    return _by_pyav(source, clip, wanted, sampling)


def _open(source: Source) -> InputContainer:
    # a title in an old encoding is no reason to refuse a clip
    opened = source if isinstance(source, str) else io.BytesIO(source)
    container = av.open(opened, "r", options={"protocol_whitelist": "file"}, metadata_errors="ignore")
    name = container.format.name
    if name in LISTS or name == "image2" or name.endswith("_pipe"):
        container.close()
        raise ValueError("a list of other files" if name in LISTS else "a picture")
    return container


def _pictures(container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        raise ValueError("no moving pictures in it")
    stream.thread_count = 1  # clips are read side by side
    return stream


def _inspect(source: Source) -> _Clip:
    """What the container says of the clip, with the shape of its first frame."""
    first: VideoFrame | None = None
    packets: list[_Packet] = []
    ends: dict[int, float] = {}
    with _open(source) as container:
        stream = _pictures(container)
        for packet in container.demux():
            number = packet.stream.index
            if packet.pts is not None and not packet.is_discard:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                ends[number] = max(end, ends.get(number, end))
            if number == stream.index:
                first = first or next(iter(stream.decode(packet)), None)
                if packet.size:
                    packets.append(_Packet(packet.pts, packet.is_keyframe, packet.is_discard, packet.is_corrupt))
        if packets and packets[-1].partial:
            raise ValueError("cut off in the middle of a frame")
        if first is None:
            raise ValueError("none of its frames can be decoded")
        shown = [packet.shown for packet in packets if packet.shown is not None and not packet.left_out]
        keys = [packet.shown for packet in packets if packet.shown is not None and packet.key]
        if not shown:
            raise ValueError("it does not say when its frames are shown")
        unit = float(stream.time_base or 0)
        starts, end = np.sort(np.asarray(shown, dtype=np.float64)) * unit, ends[stream.index]
        if stream.duration is not None:
            # some count from the first frame, some from zero
            _refuse_if_cut_off(max(end, end - starts[0]), stream.duration * unit)
        elif container.duration is not None:
            _refuse_if_cut_off(max(ends.values()), container.duration / av.time_base)
        exact = (
            container.format.name in INDEXED
            and stream.codec.canonical_name in ONE_BY_ONE
            and stream.frames in (0, len(packets))  # decord makes room for as many as the header claims
            and _is_plain(packets)
            and all(_begins_at(container, stream, place) for place in {shown[0], *keys[-1:]})
        )
    turned = round(first.rotation / 90) % 2
    return _Clip(starts, end, *((first.height, first.width) if turned else (first.width, first.height)), exact)


def _is_plain(packets: list[_Packet]) -> bool:
    """Whether it is known when each frame is shown, and decoding can begin at any key frame.

    Where frames that are shown before a key frame follow it in the file, they need what came before: whoever begins at
    the key frame misses them, and decord, which counts frames, then takes later ones for those that were asked for.
    """
    begin = None
    for packet in packets:
        if packet.shown is None or (begin is not None and packet.shown < begin):
            return False
        if packet.key:
            begin = packet.shown
    return packets[0].key


def _begins_at(container: InputContainer, stream: VideoStream, place: int) -> bool:
    """Whether this frame is the first that decoding gives after a jump to it.

    Where one cannot jump, decord says so on the terminal and goes wrong; and frames may be marked as key frames from
    which a decoder needs a few more until it has a whole picture.
    """
    try:
        container.seek(place, stream=stream)
        return next(container.decode(stream)).pts == place
    except (FFmpegError, StopIteration):
        return False


def _refuse_if_cut_off(present: float, promised: float) -> None:
    if promised - present > max(0.2, MAY_LACK * promised):
        raise ValueError(f"cut off: {max(present, 0):.1f} of {promised:.1f} seconds are there")


def _by_decord(source: str, clip: _Clip, wanted: Collection[int]) -> Frames:
    reader = decord.VideoReader(source, width=clip.width, height=clip.height, num_threads=1, fault_tol=_NO_REPEATS)
    starts = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
    if len(starts) != len(clip.starts) or not np.allclose(starts - starts[0], clip.starts - clip.starts[0], atol=1e-3):
        raise ValueError("decord does not know when frames are shown, and would take some for others")
    # one by one: its batches pass over a place that it cannot find, and hold the frame beside it
    frames = {number: reader[number].asnumpy() for number in sorted(set(wanted))}
    if any(frame.shape != (clip.height, clip.width, 3) for frame in frames.values()):
        raise ValueError("decord takes the padding of narrow frames for pixels")
    return frames


def _by_pyav(source: Source, clip: _Clip, guess: list[int], sampling: Sampling) -> tuple[list[int], Frames]:
    """The same frames; every one is decoded, so this is slower in long clips."""
    frames, starts = _decode_all(source, clip, guess)
    # of frames that hang on one that was lost, decoders leave some out without a word
    _refuse_if_cut_off(starts[-1] - clip.starts[0], clip.starts[-1] - clip.starts[0])
    # the container may know less well than the decoder when frames are shown, and which can be
    wanted = choose_frames(starts, starts[-1] + clip.end - clip.starts[-1], sampling).tolist()
    if not frames.keys() >= set(wanted):
        frames, _ = _decode_all(source, clip, wanted)
    return wanted, frames


def _decode_all(source: Source, clip: _Clip, wanted: Collection[int]) -> tuple[Frames, NDArray[np.float64]]:
    """Every frame is decoded; the wanted ones are kept, and when each appears in seconds."""
    frames: Frames = {}
    starts: list[float] = []
    kept = set(wanted)
    with _open(source) as container:
        for number, frame in enumerate(container.decode(_pictures(container))):
            starts.append(0.0 if frame.time is None else frame.time)
            if number in kept:
                quarters = round(frame.rotation / 90)
                width, height = (clip.height, clip.width) if quarters % 2 else (clip.width, clip.height)
                array = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BICUBIC")
                frames[number] = np.ascontiguousarray(np.rot90(array, quarters))
    if not starts:
        raise ValueError("none of its frames can be decoded")
    # frames come in the order in which they are shown; only their times can be mixed up, in AVIs
    return frames, np.sort(np.asarray(starts))
