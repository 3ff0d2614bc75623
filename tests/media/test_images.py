from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from coca_cli.datasets.example import Member, Pixels
from coca_cli.errors import BadExample
from coca_cli.media import images
from coca_cli.media.images import OPENAI_MEAN, OPENAI_STD, ImageSettings, fit_crops, fit_image, normalise, read_image
from tests.pictures import drawn, jpeg_bytes

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes, tmp_path: Path, name: str = "picture") -> Image.Image:
    (tmp_path / name).write_bytes(data)
    return read_image(tmp_path / name)


def quarters() -> Image.Image:
    """Red, green, blue and white quarters, 32 x 32 pixels."""
    array = np.zeros((32, 32, 3), dtype=np.uint8)
    array[:16, :16], array[:16, 16:], array[16:, :16], array[16:, 16:] = RED, GREEN, BLUE, WHITE
    return Image.fromarray(array)


def assert_quarters(picture: Image.Image, tolerance: int = 0) -> None:
    assert (picture.mode, picture.size) == ("RGB", (32, 32))
    for place, colour in {(7, 7): RED, (24, 7): GREEN, (7, 24): BLUE, (24, 24): WHITE}.items():
        found = picture.getpixel(place)
        assert np.abs(np.subtract(found, colour)).max() <= tolerance, (place, found)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("GIF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 3),
        ("JPEG", {"quality": 95, "progressive": True}, 4),
        ("PPM", {}, 0),
    ],
)
def test_formats_are_told_by_their_bytes(kind: str, options: dict[str, Any], tolerance: int, tmp_path: Path) -> None:
    assert_quarters(opened(encoded(quarters(), kind, **options), tmp_path, "a.jpg"), tolerance)


def test_a_cmyk_jpeg_has_the_right_colours(tmp_path: Path) -> None:
    """Inverted, as Adobe writes them, they would come out as the complements."""
    data = encoded(quarters().convert("CMYK"), "JPEG", quality=95, subsampling=0)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "CMYK"
    assert_quarters(opened(data, tmp_path), tolerance=6)


def test_a_grey_picture_becomes_three_equal_channels(tmp_path: Path) -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    array = np.asarray(opened(encoded(ramp, "PNG"), tmp_path))
    assert (array == np.asarray(ramp)[..., None]).all()


@pytest.mark.parametrize("colours", [4, 256])
def test_a_palette_becomes_its_colours(colours: int, tmp_path: Path) -> None:
    data = encoded(quarters().quantize(colours), "PNG")
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "P"
    assert_quarters(opened(data, tmp_path), tolerance=1)


@pytest.mark.parametrize("transparency", [0, bytes([0, 128, 255, 255])])
def test_a_palette_with_transparency_keeps_its_colours(transparency: int | bytes, tmp_path: Path) -> None:
    """As conversion to RGB does everywhere: what lies under the transparency is shown, without a warning."""
    data = encoded(quarters().quantize(4), "PNG", transparency=transparency)
    with Image.open(io.BytesIO(data)) as picture:
        assert "transparency" in picture.info
    assert_quarters(opened(data, tmp_path), tolerance=1)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_alpha_is_left_out(mode: str, tmp_path: Path) -> None:
    source = quarters() if mode == "RGBA" else quarters().convert("L")
    picture = source.convert(mode)
    if mode != "PA":
        picture.putalpha(Image.fromarray(np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))))
    found = opened(encoded(picture, "TIFF" if mode == "PA" else "PNG"), tmp_path)
    assert (np.asarray(found) == np.asarray(source.convert("RGB"))).all()


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    board = np.indices((16, 16)).sum(axis=0) % 2 == 0
    array = np.asarray(opened(encoded(Image.fromarray(board), "PNG"), tmp_path))
    assert (array == np.where(board, 255, 0)[..., None]).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped_to_white(kind: str, tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 1000], [20000, 32768, 65279, 65535]], dtype=np.uint16)
    array = np.asarray(opened(encoded(Image.fromarray(values), kind), tmp_path))
    assert array.shape == (2, 4, 3)
    assert (array == (values >> 8)[..., None]).all()


def png_of_16_bit_colours(values: NDArray[np.uint16]) -> bytes:
    """(H, W, 3) uint16 as PNG, which Pillow reads and cannot write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, _ = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_sixteen_bit_colours_are_scaled(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    array = np.asarray(opened(png_of_16_bit_colours(values), tmp_path))
    assert np.abs(array.astype(int) - values / 257).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_shows_its_first_frame(kind: str, tmp_path: Path) -> None:
    frames = [quarters(), Image.new("RGB", (32, 32), BLUE), Image.new("RGB", (32, 32), WHITE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, **options)
    with Image.open(io.BytesIO(data)) as picture:
        assert getattr(picture, "n_frames", 1) == 3
    assert_quarters(opened(data, tmp_path), tolerance=1)


def test_rotation_marks_of_cameras_are_not_applied(tmp_path: Path) -> None:
    """As in the published evaluations."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(drawn(0, (40, 24)), "JPEG", exif=exif)
    assert opened(data, tmp_path).size == (40, 24)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_off_jpeg_is_damaged(part: float, tmp_path: Path) -> None:
    data = jpeg_bytes(drawn(0, (200, 150)))
    with pytest.raises(BadExample, match=r"cut\.jpg: (damaged picture \(.+\)|not a picture that can be read)"):
        opened(data[: int(len(data) * part)], tmp_path, "cut.jpg")


def test_a_cut_off_real_photograph_is_damaged(test_data: Path, tmp_path: Path) -> None:
    photograph = next(iter(sorted((test_data / "imagenet" / "val").rglob("*.JPEG"))))
    data = photograph.read_bytes()
    assert min(opened(data, tmp_path).size) > 50
    for part in (0.05, 0.3, 0.7, 0.95):
        with pytest.raises(BadExample, match=r"damaged picture \(image file is truncated"):
            opened(data[: int(len(data) * part)], tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_cut_off_files_of_every_kind_are_refused(kind: str, tmp_path: Path) -> None:
    try:
        data = encoded(drawn(0, (64, 48)), kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {kind}")
    for part in (0.02, 0.3, 0.8):
        with pytest.raises(BadExample, match=r"damaged picture|not a picture that can be read"):
            opened(data[: int(len(data) * part)], tmp_path)


@pytest.mark.parametrize("content", [b"", b"a caption\n", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"<svg></svg>"])
def test_what_is_no_picture_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadExample, match=r"fake\.jpg: (not a picture that can be read|damaged picture)"):
        opened(content, tmp_path, "fake.jpg")


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_gives_a_picture_or_a_bad_example(seed: int, tmp_path: Path) -> None:
    """Never another error, whatever the decoder stumbles over."""
    random = np.random.default_rng(seed)
    for kind in ("JPEG", "PNG", "GIF", "BMP", "PPM", "TGA", "ICO"):
        data = bytearray(encoded(drawn(seed), kind))
        for place in random.integers(0, min(len(data), 300), 4):
            data[place] = random.integers(0, 256)
        with suppress(BadExample):
            assert opened(bytes(data), tmp_path).mode == "RGB"


def test_an_encapsulated_postscript_program_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would hand it to Ghostscript."""
    ran = []
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: ran.append(1))
    data = encoded(drawn(0), "EPS")
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "EPS"
    with pytest.raises(BadExample, match=r"evil\.jpg: not a picture that can be read"):
        opened(data, tmp_path, "evil.jpg")
    assert not ran


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadExample, match=r"gone\.jpg: the file does not exist"):
        read_image(tmp_path / "gone.jpg")


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(BadExample, match=r"damaged picture \(.*Is a directory"):
        read_image(tmp_path)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("RGB", (100, 100)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(BadExample, match=r"bomb\.png: damaged picture \(Image size \(10000 pixels\) exceeds limit"):
        opened(data, tmp_path, "bomb.png")


def test_large_photographs_are_no_bombs() -> None:
    assert Image.MAX_IMAGE_PIXELS == 250_000_000


def member(data: bytes, size: int, tmp_path: Path) -> Member:
    """The data behind 512 other bytes of a shard."""
    (tmp_path / "shard.tar").write_bytes(b"x" * 512 + data)
    return Member(tmp_path / "shard.tar", "0001.jpg", 512, size)


def test_a_picture_inside_a_shard(tmp_path: Path) -> None:
    data = encoded(quarters(), "PNG")
    assert_quarters(read_image(member(data + b"the next member", len(data), tmp_path)))


@pytest.mark.parametrize("part", [0, 0.5, 0.9])
def test_a_member_that_is_cut_off_is_named(part: float, tmp_path: Path) -> None:
    data = jpeg_bytes(drawn(0, (200, 150)))
    with pytest.raises(BadExample, match=r"shard\.tar:0001\.jpg: (damaged picture|not a picture)"):
        read_image(member(data[: int(len(data) * part)], len(data), tmp_path))


def test_a_member_of_a_shard_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadExample, match=r"gone\.tar:0001\.jpg: the file does not exist"):
        read_image(Member(tmp_path / "gone.tar", "0001.jpg", 0, 10))


def test_pixels_are_taken_as_they_are() -> None:
    array = np.asarray(quarters())
    assert_quarters(read_image(Pixels(array, "drawn")))


def test_a_border_is_cut_from_each_side(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(array), "PNG"))
    assert (np.asarray(read_image(tmp_path / "a.png", border=3)) == array[3:-3, 3:-3]).all()
    assert (np.asarray(read_image(Pixels(array, "drawn"), border=2)) == array[2:-2, 2:-2]).all()
    assert read_image(tmp_path / "a.png", border=9).size == (12, 2)
    with pytest.raises(BadExample, match=r"a\.png: 30 x 20 pixels leave nothing inside a border of 10"):
        read_image(tmp_path / "a.png", border=10)


@pytest.mark.parametrize("size", [(501, 1), (1, 501), (30000, 2)])
def test_a_line_is_no_picture(size: tuple[int, int], tmp_path: Path) -> None:
    """Resized by its shorter side it would fill the memory."""
    with pytest.raises(BadExample, match=f"{size[0]} x {size[1]} pixels are a line, not a picture"):
        opened(encoded(Image.new("RGB", size), "PNG"), tmp_path)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 1000), (2000, 9)])
@pytest.mark.parametrize("resize", ["shortest", "squash"])
def test_extreme_shapes_fit(size: tuple[int, int], resize: Any, tmp_path: Path) -> None:
    picture = opened(encoded(Image.new("RGB", size, (10, 20, 30)), "PNG"), tmp_path)
    pixels = fit_image(picture, ImageSettings(size=32, resize=resize))
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == np.uint8
    assert (pixels == np.array([10, 20, 30])[:, None, None]).all()


SIZES = [(32, 32), (33, 31), (200, 150), (150, 200), (31, 64), (500, 37), (37, 500), (1, 1), (7, 9), (640, 480)]


def their_transform(settings: ImageSettings) -> Callable[[Image.Image], torch.Tensor]:
    config = PreprocessCfg(
        size=settings.size,
        mean=settings.mean,
        std=settings.std,
        interpolation=settings.interpolation,
        resize_mode=settings.resize,
    )
    transform: Callable[[Image.Image], torch.Tensor] = image_transform_v2(config, is_train=False)
    return transform


@pytest.mark.peer
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "settings",
    [
        ImageSettings(size=32),
        ImageSettings(size=33, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)),
        ImageSettings(size=32, resize="squash"),
        ImageSettings(size=32, interpolation="bilinear"),
        ImageSettings(size=224),
    ],
    ids=["default", "odd", "squash", "bilinear", "224"],
)
def test_a_fitted_picture_is_open_clips_to_the_last_bit(size: tuple[int, int], settings: ImageSettings) -> None:
    random = np.random.default_rng(size[0])
    picture = Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    found = normalise(torch.from_numpy(fit_image(picture, settings).copy())[None], settings)[0]
    assert torch.equal(found, their_transform(settings)(picture))


@pytest.mark.peer
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_every_shape_is_torchvisions_to_the_last_bit(interpolation: Any) -> None:
    """Halves are rounded in both ways where the middle is cut out."""
    random, mode = np.random.default_rng(0), InterpolationMode(interpolation)
    spares = set()
    for _ in range(300):
        width, height, size = (int(side) for side in random.integers(1, 90, 3))
        picture = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        settings = ImageSettings(size=size, interpolation=interpolation)
        resized = transforms.resize(picture, size, mode)
        spares.add((max(resized.size) - size) % 4)
        cropped = np.asarray(transforms.center_crop(resized, size)).transpose(2, 0, 1)
        assert np.array_equal(fit_image(picture, settings), cropped), (width, height, size)
        squashed = np.asarray(transforms.resize(picture, [size, size], mode)).transpose(2, 0, 1)
        assert np.array_equal(fit_image(picture, replace(settings, resize="squash")), squashed), (width, height, size)
        ends = fit_crops(picture, settings, 2)
        last = transforms.crop(resized, resized.height - size, resized.width - size, size, size)
        assert np.array_equal(ends[0], np.asarray(transforms.crop(resized, 0, 0, size, size)).transpose(2, 0, 1))
        assert np.array_equal(ends[1], np.asarray(last).transpose(2, 0, 1))
    assert spares == {0, 1, 2, 3}


@pytest.mark.peer
def test_real_photographs_are_open_clips_to_the_last_bit(test_data: Path) -> None:
    settings = ImageSettings()
    transform = open_clip.image_transform(224, is_train=False, mean=OPENAI_MEAN, std=OPENAI_STD)
    photographs = sorted((test_data / "imagenet" / "val").rglob("*.JPEG"))[::10]
    assert len(photographs) >= 15
    for path in photographs:
        ours = normalise(torch.from_numpy(fit_image(read_image(path), settings).copy())[None], settings)[0]
        with Image.open(path) as picture:
            assert torch.equal(ours, transform(picture)), path


def test_normalising_keeps_the_batch_and_gives_single_precision() -> None:
    settings = ImageSettings(size=4, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    out = normalise(pixels, settings)
    assert out.dtype == torch.float32
    assert out[0, :, 0, 0].tolist() == [0, -1, -4]
    assert out[1, :, 0, 0].tolist() == [1, 1, 0]


def test_the_default_is_open_clips() -> None:
    settings = ImageSettings()
    assert (
        (settings.mean, settings.std)
        == (OPENAI_MEAN, OPENAI_STD)
        == (
            open_clip.OPENAI_DATASET_MEAN,
            open_clip.OPENAI_DATASET_STD,
        )
    )
    assert (settings.size, settings.interpolation, settings.resize) == (224, "bicubic", "shortest")
    assert images.MAX_ASPECT >= 100


@pytest.mark.parametrize("turned", [False, True])
def test_squares_along_the_longer_side(turned: bool) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, :10, 0] = wide[:, 10:20, 1] = wide[:, 20:, 2] = 200
    picture = Image.fromarray(wide.swapaxes(0, 1) if turned else wide)
    found = fit_crops(picture, ImageSettings(size=10), 3)
    assert found.shape == (3, 3, 10, 10)
    assert [square.mean(axis=(1, 2)).round().tolist() for square in found] == (200 * np.eye(3)).tolist()
    (middle,) = fit_crops(picture, ImageSettings(size=10), 1)
    assert np.array_equal(middle, found[1])
    assert np.array_equal(middle, fit_image(picture, ImageSettings(size=10)))
