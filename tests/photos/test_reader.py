import errno
import io
import os
import struct
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin

from flowercolor.errors import ImageError, SettingError
from flowercolor.photos import formats, reader
from flowercolor.photos.formats import load_plugins
from flowercolor.photos.metadata import Header, Metadata, probe
from flowercolor.photos.pictures import luma_of
from flowercolor.photos.reader import decode_with, read_photo
from flowercolor.photos.writer import encode_photo, write_photo
from tests.pictures import (
    FORMATS,
    Array,
    camera_exif,
    deep_png,
    exif_with,
    gray_of,
    no_photos,
    noise,
    opened,
    saved,
    smooth,
)

ORIENTATION = ExifTags.Base.Orientation
SOFTWARE = ExifTags.Base.Software

TURNS: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


def test_a_gray_png_is_its_own_luma() -> None:
    gray = noise(33, 47)
    photo = read_photo(saved(gray, "PNG"))
    assert photo.luma.dtype == np.uint8
    np.testing.assert_array_equal(photo.luma, gray)
    assert photo.alpha is None
    assert not photo.colored
    assert photo.metadata == Metadata("PNG")


def test_luma_is_opencv_gray_of_a_picture_of_many_blocks() -> None:
    """Over 2 megapixels, so that the rows of the blocks have to meet."""
    rgb = noise(1500, 1501, 3)
    np.testing.assert_array_equal(read_photo(saved(rgb, "BMP")).luma, gray_of(rgb))


@settings(deadline=None, max_examples=150)
@given(
    file_format=st.sampled_from(FORMATS),
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"]),
    orientation=st.integers(1, 8),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
)
def test_every_mode_in_every_orientation_gives_the_upright_luma(
    file_format: str, mode: str, orientation: int, height: int, width: int
) -> None:
    image = Image.fromarray(noise(height, width, 4)).convert("RGB").convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(noise(height, width, seed=1)))
    exif = exif_with({ORIENTATION: orientation})
    try:
        content = saved(image, file_format, exif=exif)
    except (OSError, KeyError):  # the format has no such mode
        return
    photo = read_photo(content)
    expected = ImageOps.exif_transpose(opened(content))
    np.testing.assert_array_equal(photo.luma, gray_of(np.asarray(expected.convert("RGB"))))
    if expected.has_transparency_data:
        np.testing.assert_array_equal(photo.alpha, np.asarray(expected.convert("RGBA"))[..., 3])
    else:
        assert photo.alpha is None
    assert photo.metadata.file_format == file_format


@settings(deadline=None, max_examples=60)
@given(channels=st.integers(1, 4), orientation=st.integers(1, 8), width=st.integers(1, 9))
def test_16_bit_pngs_keep_every_bit(channels: int, orientation: int, width: int) -> None:
    samples = noise(5, width, channels, dtype=np.uint16)
    photo = read_photo(deep_png(samples, eXIf=exif_with({ORIENTATION: orientation})[6:]))
    upright = TURNS[orientation](samples)
    expected = upright[..., 0] if channels < 3 else gray_of(upright[..., :3])
    assert photo.luma.dtype == np.uint16
    np.testing.assert_array_equal(photo.luma, expected)
    if channels in (2, 4):
        np.testing.assert_array_equal(photo.alpha, upright[..., -1])
    else:
        assert photo.alpha is None


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("with_alpha", [False, True])
def test_16_bit_tiffs_keep_every_bit(orientation: int, with_alpha: bool) -> None:
    rgba = noise(5, 7, 4, dtype=np.uint16)
    alpha = rgba[..., 3] if with_alpha else None
    upright = encode_photo(rgba[..., :3], "TIFF", alpha=alpha)
    entry = struct.pack("<HHI", ORIENTATION, 3, 1)
    assert upright.count(entry + b"\1") == 1
    photo = read_photo(upright.replace(entry + b"\1", entry + bytes([orientation])))
    turned = TURNS[orientation](rgba)
    np.testing.assert_array_equal(photo.luma, gray_of(turned[..., :3]))
    if with_alpha:
        np.testing.assert_array_equal(photo.alpha, turned[..., 3])


def test_a_fourth_channel_that_is_not_opacity_is_left_out() -> None:
    rgba = noise(5, 7, 4, dtype=np.uint16)
    content = encode_photo(rgba[..., :3], "TIFF", alpha=rgba[..., 3])
    entry = struct.pack("<HHI", 338, 3, 1)
    photo = read_photo(content.replace(entry + b"\2", entry + b"\0"))
    assert photo.alpha is None
    np.testing.assert_array_equal(photo.luma, gray_of(rgba[..., :3]))


def test_16_bit_gray_tiff_where_white_is_zero_is_not_a_negative() -> None:
    gray = noise(5, 7, dtype=np.uint16)
    content = saved(gray, "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(read_photo(content).luma, 65535 - gray)


def tiff_of(
    content: bytes, width: int, height: int, bits: tuple[int, ...], compression: int = 1
) -> bytes:
    """A TIFF of these bytes as its one strip, of as many samples a pixel as there are bits."""
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    values = {
        256: width,
        257: height,
        258: bits,
        259: compression,
        262: 1 if len(bits) < 3 else 2,
        273: 0,
    }
    for tag, value in (values | {277: len(bits), 278: height, 279: len(content)}).items():
        ifd[tag] = value
    buffer = io.BytesIO()
    ifd.save(buffer)
    return buffer.getvalue() + content


def test_12_bit_gray_is_as_bright_as_it_is() -> None:
    gray = noise(4, 6, dtype=np.uint16) >> 4
    first, second = gray[:, ::2].ravel(), gray[:, 1::2].ravel()
    packed = np.stack((first >> 4, (first & 15) << 4 | second >> 8, second & 255), axis=1)
    photo = read_photo(tiff_of(packed.astype(np.uint8).tobytes(), 6, 4, (12,)))
    np.testing.assert_array_equal(photo.luma, np.round(gray * (65535 / 4095)))


@pytest.mark.parametrize("channels", [2, 5])
def test_a_tiff_of_an_unusual_kind_is_not_called_damaged_alone(channels: int) -> None:
    content = noise(4, 4, channels, dtype=np.uint16).tobytes()
    with pytest.raises(
        ImageError, match="damaged TIFF or one of an unusual kind; expected a whole"
    ):
        read_photo(tiff_of(content, 4, 4, (16,) * channels))


def test_a_tiff_of_a_codec_that_pillow_lacks_is_not_called_damaged_alone() -> None:
    with pytest.raises(ImageError, match="damaged TIFF or one of an unusual kind"):
        read_photo(tiff_of(saved(smooth(), "WEBP"), 80, 60, (8, 8, 8), 50001))


def test_pages_are_counted_and_the_first_is_read() -> None:
    pages = [Image.fromarray(noise(5, 7, seed=number)) for number in range(3)]
    album = read_photo(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert album.pages == 3
    np.testing.assert_array_equal(album.luma, np.asarray(pages[0]))
    assert read_photo(saved(pages[0], "TIFF")).pages == 1
    assert read_photo(saved(pages[0], "GIF", save_all=True, append_images=pages[1:])).pages == 2
    assert read_photo(saved(pages[0], "GIF", loop=0, duration=50)).pages == 1


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"garbage", b"Exif\0\0II*\0", b"Exif\0\0II"])
def test_broken_exif_is_left_out_and_the_photo_is_read(file_format: str, exif: bytes) -> None:
    content = saved(smooth(), file_format, exif=exif, lossless=True)
    photo = read_photo(content)
    np.testing.assert_array_equal(photo.luma, gray_of(smooth()))
    assert photo.metadata.exif == b""
    np.testing.assert_array_equal(luma_of(opened(content))[0], photo.luma)


def test_what_is_no_path_is_refused_in_one_line() -> None:
    given: Any = np.zeros((9, 9), np.uint8)
    with pytest.raises(ImageError, match=r"^the picture: is no path; expected that of a photo.*$"):
        read_photo(given)


def test_a_photo_is_named_by_a_text_too(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png", smooth())
    assert np.array_equal(
        read_photo(str(tmp_path / "a.png")).luma, read_photo(tmp_path / "a.png").luma
    )


@pytest.mark.parametrize("source", [None, 5, io.BytesIO()])
def test_what_is_no_path_is_refused(source: Any) -> None:
    with pytest.raises(ImageError, match="is no path; expected that of a photo, or its bytes"):
        read_photo(source)


@pytest.mark.parametrize("max_pixels", ["x", 0, None, 1.5, True])
def test_a_setting_that_is_wrong_is_not_laid_to_the_photo(max_pixels: Any) -> None:
    with pytest.raises(SettingError, match=f"^max_pixels is {max_pixels!r}; expected "):
        read_photo(encode_photo(smooth(), "JPEG"), max_pixels=max_pixels)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_is_refused_without_waiting_for_somebody_to_write(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert probe(tmp_path / "a.png") is None
    with pytest.raises(ImageError, match=r"a\.png: is a pipe or a device; expected a file$"):
        read_photo(tmp_path / "a.png")


def test_the_transparent_gray_of_a_16_bit_png_is_transparent() -> None:
    samples = np.arange(12, dtype=np.uint16).reshape(3, 4, 1)
    photo = read_photo(deep_png(samples, tRNS=struct.pack(">H", 7)))
    np.testing.assert_array_equal(photo.alpha, np.where(samples[..., 0] == 7, 0, 65535))


def test_the_transparent_color_of_an_8_bit_png_and_gif_is_transparent() -> None:
    image = Image.fromarray(smooth()).quantize(8)
    for file_format in ("PNG", "GIF"):
        content = saved(image, file_format, transparency=3)
        photo = read_photo(content)
        rgba = np.asarray(opened(content).convert("RGBA"))
        assert 0 < (rgba[..., 3] == 0).mean() < 1
        np.testing.assert_array_equal(photo.alpha, rgba[..., 3])
        np.testing.assert_array_equal(photo.luma, gray_of(rgba[..., :3]))


def test_cmyk_jpegs_are_no_negatives() -> None:
    """Adobe stores CMYK inverted; white has to stay white."""
    rgb = smooth()
    luma = read_photo(saved(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=100)).luma
    assert np.abs(luma.astype(int) - gray_of(rgb)).max() <= 4


def test_lab_tiffs_are_converted() -> None:
    rgb = smooth()
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(srgb, lab, "RGB", "LAB")
    content = saved(transform.apply(Image.fromarray(rgb)), "TIFF")
    assert np.abs(read_photo(content).luma.astype(int) - gray_of(rgb)).mean() < 4


def sepia(gray: Array) -> Array:
    tone = gray[..., None] / 255
    dark, light = np.array([40, 20, 10]), np.array([255, 240, 205])
    middle = np.array([30, 5, -25]) * 4 * tone * (1 - tone)
    toned: Array = dark + (light - dark) * tone + middle
    return np.clip(toned, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("rgb", "colored"),
    [
        (smooth(), True),
        (np.dstack([gray_of(smooth())] * 3), False),
        (sepia(gray_of(smooth())), False),
        (sepia(cv2.GaussianBlur(noise(200, 200), (0, 0), 1)), False),
        (np.full((50, 50, 3), (200, 180, 140), np.uint8), False),
        (noise(1, 1, 3), False),
    ],
    ids=["colors", "gray", "sepia", "sepia with grain", "one color", "one pixel"],
)
def test_toning_is_no_color(rgb: Array, colored: bool) -> None:
    assert read_photo(saved(rgb, "PNG")).colored is colored
    assert read_photo(saved(rgb, "JPEG", quality=60)).colored is colored
    assert read_photo(deep_png(rgb.astype(np.uint16) * 257)).colored is colored


def test_a_small_flower_on_a_gray_photo_is_color() -> None:
    rgb = np.dstack([cv2.GaussianBlur(noise(200, 300), (0, 0), 3)] * 3)
    rgb[90:120, 100:140] = (210, 30, 60)
    assert read_photo(saved(rgb, "JPEG", quality=80)).colored


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EIO, "Input/output error"), "cannot be read: Input/output error"),
        (MemoryError("too much"), "takes more memory than there is"),
        (OSError("image file is truncated"), "is a damaged PNG"),
    ],
)
def test_what_is_not_the_photos_fault_is_not_laid_to_it(error: Exception, reason: str) -> None:
    def fail(*_: Any) -> None:
        raise error

    with pytest.raises(ImageError, match=f"^a.png: {reason}"):
        decode_with(fail, saved(noise(4, 4), "PNG"), "a.png")


def heic(pixels: Array, **options: Any) -> bytes:
    pillow_heif.register_heif_opener()
    return saved(pixels, "HEIF", quality=-1, **options)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_heic_is_read_upright_with_what_it_has(channels: int) -> None:
    pixels = np.dstack((smooth(), gray_of(smooth())))[..., :channels]
    exif = exif_with({ORIENTATION: 6, ExifTags.Base.Artist: "Zoe"})
    photo = read_photo(heic(pixels.squeeze(), exif=exif))
    gray = pixels[..., 0] if channels == 1 else gray_of(pixels[..., :3])
    assert np.abs(photo.luma.astype(int) - np.rot90(gray, -1)).max() <= 3
    assert photo.colored == (channels > 1)
    assert photo.metadata.file_format == "HEIF"
    found = Image.Exif()
    found.load(photo.metadata.exif)
    assert found[ExifTags.Base.Artist] == "Zoe"
    assert found[ORIENTATION] == 1
    if channels == 4:
        assert photo.alpha is not None
        assert np.abs(photo.alpha.astype(int) - np.rot90(pixels[..., 3], -1)).max() <= 3
    else:
        assert photo.alpha is None


def test_a_cut_heic_is_damaged() -> None:
    content = heic(smooth())
    with pytest.raises(ImageError, match="is a damaged HEIF"):
        read_photo(content[: len(content) // 2])
    with pytest.raises(ImageError, match="is a damaged HEIF"):
        read_photo(content[:40])


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("length", [14, 60])
def test_a_cut_photo_is_a_damaged_one(file_format: str, length: int) -> None:
    content = saved(noise(40, 40, 3), file_format)
    with pytest.raises(ImageError, match=r"is a damaged|is no photo") as caught:
        read_photo(content[:length])
    if file_format in ("TIFF", "WEBP", "AVIF"):
        assert "is a damaged" in str(caught.value)


def test_the_first_picture_of_an_mpo_is_a_jpeg() -> None:
    first, second = (Image.fromarray(rgb) for rgb in (smooth(), smooth()[::-1]))
    photo = read_photo(saved(first, "MPO", save_all=True, append_images=[second], quality=95))
    assert photo.metadata.file_format == "JPEG"
    assert np.abs(photo.luma.astype(int) - gray_of(smooth())).max() <= 4


def test_heic_without_its_package_is_told_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "phone.heic"
    path.write_bytes(heic(smooth()))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF")
    formats.load_plugins.cache_clear()
    with pytest.raises(
        ImageError, match=r"^.*phone\.heic: is a HEIC photo.*pip install \S*\[heic\]"
    ):
        read_photo(path)
    formats.load_plugins.cache_clear()


def test_what_is_no_whole_photo_is_told_in_one_line(tmp_path: Path) -> None:
    for name, path in no_photos(tmp_path).items():
        with pytest.raises(ImageError) as caught:
            read_photo(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: "), name
        assert len(message.splitlines()) == 1
        if name not in ("folder", "missing"):
            assert "expected" in message, message
    with pytest.raises(ImageError, match=r"^the picture: is no photo .* 'Dear Zoe"):
        read_photo(b"Dear Zoe, the roses are out.")


def test_a_photo_with_too_many_pixels_is_refused() -> None:
    """Opacity and 16 bits a channel take twice the memory."""
    photos = {
        1200: saved(noise(30, 40), "PNG"),
        2400: saved(noise(30, 40, 4), "PNG"),
        2401: deep_png(noise(30, 40, 3, dtype=np.uint16)),
    }
    for pixels, content in photos.items():
        assert read_photo(content, max_pixels=pixels).luma.shape == (30, 40)
        with pytest.raises(ImageError, match=r"has 1,200 pixels; expected .*`max_pixels`"):
            read_photo(content, max_pixels=pixels - 2)


def test_the_sample_of_a_narrow_picture_is_small() -> None:
    rgb = np.full((44, 60_000, 3), 200, np.uint8)
    assert len(reader._reduced(rgb, (60_000_000, 44))) <= 2 * 60_000 * 44 // 1_000
    assert len(reader._reduced(rgb, (60_000, 4_400))) == 44 // 34 * (60_000 // 34)


@pytest.mark.parametrize("file_format", [*FORMATS, "GIF"])
def test_pillows_own_limit_is_neither_met_nor_changed(
    file_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = saved(np.full((1030, 1024, 3), 200, np.uint8), file_format)
    limit = reader._BLOCK_PIXELS  # which cutting has, too
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert read_photo(content).luma.shape == (1030, 1024)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_threads_read_at_once_and_leave_the_warnings_as_they_were() -> None:
    """The EXIF is cut, at which Pillow warns; here every warning is an error."""
    exif = camera_exif()[:-30]
    contents = [
        saved(noise(40, 40, 3, seed=seed), file_format, exif=exif)
        for seed, file_format in enumerate(["JPEG", "PNG", "WEBP"] * 8)
    ]
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(read_photo, contents))
    assert list(warnings.filters) == before
    for photo, content in zip(together, contents, strict=True):
        np.testing.assert_array_equal(photo.luma, read_photo(content).luma)


def test_a_jpeg_that_lacks_its_two_end_bytes_alone_is_whole() -> None:
    for progressive in (False, True):
        content = saved(noise(40, 56, 3), "JPEG", quality=80, progressive=progressive)
        whole = read_photo(content).luma
        for missing in (1, 2):
            np.testing.assert_array_equal(read_photo(content[:-missing]).luma, whole)
        for missing in (6, 100):
            with pytest.raises(ImageError, match="is a damaged JPEG"):
                read_photo(content[:-missing])
            with pytest.raises(ImageError, match="is a damaged JPEG"):
                read_photo(content[:-missing] + bytes(missing))
        np.testing.assert_array_equal(read_photo(content + bytes(99)).luma, whole)


def test_a_progressive_jpeg_cut_between_its_scans_is_damaged() -> None:
    content = saved(smooth(), "JPEG", progressive=True)
    last_scan = content.rindex(b"\xff\xc4")
    with pytest.raises(ImageError, match="is a damaged JPEG"):
        read_photo(content[:last_scan])


def with_frame(content: bytes, marker: int, bits: int) -> bytes:
    at = content.index(b"\xff\xc0")
    return (
        content[: at + 1]
        + bytes([marker])
        + content[at + 2 : at + 4]
        + bytes([bits])
        + (content[at + 5 :])
    )


@pytest.mark.parametrize(
    ("marker", "bits", "kind"),
    [(0xC1, 12, "of 12 bits"), (0xC3, 8, "without loss"), (0xF7, 8, "of the kind JPEG-LS")],
)
def test_a_jpeg_of_a_kind_that_is_not_read_is_called_so(marker: int, bits: int, kind: str) -> None:
    content = with_frame(saved(noise(8, 8), "JPEG"), marker, bits)
    with pytest.raises(ImageError, match=f"is a JPEG {kind}, which is not read; expected"):
        read_photo(content)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "BMP"])
def test_what_begins_like_a_photo_is_a_damaged_one(file_format: str) -> None:
    content = saved(noise(8, 8), file_format)
    with pytest.raises(ImageError, match=f"is a damaged {file_format}"):
        read_photo(content[:14])


def damaged(content: bytes, at: int, length: int) -> bytes:
    return content[:at] + bytes(length) + content[at + length :]


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("PNG", {}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 80}),
    ],
)
def test_pixels_that_were_zeroed_are_missed(file_format: str, options: dict[str, Any]) -> None:
    gray = cv2.GaussianBlur(noise(120, 160), (0, 0), 2)
    content = saved(np.dstack([gray] * 3), file_format, **options)
    size = len(content)
    places = {"WEBP": [size - 300]}.get(file_format, [size // 2, size - 700])
    for at in places:
        with pytest.raises(ImageError, match="is a damaged"):
            read_photo(damaged(content, at, 300))


@pytest.mark.parametrize("level", [0, 1, 255])
def test_a_webp_that_is_plain_is_whole(level: int) -> None:
    plain = np.full((2000, 3000), level, np.uint8)
    assert read_photo(saved(np.dstack([plain] * 3), "WEBP")).luma.shape == (2000, 3000)


def test_a_tiff_with_fewer_strips_than_rows_is_damaged() -> None:
    content = tiff_of(noise(8, 8).tobytes(), 8, 8, (8,))
    rows = struct.pack("<HHI", 278, 4, 1)
    with pytest.raises(ImageError, match="is a damaged TIFF: it has 1 strips of 2"):
        read_photo(content.replace(rows + b"\x08", rows + b"\x04"))


def test_few_bytes_that_promise_many_pixels_get_no_memory() -> None:
    content = saved(noise(8, 8), "JPEG")
    at = content.index(b"\xff\xc0") + 5
    with pytest.raises(ImageError, match="cannot hold 15000x15000 pixels"):
        read_photo(content[:at] + struct.pack(">HH", 15_000, 15_000) + content[at + 4 :])


def test_a_thumbnail_ahead_of_the_photo_is_passed_over(tmp_path: Path) -> None:
    pages = [Image.fromarray(noise(*size)) for size in ((8, 12), (64, 96), (8, 12))]
    content = saved(
        pages[0], "TIFF", save_all=True, append_images=pages[1:], tiffinfo={254: 1, 269: "a rose"}
    )
    at = content.index(struct.pack("<HHI", 254, 4, 1), content.index(b"a rose"))
    path = tmp_path / "a.tif"
    path.write_bytes(content[: at + 8] + bytes(4) + content[at + 12 :])
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.luma, np.asarray(pages[1]))
    assert probe(path) == Header(width_px=96, height_px=64)
    assert photo.pages == 1, "thumbnails do not count"
    np.testing.assert_array_equal(read_photo(content).luma, np.asarray(pages[0]))


@pytest.mark.parametrize("pages", [1, 3])
def test_a_chain_of_pages_that_is_cut_or_goes_round_costs_no_page_before(pages: int) -> None:
    images = [Image.fromarray(noise(5, 7, seed=number)) for number in range(pages)]
    content = saved(images[0], "TIFF", save_all=True, append_images=images[1:])
    first = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, first)[0]
    link = first + 2 + 12 * count
    for target in (first, 10**9):
        again = content[:link] + struct.pack("<I", target) + content[link + 4 :]
        photo = read_photo(again)
        assert photo.pages == 1
        np.testing.assert_array_equal(photo.luma, np.asarray(images[0]))


def test_the_raw_file_of_a_camera_is_refused_by_its_kind() -> None:
    """Where the directory says so, whose own picture is a thumbnail."""
    for tags in ({50706: b"\1\4\0\0"}, {254: 1, 330: 8}):
        with pytest.raises(ImageError, match="is the raw file of a camera"):
            read_photo(saved(noise(8, 12), "TIFF", tiffinfo=tags))
    content = saved(noise(8, 12), "TIFF")
    with pytest.raises(ImageError, match=r"raw file|damaged"):
        read_photo(content[:8] + b"CR\2\0" + content[12:])


def test_texts_of_any_length_do_not_cost_a_png() -> None:
    gray = noise(16, 16)
    whole = saved(gray, "PNG")
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "rose " * 400_000, zip=True)
    content = saved(gray, "PNG", pnginfo=text)
    np.testing.assert_array_equal(read_photo(content).luma, gray)
    chunk = content[33 : content.index(b"IDAT") - 4]
    end = whole.index(b"IEND") - 4
    np.testing.assert_array_equal(read_photo(whole[:end] + chunk + whole[end:]).luma, gray)


def test_a_compression_that_16_bits_cannot_have_is_named() -> None:
    content = encode_photo(noise(4, 4, 3, dtype=np.uint16), "TIFF")
    entry = struct.pack("<HHI", 259, 3, 1)
    Image.init()
    with pytest.raises(ImageError, match=r"16-bit channels compressed by zstd|is a damaged TIFF"):
        read_photo(content.replace(entry + b"\1\0", entry + struct.pack("<H", 50000)))


def hand_made_tiff(*below: dict[int, int]) -> bytes:
    """A TIFF of 4x4 gray pixels, with directories below its own."""
    plain = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 4, 279: 16}
    content = b"II*\0" + bytes(4) + bytes(range(16))
    places: list[int] = []
    for tags in (*below, {}):
        entries = plain | tags
        if tags == {} and places:
            entries[330] = places[0] if len(places) == 1 else len(content)
            content += struct.pack(f"<{len(places)}I", *places) if len(places) > 1 else b""
        places.append(len(content))
        content += struct.pack("<H", len(entries))
        for tag, value in sorted(entries.items()):
            content += struct.pack("<HHII", tag, 4, len(below) if tag == 330 else 1, value)
        content += bytes(4)
    return content[:4] + struct.pack("<I", places[-1]) + content[8:]


def test_what_a_sensor_saw_is_found_below_the_first_directory() -> None:
    """Of which Sony, Samsung and Kodak do not say that it is a thumbnail."""
    assert read_photo(hand_made_tiff()).luma.shape == (4, 4)
    assert read_photo(hand_made_tiff({254: 1}, {254: 1})).luma.shape == (4, 4)
    for below in ([{262: 32803}], [{254: 1}, {262: 32803}], [{262: 34892}]):
        with pytest.raises(ImageError, match="is the raw file of a camera"):
            read_photo(hand_made_tiff(*below))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"IIU\0\x18", "the raw file of a camera"),
        (b"\0\0\0\x18ftypcrx ", "the raw file of a camera"),
        (b"FUJIFILMCCD-RAW 0201", "the raw file of a camera"),
        (b"\0\0\0\x0cjP  \r\n", "a JPEG 2000"),
        (b"\xff\n\x0fA", "a JPEG XL"),
        (b"8BPS", "a file of Photoshop"),
    ],
)
def test_pictures_that_are_not_read_are_called_what_they_are(head: bytes, kind: str) -> None:
    with pytest.raises(ImageError, match=f"is {kind}, which is not read; expected one of JPEG"):
        read_photo(head + bytes(99))


def test_too_little_memory_for_a_plugin_costs_no_format_from_then_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process that goes on would call every JPEG no photo."""
    path = tmp_path / "a.jpg"
    Image.new("L", (9, 9)).save(path)

    def fail(_: str) -> None:
        raise ImportError("x.so: failed to map segment from shared object")

    load_plugins.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr("importlib.import_module", fail)
        with pytest.raises(ImageError, match="takes more memory than there is"):
            read_photo(path)
    assert read_photo(path).luma.shape == (9, 9)
