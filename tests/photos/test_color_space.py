"""AdobeRGB and other spaces, said in other ways than by a profile in the file."""

import struct
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, TiffImagePlugin

from flowercolor.errors import ImageError
from flowercolor.photos.icc import matrix_profile
from flowercolor.photos.reader import read_photo
from tests.photos.test_icc import ADOBE_RGB
from tests.pictures import deep_png, gray_of, saved, smooth

D65 = (0.3127, 0.3290)
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))


def exif_of_space(space: int, index: str | None) -> bytes:
    exif = Image.Exif()
    camera: dict[int, Any] = {ExifTags.Base.ColorSpace: space}
    if index:
        camera[ExifTags.IFD.Interop] = {ExifTags.Interop.InteropIndex: index}
    exif[ExifTags.IFD.Exif] = camera
    return exif.tobytes()


@pytest.mark.parametrize(
    ("space", "index", "adobe"),
    [(0xFFFF, "R03", True), (2, None, True), (1, "R98", False), (0xFFFF, None, False)],
)
def test_adobe_rgb_may_be_said_by_exif(space: int, index: str | None, adobe: bool) -> None:
    exif = exif_of_space(space, index)
    luma = read_photo(saved(smooth(), "PNG", exif=exif)).luma
    embedded = read_photo(saved(smooth(), "PNG", icc_profile=ADOBE_RGB)).luma
    expected = embedded if adobe else gray_of(smooth())
    assert np.abs(luma.astype(int) - expected).max() <= 1
    assert np.abs(embedded.astype(int) - gray_of(smooth())).max() > 4


def test_a_png_may_state_its_primaries_and_its_gamma() -> None:
    deep = smooth().astype(np.uint16) * 257
    chromaticities = [31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000]
    stated = {
        "gAMA": struct.pack(">I", round(100_000 * 256 / 563)),
        "cHRM": struct.pack(">8I", *chromaticities),
    }
    expected = read_photo(saved(smooth(), "PNG", icc_profile=ADOBE_RGB)).luma
    assert np.abs(read_photo(deep_png(deep, **stated)).luma / 257 - expected).max() <= 2
    with_srgb = read_photo(deep_png(deep, sRGB=b"\0", **stated)).luma
    np.testing.assert_array_equal(with_srgb, gray_of(deep))
    nearly = read_photo(deep_png(deep, gAMA=struct.pack(">I", 45455))).luma
    np.testing.assert_array_equal(nearly, gray_of(deep))


def test_a_png_may_name_code_points_which_go_before_a_profile() -> None:
    deep = smooth().astype(np.uint16) * 257
    profile = matrix_profile(P3, D65, None)
    expected = read_photo(saved(smooth(), "PNG", icc_profile=profile)).luma
    luma = read_photo(deep_png(deep, cICP=bytes([12, 13, 0, 1]))).luma
    assert np.abs(luma / 257 - expected).max() <= 2
    np.testing.assert_array_equal(
        read_photo(deep_png(deep, cICP=bytes([1, 13, 0, 1]))).luma, gray_of(deep)
    )
    with pytest.raises(ImageError, match="is of high dynamic range"):
        read_photo(deep_png(deep, cICP=bytes([9, 16, 0, 1])))


@pytest.mark.parametrize("stated", [0, 1, 45, 10_000_000, 2**32 - 1])
def test_a_gamma_out_of_all_reason_counts_as_none(stated: int) -> None:
    deep = smooth().astype(np.uint16) * 257
    luma = read_photo(deep_png(deep, gAMA=struct.pack(">I", stated))).luma
    np.testing.assert_array_equal(luma, gray_of(deep))


@pytest.mark.parametrize("broken", [(0.0, 0.0), (0.3127, 0.0), (40_000, 40_000), (0.7, 0.05)])
def test_a_broken_white_point_counts_as_none(broken: tuple[float, float]) -> None:
    white = [round(value * 100_000) for value in broken]
    chunk = struct.pack(">8I", *white, 64000, 33000, 21000, 71000, 15000, 6000)
    deep = smooth().astype(np.uint16) * 257
    np.testing.assert_array_equal(read_photo(deep_png(deep, cHRM=chunk)).luma, gray_of(deep))


def test_the_profile_made_of_adobe_rgbs_numbers_is_that_of_its_colorants() -> None:
    made = matrix_profile(ADOBE, D65, 563 / 256)
    lumas = [
        read_photo(saved(smooth(), "TIFF", icc_profile=profile)).luma.astype(int)
        for profile in (made, ADOBE_RGB)
    ]
    assert np.abs(lumas[0] - lumas[1]).max() <= 1


def rationals(values: Any) -> tuple[Any, ...]:
    return tuple(TiffImagePlugin.IFDRational(round(value * 10_000), 10_000) for value in values)


def exif_of_primaries(space: int, gamma: float | None) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.WhitePoint] = rationals(D65)
    exif[ExifTags.Base.PrimaryChromaticities] = rationals(np.ravel(ADOBE))
    camera: dict[int, Any] = {ExifTags.Base.ColorSpace: space}
    if gamma:
        camera[ExifTags.Base.Gamma] = rationals([gamma])[0]
    exif[ExifTags.IFD.Exif] = camera
    return exif.tobytes()


def as_bmp(rgb: Any, kind: bytes, *, ends: bytes = b"", gamma: int = 0, icc: bytes = b"") -> bytes:
    """A BMP of version 5 with 24 bits a pixel."""
    height, width, _ = rgb.shape
    pixels: bytes = rgb[::-1, :, ::-1].tobytes()
    head = struct.pack("<IiiHHI", 124, width, height, 1, 24, 0) + bytes(20 + 16) + kind[::-1]
    head += ends.ljust(36, b"\0") + struct.pack("<3I", *3 * [gamma]) + bytes(4)
    head += struct.pack("<3I", 124 + len(pixels), len(icc), 0)
    content = head + pixels + icc
    return b"BM" + struct.pack("<IIi", 14 + len(content), 0, 14 + 124) + content


def calibrated(rgb: Any) -> bytes:
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in (*ADOBE, D65)]).T
    ends = (columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])).T.ravel()
    fixed = struct.pack("<9i", *(int(value * 2**30) for value in ends))
    return as_bmp(rgb, bytes(4), ends=fixed, gamma=round(2.2 * 65536))


def in_tiff(rgb: Any) -> bytes:
    curve = [round(65535 * (level / 255) ** 2.2) for level in range(256)]
    tags = {318: rationals(D65), 319: rationals(np.ravel(ADOBE)), 301: tuple(3 * curve)}
    return saved(rgb, "TIFF", tiffinfo=tags)


@pytest.mark.parametrize(
    ("store", "adobe"),
    [
        (lambda rgb: saved(rgb, "PNG", exif=exif_of_primaries(0xFFFF, 2.2)), True),
        (lambda rgb: saved(rgb, "PNG", exif=exif_of_primaries(0xFFFF, None)), True),
        (lambda rgb: saved(rgb, "PNG", exif=exif_of_primaries(1, 2.2)), False),
        (in_tiff, True),
        (calibrated, True),
        (lambda rgb: as_bmp(rgb, b"MBED", icc=ADOBE_RGB), True),
        (lambda rgb: as_bmp(rgb, b"MBED", icc=b"broken"), False),
        (lambda rgb: as_bmp(rgb, b"sRGB"), False),
        (lambda rgb: as_bmp(rgb, bytes(4)), False),
    ],
)
def test_primaries_may_be_said_by_exif_a_tiff_or_a_bmp(store: Any, adobe: bool) -> None:
    luma = read_photo(store(smooth())).luma
    embedded = read_photo(saved(smooth(), "PNG", icc_profile=ADOBE_RGB)).luma
    expected = embedded if adobe else gray_of(smooth())
    assert np.abs(luma.astype(int) - expected).max() <= 2
