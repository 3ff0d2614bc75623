"""Pictures as they are found on shared disks: strange ones that can be read, and broken ones that must be named."""

from __future__ import annotations

import io
import struct
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageSequence

SIZE = (40, 30)


class Picture(NamedTuple):
    """A file of a corpus.

    Attributes:
        name: Its file name.
        content: Its bytes.
        readable: It must be read; otherwise it must be named.
    """

    name: str
    content: bytes
    readable: bool


def photograph(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """Noise that is different in every place, in one of Pillow's modes."""
    random = np.random.default_rng(7)
    array = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(array).convert(mode)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file of that kind."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _png(width: int, height: int, depth: int = 8, kind: int = 2, rows: bytes = b"") -> bytes:
    """A PNG whose header claims what it likes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows)) if rows else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def _frames(count: int) -> list[Image.Image]:
    return [Image.new("RGB", SIZE, (40 * number, 0, 0)) for number in range(count)]


def _animated(kind: str) -> bytes:
    first, *rest = _frames(4)
    return encoded(first, kind, save_all=True, append_images=rest, duration=50)


def _with_exif(turn: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = turn
    return encoded(photograph(), "JPEG", exif=exif.tobytes())


def _sixteen_bits() -> bytes:
    array = np.linspace(0, 65535, SIZE[0] * SIZE[1]).astype(np.uint16).reshape(SIZE[1], SIZE[0])
    return encoded(Image.fromarray(array), "PNG")


def _see_through_palette() -> bytes:
    picture = photograph("RGB").quantize(16)
    return encoded(picture, "PNG", transparency=bytes([0] * 8 + [255] * 8))


def strange_pictures() -> list[Picture]:
    """Files that Pillow reads, if one knows how."""
    jpeg, png = encoded(photograph(), "JPEG"), encoded(photograph(), "PNG")
    made: dict[str, bytes] = {
        "cmyk.jpg": encoded(photograph("CMYK"), "JPEG"),
        "grey.jpg": encoded(photograph("L"), "JPEG"),
        "progressive.jpg": encoded(photograph(), "JPEG", progressive=True),
        "quality-1.jpg": encoded(photograph(), "JPEG", quality=1),
        "no-subsampling.jpg": encoded(photograph(), "JPEG", subsampling=0, quality=100),
        "upside-down-by-exif.jpg": _with_exif(3),
        "mirrored-by-exif.jpg": _with_exif(5),
        "impossible-exif.jpg": _with_exif(99),
        "profile.jpg": encoded(photograph(), "JPEG", icc_profile=b"\0" * 300),
        "bytes-behind-the-end.jpg": jpeg + b"<html>" * 50,
        "two-in-one-file.jpg": jpeg + jpeg,
        "palette.png": encoded(photograph().quantize(8), "PNG"),
        "see-through-palette.png": _see_through_palette(),
        "see-through.png": encoded(photograph("RGBA"), "PNG"),
        "grey-see-through.png": encoded(photograph("LA"), "PNG"),
        "one-bit.png": encoded(photograph("1"), "PNG"),
        "sixteen-bits.png": _sixteen_bits(),
        "thirty-two-bits.tiff": encoded(photograph("I"), "TIFF"),
        "floats.tiff": encoded(photograph("F"), "TIFF"),
        "lab.tiff": encoded(photograph("RGB").convert("LAB"), "TIFF"),
        "ycbcr.tiff": encoded(photograph("YCbCr"), "TIFF", compression="jpeg"),
        "pages.tiff": _animated("TIFF"),
        "animated.gif": _animated("GIF"),
        "animated.webp": _animated("WEBP"),
        "animated.png": _animated("PNG"),
        "lossless.webp": encoded(photograph("RGBA"), "WEBP", lossless=True),
        "windows.bmp": encoded(photograph(), "BMP"),
        "one-pixel.png": encoded(Image.new("RGB", (1, 1)), "PNG"),
        "one-pixel.jpg": encoded(Image.new("RGB", (1, 1)), "JPEG"),
        "one-pixel-wide.png": encoded(Image.new("RGB", (1, 300)), "PNG"),
        "jpeg-called.png": jpeg,
        "png-called.jpg": png,
        "gif-called.jpeg": _animated("GIF"),
        "capitals.JPG": jpeg,
        "with spaces and (brackets).jpg": jpeg,
        "percent%20and#hash.jpg": jpeg,
        "ünïcödé-写真-صورة-🦝.jpg": jpeg,
        "-begins-with-a-dash.jpg": jpeg,
        "line\nbreak.jpg": jpeg,
        "[markup].jpg": jpeg,
        "escape\x1b[31m.jpg": jpeg,
    }
    return [Picture(name, content, True) for name, content in made.items()]


def _flipped(content: bytes, start: int, count: int) -> bytes:
    spoiled = bytearray(content)
    for place in range(start, min(start + count, len(content))):
        spoiled[place] ^= 0xFF
    return bytes(spoiled)


def broken_pictures() -> list[Picture]:
    """Files that no one can read, or that no one should."""
    jpeg, png = encoded(photograph(), "JPEG"), encoded(photograph(), "PNG")
    webp, gif = encoded(photograph(), "WEBP"), encoded(photograph(), "GIF")
    bmp, tiff = encoded(photograph(), "BMP"), encoded(photograph(), "TIFF")
    made: dict[str, bytes] = {
        "empty.jpg": b"",
        "one-byte.jpg": b"\xff",
        "zeros.jpg": bytes(5000),
        "text.jpg": b"404: not found\n",
        "page.jpg": b"<!DOCTYPE html><html><body>Too many requests</body></html>",
        "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
        "pickle.jpg": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n.",
        "archive.jpg": b"PK\x03\x04" + bytes(100),
        "half.jpg": jpeg[: len(jpeg) // 2],
        "without-its-end.jpg": jpeg[:-400],
        "header-alone.jpg": jpeg[:20],
        "half.png": png[: len(png) // 2],
        "header-alone.png": png[:33],
        "no-pixels.png": _png(40, 30),
        "wrong-sum.png": _flipped(png, 30, 2),
        "spoiled-pixels.png": _flipped(png, 60, 40),
        "zero-wide.png": _png(0, 30),
        "impossible-depth.png": _png(40, 30, depth=7),
        "impossible-kind.png": _png(40, 30, kind=5),
        "bomb-30000.png": _png(30_000, 30_000, rows=bytes(90_001)),
        "bomb-2-31.png": _png(2**31 - 1, 2**31 - 1, rows=bytes(10)),
        "half.webp": webp[: len(webp) // 2],
        "header-alone.webp": webp[:16],
        "half.gif": gif[: len(gif) // 2],
        "header-alone.gif": gif[:13],
        "half.bmp": bmp[: len(bmp) // 2],
        "half.tiff": tiff[: len(tiff) // 2],
        "line.png": encoded(Image.new("RGB", (30_000, 1)), "PNG"),
        "drawing.svg.png": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "program.eps.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\nshowpage\n",
        "film.jpg": b"\x00\x00\x00\x20ftypisom" + bytes(200),
    }
    return [Picture(name, content, False) for name, content in made.items()]


def all_pictures() -> list[Picture]:
    """Both."""
    return strange_pictures() + broken_pictures()


def first_frame(content: bytes) -> Image.Image:
    """What the first frame of an animation is."""
    with Image.open(io.BytesIO(content)) as opened:
        return next(iter(ImageSequence.Iterator(opened))).convert("RGB")
