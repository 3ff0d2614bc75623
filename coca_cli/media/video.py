"""Clips: a file -> a few frames, chosen by time, as the squares that a model was trained on."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av
import decord
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition
from numpy.typing import NDArray
from PIL import Image

from coca_cli.datasets.example import Medium, Pixels
from coca_cli.errors import BadExample
from coca_cli.media.images import ImageSettings, fit_image

SPARE = 2
"""Frames are decoded no smaller than this many times the model's square, and then fitted as pictures are."""

MOMENT = 1e-6
"""Seconds: a frame that appears at the wanted time, up to rounding, is shown then."""

MAY_LACK = 0.05
"""A file that ends sooner than it says by more than this part, and by more than a tenth of a second, was cut off.
Headers are rounded, and sound may go on a little after the last picture."""

_SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi")  # an index leads decord to the right frame
_NO_REPEATS = "0.000001"  # of the frames: decord shall fail rather than repeat one for another that it cannot decode

decord.logging.set_level(decord.logging.QUIET)
av.logging.set_level(None)

Source = str | bytes
Frames = dict[int, NDArray[np.uint8]]  # (height, width, 3) RGB, upright, by number


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
    exact: bool  # decord finds frames by their number


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


def read_frames(medium: Medium, settings: ImageSettings, sampling: Sampling) -> NDArray[np.uint8]:
    """The chosen frames of a clip, upright.

    Decord decodes files, where it is sure to find the frames that are asked for; the rest is PyAV's, and only what
    that cannot read either is unreadable.

    Args:
        medium: A file in a container that FFmpeg knows, or its bytes.
        settings: How frames become the model's input.
        sampling: Which frames.

    Returns:
        (views * frames, 3, size, size) uint8.

    Raises:
        BadExample: It is missing, damaged, cut off, or has no pictures.
    """
    if isinstance(medium, Pixels):
        raise BadExample(f"{medium}: a drawn picture is no clip")
    try:
        # `file:` keeps FFmpeg from taking a name with a colon for an address
        source: Source = f"file:{medium}" if isinstance(medium, Path) else medium.read_bytes()
        clip = _inspect(source)
        wanted, frames = _read(source, clip, sampling, *_reduced(clip, settings.size))
    except FileNotFoundError:
        raise BadExample(f"{medium}: the file does not exist") from None
    except BadExample as error:
        raise BadExample(f"{medium}: {error}") from None
    except (FFmpegError, OSError, ValueError) as error:
        raise BadExample(f"{medium}: not a clip that can be read ({_reason(error)})") from None
    fitted = {number: fit_image(Image.fromarray(frame), settings) for number, frame in frames.items()}
    return np.stack([fitted[number] for number in wanted])


def _read(source: Source, clip: _Clip, sampling: Sampling, width: int, height: int) -> tuple[list[int], Frames]:
    wanted = choose_frames(clip.starts, clip.end, sampling).tolist()
    # decord reads outside its memory where damaged bytes point outside them, which ends the whole process
    if clip.exact and isinstance(source, str):
        try:
            return wanted, _by_decord(source, clip, wanted, width, height)
        except Exception:  # besides its own errors decord raises those of its checks and of iterators
            pass
    return _by_pyav(source, clip, sampling, width, height)
