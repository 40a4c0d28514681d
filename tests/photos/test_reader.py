import errno
import io
import os
import re
import struct
import sys
import threading
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
from PIL import ExifTags, Image, ImageCms, ImageOps, TiffImagePlugin

from flowercolor.errors import ImageError, SettingError, StorageError
from flowercolor.photos import reader as images
from flowercolor.photos.reader import encode_photo, output_format, read_photo, write_photo
from tests.pictures import Array, deep_png, gray_of, noise, saved, smooth

ORIENTATION = ExifTags.Base.Orientation
SOFTWARE = ExifTags.Base.Software
Image.init()
FORMATS = [kind for kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF") if kind in Image.SAVE]

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


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def exif_with(tags: dict[int, Any]) -> bytes:
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = value
    return exif.tobytes()


# Luma


def test_a_gray_png_is_its_own_luma() -> None:
    gray = noise(33, 47)
    photo = read_photo(saved(gray, "PNG"))
    assert photo.luma.dtype == np.uint8
    np.testing.assert_array_equal(photo.luma, gray)
    assert photo.alpha is None
    assert not photo.colored
    assert photo.metadata == images.Metadata("PNG")


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


def tiff_of(content: bytes, width: int, height: int, bits: tuple[int, ...]) -> bytes:
    """A TIFF of these bytes as its one strip, of as many samples a pixel as there are bits."""
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    values = {256: width, 257: height, 258: bits, 259: 1, 262: 1 if len(bits) < 3 else 2, 273: 0}
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


def test_pages_are_counted_and_the_first_is_read() -> None:
    pages = [Image.fromarray(noise(5, 7, seed=number)) for number in range(3)]
    album = read_photo(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert album.pages == 3
    np.testing.assert_array_equal(album.luma, np.asarray(pages[0]))
    assert read_photo(saved(pages[0], "TIFF")).pages == 1
    assert read_photo(saved(pages[0], "GIF", save_all=True, append_images=pages[1:])).pages == 1


@pytest.mark.parametrize("file_format", [*FORMATS, "TIFF", "BMP"])
def test_a_file_says_that_it_was_made_here_where_it_has_room(
    file_format: str, tmp_path: Path
) -> None:
    written, foreign = tmp_path / "a.picture", tmp_path / "b.picture"
    write_photo(written, smooth(), file_format=file_format)
    foreign.write_bytes(saved(smooth(), file_format))
    assert images.made_here(written) == (file_format != "BMP")
    assert not images.made_here(foreign)
    assert not images.made_here(tmp_path / "missing")


def test_an_original_is_what_was_not_made_here(tmp_path: Path) -> None:
    """Whether it can be read or not."""
    made, foreign, empty = (tmp_path / name for name in ("a.png", "b.png", "c.png"))
    write_photo(made, smooth())
    foreign.write_bytes(saved(smooth(), "PNG"))
    empty.touch()
    (tmp_path / "d.bmp").write_bytes(saved(smooth(), "BMP"))
    cv2.imwrite(str(tmp_path / "e.tif"), np.full((4, 6, 3), 0.5, np.float32))
    (tmp_path / "f.png").write_bytes(b"damaged")
    (tmp_path / "g.png").mkdir()
    told = {path.name: images.is_original(path) for path in tmp_path.iterdir()}
    originals = {name for name, original in told.items() if original}
    assert originals == {"b.png", "e.tif", "f.png"}


def test_a_photo_is_named_by_a_text_too(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png", smooth())
    assert np.array_equal(
        read_photo(str(tmp_path / "a.png")).luma, read_photo(tmp_path / "a.png").luma
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_photo_can_come_through_a_pipe_which_is_looked_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    content = saved(smooth(), "PNG")
    writing = threading.Thread(target=lambda: (tmp_path / "a.png").write_bytes(content))
    assert images.peek_pixels(tmp_path / "a.png") == 0
    assert not images.made_here(tmp_path / "a.png")
    writing.start()
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png").luma, gray_of(smooth()))
    writing.join()


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


# Color of its own


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


# Metadata


def camera_exif() -> bytes:
    return exif_with(
        {
            ORIENTATION: 6,
            ExifTags.Base.Artist: "Zoë Müller".encode(),
            ExifTags.Base.Software: "scanner 1.0",
            ExifTags.Base.StripOffsets: 12345,
            ExifTags.IFD.Exif: {
                ExifTags.Base.DateTimeOriginal: "1931:05:17 12:00:00",
                ExifTags.Base.ExifImageWidth: 4000,
                ExifTags.Base.ColorSpace: 0xFFFF,
                ExifTags.Base.MakerNote: b"maker's own",
            },
            ExifTags.IFD.GPSInfo: {ExifTags.GPS.GPSLatitudeRef: "N"},
        }
    )


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("file_format", FORMATS)
def test_metadata_is_kept_and_says_what_colored_the_photo(file_format: str, depth: Any) -> None:
    source = saved(noise(6, 8), "JPEG", exif=camera_exif(), dpi=(300, 150))
    photo = read_photo(source)
    assert photo.luma.shape == (8, 6)
    rgb = noise(8, 6, 3, dtype=depth)
    content = encode_photo(rgb, file_format, metadata=photo.metadata, software="me 2.0")
    again = read_photo(content).metadata

    exif = Image.Exif()
    exif.load(again.exif)
    assert exif[ORIENTATION] == 1
    assert exif[SOFTWARE] == "me 2.0"
    assert exif[ExifTags.Base.Artist].encode("latin-1").decode() == "Zoë Müller"
    assert ExifTags.Base.StripOffsets not in exif
    camera = exif.get_ifd(ExifTags.IFD.Exif)
    assert camera[ExifTags.Base.DateTimeOriginal] == "1931:05:17 12:00:00"
    assert camera[ExifTags.Base.MakerNote] == b"maker's own"
    assert camera[ExifTags.Base.ExifImageWidth] == 6
    assert camera[ExifTags.Base.ColorSpace] == 1
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    assert exif[ExifTags.Base.XResolution] == 150  # turned with the photo
    assert exif[ExifTags.Base.YResolution] == 300
    if file_format in ("JPEG", "PNG", "TIFF"):
        assert again.dpi == pytest.approx((150, 300), abs=0.02)
    assert opened(content).info["icc_profile"] == encode_icc()


def encode_icc() -> bytes:
    return bytes(opened(encode_photo(noise(1, 1, 3), "JPEG")).info["icc_profile"])


def test_the_embedded_profile_is_srgb_and_has_no_date_of_today() -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(encode_icc()))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert encode_icc()[24:28] == struct.pack(">HH", 2000, 1)


def test_a_png_names_its_software_in_a_text_as_well() -> None:
    assert opened(encode_photo(noise(2, 2, 3), "PNG", software="me")).info["Software"] == "me"


def test_the_embedded_thumbnail_is_dropped() -> None:
    """It shows the gray photo, and file managers would show it."""
    thumbnail = b"\xff\xd8 gray \xff\xd9"
    ifd0 = struct.pack("<HHHIII", 1, ORIENTATION, 3, 1, 1, 26)
    ifd1 = struct.pack("<HHHIIHHIII", 2, 0x201, 4, 1, 56, 0x202, 4, 1, len(thumbnail), 0)
    block = b"Exif\0\0II*\0\x08\0\0\0" + ifd0 + ifd1 + thumbnail
    photo = read_photo(saved(noise(4, 4), "JPEG", exif=block))
    assert thumbnail not in encode_photo(noise(4, 4, 3), "JPEG", metadata=photo.metadata)


def test_exif_that_a_jpeg_cannot_hold_does_not_prevent_the_photo() -> None:
    exif = exif_with({ExifTags.IFD.Exif: {ExifTags.Base.UserComment: bytes(70_000)}})
    photo = read_photo(saved(noise(4, 4), "PNG", exif=exif))
    assert len(photo.metadata.exif) > 70_000
    content = encode_photo(noise(4, 4, 3), "JPEG", metadata=photo.metadata, software="me")
    assert opened(content).getexif()[SOFTWARE] == "me"


def test_of_more_exif_than_a_jpeg_holds_the_makers_note_goes_first() -> None:
    camera = {
        ExifTags.Base.MakerNote: bytes(65_400),
        ExifTags.Base.DateTimeOriginal: "1931:05:17 12:00:00",
    }
    exif = exif_with({ExifTags.Base.Copyright: "Zoë", ExifTags.IFD.Exif: camera})
    photo = read_photo(saved(noise(4, 4), "PNG", exif=exif))
    kept = opened(encode_photo(noise(4, 4, 3), "JPEG", metadata=photo.metadata)).getexif()
    assert ExifTags.Base.Copyright in kept
    assert ExifTags.Base.DateTimeOriginal in kept.get_ifd(ExifTags.IFD.Exif)
    assert ExifTags.Base.MakerNote not in kept.get_ifd(ExifTags.IFD.Exif)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EIO, "Input/output error"), "cannot be read: Input/output error"),
        (MemoryError("too much"), "takes more memory than there is"),
        (OSError("image file is truncated"), "is a damaged PNG"),
    ],
)
def test_what_is_not_the_photos_fault_is_not_laid_to_it(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_: Any) -> None:
        raise error

    content = saved(noise(4, 4), "PNG")
    monkeypatch.setattr(images, "_decode", fail)
    with pytest.raises(ImageError, match=reason):
        read_photo(content)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("file_format", FORMATS)
def test_dpi_are_those_of_the_upright_photo(file_format: str, orientation: int) -> None:
    """Some formats state them in EXIF alone, where they may be dots per cm."""
    across, down = (100.0, 100.0 if file_format == "JPEG" else 50.0)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = across, down
    exif[ExifTags.Base.ResolutionUnit] = 3
    dpi = read_photo(saved(noise(6, 8), file_format, exif=exif)).metadata.dpi
    upright = (across, down) if orientation == 1 else (down, across)
    assert dpi == pytest.approx([2.54 * one for one in upright])
    assert read_photo(saved(noise(6, 8), file_format)).metadata.dpi is None


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    ("stated", "dpi"),
    [
        ({282: 300.0, 283: 300.0}, (300, 300)),  # inches are meant where no unit is given
        ({282: 300.0, 283: 150.0, 296: 2}, (300, 150)),
        ({282: 118.0, 283: 59.0, 296: 3}, (299.72, 149.86)),
        ({282: 300.0, 283: 300.0, 296: 1}, None),  # of no unit: a ratio
        ({282: 300.0, 296: 2}, None),
        ({}, None),
    ],
)
def test_dpi_of_a_jpeg_may_stand_in_its_exif_alone(
    stated: dict[int, Any], dpi: tuple[float, float] | None, file_format: str
) -> None:
    """As of cameras, which write no JFIF header, and for which Pillow makes up 72."""
    whole = saved(noise(6, 8), "JPEG", exif=exif_with({**stated, ORIENTATION: 1}))
    jfif = whole.index(b"\xff\xe0")
    content = whole[:jfif] + whole[jfif + 18 :]
    assert opened(content).info.get("jfif") is None
    photo = read_photo(content)
    again = read_photo(encode_photo(noise(6, 8, 3), file_format, metadata=photo.metadata))
    for found in (photo.metadata.dpi, again.metadata.dpi):
        assert found == (dpi and pytest.approx(dpi, abs=0.3))  # of which JFIF has whole ones


def test_a_tag_that_cannot_be_written_costs_no_other() -> None:
    """Some scanners and cameras write them with other types than the standard's."""
    exif = Image.Exif()
    exif.load(camera_exif())
    camera, place = (exif.get_ifd(ifd) for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))
    camera[ExifTags.Base.ExposureTime] = place[ExifTags.GPS.GPSLatitude] = object()
    _, content = images._kept_exif(exif, {ExifTags.Base.Copyright: object(), SOFTWARE: "me"})
    again = Image.Exif()
    again.load(content)
    assert again[SOFTWARE] == "me"
    assert ExifTags.Base.Copyright not in again
    date = again.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal]
    assert date == "1931:05:17 12:00:00"
    assert ExifTags.Base.ExposureTime not in again.get_ifd(ExifTags.IFD.Exif)
    assert again.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_resolution_in_words_does_not_cost_the_date(file_format: str) -> None:
    """Such as of a scanner whose unit is text; the standard has a number there."""
    ifd0 = struct.pack("<HHHI4sHHIII", 2, 0x128, 2, 2, b"2", 0x132, 2, 20, 38, 0)
    block = b"Exif\0\0II*\0\x08\0\0\0" + ifd0 + b"1931:05:17 12:00:00\0"
    photo = read_photo(saved(noise(4, 4), "JPEG", exif=block))
    content = encode_photo(noise(4, 4, 3), file_format, metadata=photo.metadata)
    exif = Image.Exif()
    exif.load(read_photo(content).metadata.exif)
    assert exif[ExifTags.Base.DateTime] == "1931:05:17 12:00:00"


def test_damaged_exif_and_dpi_count_as_none() -> None:
    for exif in (b"Exif\0\0nonsense", camera_exif()[:60]):
        content = saved(noise(4, 4), "JPEG", exif=exif)
        assert read_photo(content).luma.shape[0] == 4
    content = saved(noise(4, 4), "TIFF", tiffinfo={282: 0.0, 283: 0.0, 296: 2})
    assert read_photo(content).metadata.dpi is None


# Writing


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_lossless_formats_keep_depth_and_alpha(
    file_format: str, dtype: Any, with_alpha: bool
) -> None:
    rgb = noise(9, 7, 3, dtype=dtype)
    alpha = noise(9, 7, dtype=dtype, seed=1) if with_alpha else None
    content = encode_photo(rgb, file_format, alpha=alpha)
    if dtype == np.uint8:
        pixels = np.asarray(opened(content))
    else:  # which Pillow would cut to 8
        bgr: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        pixels = cv2.cvtColor(bgr, cv2.COLOR_BGRA2RGBA if with_alpha else cv2.COLOR_BGR2RGB)
    expected = rgb if alpha is None else np.dstack((rgb, alpha))
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(read_photo(content).luma, gray_of(rgb))


def test_alpha_of_another_depth_is_brought_to_that_of_the_picture() -> None:
    rgb, alpha = noise(4, 4, 3, dtype=np.uint16), noise(4, 4)
    np.testing.assert_array_equal(
        read_photo(encode_photo(rgb, "PNG", alpha=alpha)).alpha, alpha.astype(np.uint16) * 257
    )


@pytest.mark.parametrize("file_format", [*FORMATS, "BMP"])
def test_16_bits_are_rounded_to_8_where_the_format_has_no_more(file_format: str) -> None:
    rgb = np.minimum(smooth().astype(np.uint16), 254) * 257 + 100
    eight = np.asarray(opened(encode_photo(rgb, file_format)).convert("RGB"))
    off = np.abs(eight.astype(int) - np.minimum(smooth(), 254)).max()
    assert off <= (0 if file_format == "BMP" else 14)


def test_transparency_is_laid_on_white_where_the_format_has_none() -> None:
    rgb = np.full((8, 24, 3), 40, np.uint8)
    alpha = np.repeat(np.array([[0, 128, 255]], np.uint8), 8, 1).repeat(8, 0)
    for file_format in ("JPEG", "BMP"):
        pixels = np.asarray(opened(encode_photo(rgb, file_format, alpha=alpha)))
        assert abs(int(pixels[4, 4, 0]) - 255) <= 2
        assert abs(int(pixels[4, 12, 0]) - 147) <= 2
        assert abs(int(pixels[4, 20, 0]) - 40) <= 2


def test_jpeg_quality_and_subsampling_are_as_asked() -> None:
    def sampling(content: bytes) -> int:
        return int(content[content.index(b"\xff\xc0") + 11])

    rgb = noise(99, 99, 3)
    best, small = encode_photo(rgb, "JPEG"), encode_photo(rgb, "JPEG", subsampling="4:2:0")
    assert (sampling(best), sampling(small)) == (0x11, 0x22)
    assert len(encode_photo(rgb, "JPEG", quality=50)) < len(best) / 2
    reference = saved(rgb, "JPEG", quality=95, subsampling=0)
    np.testing.assert_array_equal(np.asarray(opened(best)), np.asarray(opened(reference)))


def test_equal_pictures_make_equal_files() -> None:
    for file_format in [*FORMATS, "BMP"]:
        assert encode_photo(smooth(), file_format) == encode_photo(smooth(), file_format)


def test_names_need_not_be_ascii(tmp_path: Path) -> None:
    path = tmp_path / "Omas Gärten" / "Löwenmäulchen 金魚草.jpg"
    write_photo(path, smooth())
    assert read_photo(path).colored
    assert [left.name for left in path.parent.iterdir()] == [path.name]


def test_the_format_can_differ_from_the_ending(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg", smooth(), file_format="PNG")
    assert read_photo(tmp_path / "a.jpg").metadata.file_format == "PNG"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    path.write_bytes(b"old")
    with pytest.raises(
        ImageError, match=rf"^{re.escape(str(path))}: a picture of 20000x1 pixels .* WEBP: .+"
    ):
        write_photo(path, np.zeros((1, 20_000, 3), np.uint8))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(StorageError):
        write_photo(path / "below.jpg", smooth())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif", ".webp", ".bmp"])
def test_what_was_written_in_part_is_no_photo(tmp_path: Path, ending: str) -> None:
    """A limit in the midst of the file, as a disk is full: the last write is cut, not refused."""
    import resource

    path, rgb = tmp_path / f"a{ending}", noise(400, 400, 3)
    write_photo(path, rgb)
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) - 1000, hard))
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            write_photo(tmp_path / f"b{ending}", rgb)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [path]


def test_an_ending_that_cannot_be_written_is_refused_with_those_that_can() -> None:
    assert output_format(Path("A.JPG")) == "JPEG"
    assert output_format(Path("a.b.tif")) == "TIFF"
    for name in ("a.gif", "a", "a.xcf"):
        with pytest.raises(SettingError, match=rf"^{name}: .*\.jpg, .*\.png"):
            output_format(Path(name))


@pytest.mark.parametrize("rgb", [noise(4, 4), noise(4, 4, 4), np.zeros((4, 4, 3), np.float32)])
def test_pixels_of_another_kind_are_refused(rgb: Array) -> None:
    with pytest.raises(ImageError, match="expected uint8 or uint16"):
        encode_photo(rgb, "PNG")


def test_opacity_of_another_size_and_other_formats_are_refused() -> None:
    for alpha, found in ((noise(4, 6), r"uint8 \[4, 6\]"), (np.ones((6, 4)), r"float64 \[6, 4\]")):
        with pytest.raises(ImageError, match=rf"opacity is {found} and the picture \[6, 4, 3\]; "):
            encode_photo(noise(6, 4, 3), "PNG", alpha=alpha)
    with pytest.raises(ImageError, match="the format is 'GIF'; expected one of AVIF, BMP, JPEG, "):
        encode_photo(noise(6, 4, 3), "GIF")


# What cannot be read


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
    images._load_plugins.cache_clear()
    with pytest.raises(ImageError, match=r"^.*phone\.heic: is a HEIC photo.*flowercolor\[heic\]"):
        read_photo(path)
    images._load_plugins.cache_clear()


def no_photos(folder: Path) -> dict[str, Path]:
    whole = {
        "cut.jpg": saved(noise(50, 50, 3), "JPEG"),
        "cut.png": saved(noise(50, 50, 3), "PNG"),
        "cut16.png": deep_png(noise(50, 50, 3, dtype=np.uint16)),
        "cut16.tif": encode_photo(noise(50, 50, 3, dtype=np.uint16), "TIFF"),
        "cut.webp": saved(noise(50, 50, 3), "WEBP"),
        "cut.tif": saved(noise(50, 50, 3), "TIFF"),
        "cut.bmp": saved(noise(50, 50, 3), "BMP"),
    }
    contents = {name: content[: len(content) * 2 // 3] for name, content in whole.items()}
    tiff16 = whole["cut16.tif"]
    planar = struct.pack("<HHI", 284, 3, 1)
    contents |= {
        "empty.jpg": b"",
        "text.jpg": b"Dear Zoe, the roses are out.",
        "page.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "float.tif": saved(np.zeros((3, 3), np.float32), "TIFF"),
        "planar16.tif": tiff16.replace(planar + b"\1", planar + b"\2"),
    }
    paths = {"folder": folder, "missing": folder / "nothing here.jpg"}
    for name, content in contents.items():
        paths[name] = folder / name
        paths[name].write_bytes(content)
    return paths


def test_what_is_no_whole_photo_is_told_in_one_line(tmp_path: Path) -> None:
    for name, path in no_photos(tmp_path).items():
        with pytest.raises(ImageError) as caught:
            read_photo(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: "), name
        assert len(message.splitlines()) == 1
        if name not in ("folder", "missing"):
            assert "expected" in message, message
    with pytest.raises(ImageError, match=r"^the picture: is no photo .* b'Dear Zoe"):
        read_photo(b"Dear Zoe, the roses are out.")


def test_a_photo_with_too_many_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(noise(30, 40), "PNG")
    monkeypatch.setattr(images, "MAX_PIXELS", 1199)
    with pytest.raises(ImageError, match="megapixels"):
        read_photo(content)


@pytest.mark.parametrize("file_format", [*FORMATS, "GIF"])
def test_pillows_own_limit_is_neither_met_nor_changed(
    file_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = saved(noise(30, 40, 3), file_format)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with monkeypatch.context() as small_blocks:
        small_blocks.setattr(images, "_BLOCK_PIXELS", 200)  # cutting has the same limit
        assert read_photo(content).luma.shape == (30, 40)
    assert Image.MAX_IMAGE_PIXELS == 400


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


def test_the_size_is_known_from_the_header_alone(tmp_path: Path) -> None:
    sizes = {name: images.peek_pixels(path) for name, path in no_photos(tmp_path).items()}
    assert sizes["cut.jpg"] == sizes["cut16.png"] == sizes["cut.bmp"] == 2500
    assert all(not sizes[name] for name in ("folder", "missing", "empty.jpg", "text.jpg"))


def test_pictures_are_told_by_their_ending() -> None:
    names = ["a.jpg", "B.JPEG", "c.d.Tiff", "x.heic", ".hidden.jpg", "._a.jpg", "a.txt", "jpg"]
    assert [name for name in names if images.is_picture(Path(name))] == names[:4]
