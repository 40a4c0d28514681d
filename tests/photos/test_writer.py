import io
import re
import struct
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from flowercolor.errors import ImageError, SettingError, StorageError
from flowercolor.photos.reader import read_photo
from flowercolor.photos.writer import encode_photo, write_photo
from tests.pictures import FORMATS, Array, gray_of, noise, opened, saved, smooth

ORIENTATION = ExifTags.Base.Orientation
SOFTWARE = ExifTags.Base.Software


def encode_icc() -> bytes:
    return bytes(opened(encode_photo(noise(1, 1, 3), "JPEG")).info["icc_profile"])


def test_the_embedded_profile_is_srgb_and_has_no_date_of_today() -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(encode_icc()))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert encode_icc()[24:28] == struct.pack(">HH", 2000, 1)


def test_a_png_names_its_software_in_a_text_as_well() -> None:
    assert opened(encode_photo(noise(2, 2, 3), "PNG", software="me")).info["Software"] == "me"


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


@pytest.mark.parametrize("file_format", [*FORMATS, "BMP"])
def test_pixels_may_have_any_byte_order(file_format: str) -> None:
    rgb, alpha = noise(4, 4, 3, dtype=np.uint16), noise(4, 4, dtype=np.uint16)
    turned = encode_photo(rgb.astype(">u2"), file_format, alpha=alpha.astype(">u2"))
    assert turned == encode_photo(rgb, file_format, alpha=alpha)


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
    write_photo(str(path), smooth())
    assert read_photo(path).colored
    assert [left.name for left in path.parent.iterdir()] == [path.name]


def test_the_format_can_differ_from_the_ending(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg", smooth(), file_format="PNG")
    assert read_photo(tmp_path / "a.jpg").metadata.file_format == "PNG"


@pytest.mark.parametrize(
    ("file_format", "most_px"), [("JPEG", 65_500), ("WEBP", 16_383), ("AVIF", 65_536)]
)
def test_what_a_format_does_not_hold_is_said_and_no_library_prints(
    file_format: str, most_px: int, capfd: pytest.CaptureFixture[str]
) -> None:
    if file_format in FORMATS:
        assert encode_photo(np.zeros((1, most_px, 3), np.uint8), file_format)
        with pytest.raises(ImageError, match=f"1x{most_px + 1} .* at most {most_px} on a side"):
            encode_photo(np.zeros((most_px + 1, 1, 3), np.uint8), file_format)
        assert capfd.readouterr().err == ""


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    path.write_bytes(b"old")
    with pytest.raises(
        ImageError,
        match=rf"^{re.escape(str(path))}: a picture of 20000x1 pixels .* WEBP: .+"
        r"; choose another format$",
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


@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif", ".webp", ".bmp"])
@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_an_empty_picture_is_refused_before_anything_is_written(
    tmp_path: Path, ending: str, size: tuple[int, int]
) -> None:
    with pytest.raises(ImageError, match=r"of one pixel at least$"):
        write_photo(tmp_path / f"a{ending}", np.zeros((*size, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ImageError, match=r"of one pixel at least$"):
        encode_photo(np.zeros((*size, 3), np.uint8), ending[1:])


@pytest.mark.parametrize("rgb", [noise(4, 4), noise(4, 4, 4), np.zeros((4, 4, 3), np.float32)])
def test_pixels_of_another_kind_are_refused(rgb: Array) -> None:
    with pytest.raises(ImageError, match=r"a\.png: .*expected uint8 or uint16"):
        write_photo("a.png", None)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="expected uint8 or uint16"):
        encode_photo(rgb, "PNG")


def test_opacity_of_another_size_and_other_formats_are_refused() -> None:
    for alpha, found in ((noise(4, 6), r"uint8 \[4, 6\]"), (np.ones((6, 4)), r"float64 \[6, 4\]")):
        with pytest.raises(ImageError, match=rf"opacity is {found} and the picture \[6, 4, 3\]; "):
            encode_photo(noise(6, 4, 3), "PNG", alpha=alpha)
    with pytest.raises(SettingError, match="file_format is 'GIF'; expected one of AVIF, BMP, JPE"):
        encode_photo(noise(6, 4, 3), "GIF")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"quality": 500}, "quality is 500; expected 1 to 100"),
        ({"quality": 0}, "quality is 0; expected 1 to 100"),
        ({"quality": -5}, "quality is -5; expected 1 to 100"),
        ({"quality": "95"}, "quality is '95'; expected a whole number"),
        ({"quality": 95.0}, "quality is 95.0; expected a whole number"),
        ({"subsampling": "4:4:0"}, "subsampling is '4:4:0'; expected one of 4:4:4, "),
        ({"subsampling": ["4:4:4"]}, "subsampling is .*; expected one of 4:4:4, "),
        ({"file_format": 5}, "file_format is 5; expected one of AVIF, "),
        ({"software": 5}, "software is 5; expected a text"),
        ({"metadata": {"dpi": (300, 300)}}, "metadata is of the type dict; expected a `Metadata`"),
    ],
)
@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_a_setting_that_is_wrong_is_not_laid_to_the_picture(
    tmp_path: Path, options: dict[str, Any], said: str, ending: str
) -> None:
    with pytest.raises(SettingError, match=f"^{said}"):
        write_photo(tmp_path / f"a{ending}", smooth(), **options)
    assert list(tmp_path.iterdir()) == []
    rgb = smooth()
    assert encode_photo(rgb, "JPEG", quality=np.int64(95)) == encode_photo(rgb, "JPEG")


def test_a_file_that_is_there_is_told_so_without_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_photo(path, smooth(), overwrite=False)
    said = "is there already; expected a name that is free; `overwrite` replaces it"
    with pytest.raises(StorageError, match=f"^{re.escape(str(path))}: {said}$"):
        write_photo(path, smooth(), overwrite=False)


@pytest.mark.parametrize(("file_format", "channels"), [("PNG", 3), ("PNG", 4), ("TIFF", 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_of_several_blocks_is_written_whole(
    file_format: str, channels: int, dtype: Any, tmp_path: Path
) -> None:
    picture = noise(400, 3000, channels, dtype=dtype)
    rgb, alpha = picture[..., :3], picture[..., 3] if channels == 4 else None
    content = encode_photo(rgb, file_format, alpha=alpha)
    bgra = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert bgra is not None
    np.testing.assert_array_equal(bgra[..., [2, 1, 0, 3][:channels]], picture)
    write_photo(tmp_path / "a", rgb, file_format=file_format, alpha=alpha)
    assert (tmp_path / "a").read_bytes() == content


def test_a_pillow_image_is_not_written_without_what_it_holds_beside_its_pixels(
    tmp_path: Path,
) -> None:
    image: Any = Image.fromarray(smooth())
    with pytest.raises(ImageError, match="the picture is a Pillow image, whose EXIF and DPI would"):
        write_photo(tmp_path / "a.jpg", image)
    assert not (tmp_path / "a.jpg").exists()
