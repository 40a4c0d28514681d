import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from flowercolor.photos.reader import read_photo
from tests.pictures import Array, deep_png, gray_of, noise, saved


def icc_profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4xI4s4s4s", start + len(body), 0x0240_0000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + xyz(0.9642, 1.0, 0.8249)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def srgb_table(entries: int) -> bytes:
    encoded = np.linspace(0, 1, entries)
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    values = (linear * 65535).round().astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", entries) + values.tobytes()


WHITE = {b"wtpt": xyz(0.9642, 1.0, 0.8249)}
ADOBE_COLORANTS = np.array(
    [[0.60974, 0.31111, 0.01947], [0.20528, 0.62567, 0.06087], [0.14919, 0.06322, 0.74457]]
)
ADOBE_RGB = icc_profile(
    b"RGB ",
    WHITE
    | {name + b"TRC": gamma(563 / 256) for name in (b"r", b"g", b"b")}
    | {
        name + b"XYZ": xyz(*row)
        for name, row in zip((b"r", b"g", b"b"), ADOBE_COLORANTS, strict=True)
    },
)
NEARLY_SRGB = icc_profile(
    b"RGB ",
    WHITE
    | {
        b"rXYZ": xyz(0.43607, 0.22249, 0.01392),
        b"gXYZ": xyz(0.38515, 0.71687, 0.09708),
        b"bXYZ": xyz(0.14307, 0.06061, 0.71410),
    }
    | {name + b"TRC": srgb_table(26) for name in (b"r", b"g", b"b")},
)
GRAY_GAMMA_18 = icc_profile(b"GRAY", WHITE | {b"kTRC": gamma(1.8)})


def srgb_encoded(linear: Array) -> Array:
    linear = np.clip(linear, 0, 1)
    curve = 1.055 * linear ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curve).astype(np.float64)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_color_profile_is_converted_to_srgb(depth: int) -> None:
    rgb = noise(20, 20, 3)
    linear = (rgb / 255) ** (563 / 256) @ ADOBE_COLORANTS
    to_srgb = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]  # from D50 XYZ, Bruce Lindbloom
    expected = srgb_encoded(linear @ np.array(to_srgb).T) @ [0.299, 0.587, 0.114] * 255
    if depth == 16:
        chunk = b"icc\0\0" + zlib.compress(ADOBE_RGB)
        luma = read_photo(deep_png(rgb.astype(np.uint16) * 257, iCCP=chunk)).luma
        assert luma.dtype == np.uint16
        assert np.abs(luma / 257 - expected).max() < 2
        return
    for alpha in (False, True):
        image = Image.fromarray(rgb)
        if alpha:
            image.putalpha(77)
        photo = read_photo(saved(image, "PNG", icc_profile=ADOBE_RGB))
        assert np.abs(photo.luma - expected).max() < 2.5
        assert np.abs(photo.luma.astype(int) - gray_of(rgb)).max() > 10
        assert photo.alpha is None or (photo.alpha == 77).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB"])
def test_a_gray_profile_is_converted_to_srgb(mode: str) -> None:
    ramp = np.arange(256, dtype=np.uint8)[None]
    content = saved(Image.fromarray(ramp).convert(mode), "PNG", icc_profile=GRAY_GAMMA_18)
    expected = srgb_encoded((ramp / 255) ** (461 / 256)) * 255
    assert np.abs(read_photo(content).luma - expected).max() < 1


@pytest.mark.parametrize(("channels", "profile"), [(1, GRAY_GAMMA_18), (3, ADOBE_RGB)])
def test_a_profile_is_converted_at_16_bits(channels: int, profile: bytes) -> None:
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(1, -1, 1)
    chunk = b"icc\0\0" + zlib.compress(profile)
    luma = read_photo(deep_png(np.repeat(ramp, channels, 2), iCCP=chunk)).luma
    exponent = 461 / 256 if channels == 1 else 563 / 256
    expected = srgb_encoded((ramp[..., 0] / 65535) ** exponent) * 65535
    assert np.abs(luma - expected).max() < 60
    assert (np.diff(luma.astype(int)) >= 0).all()
    assert len(np.unique(luma)) > 3000  # no 8-bit steps


def test_what_is_srgb_already_and_what_is_broken_changes_no_pixel() -> None:
    rgb = noise(99, 99, 3)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    cmyk_by_name = ADOBE_RGB[:16] + b"CMYK" + ADOBE_RGB[20:]
    for profile in (srgb, NEARLY_SRGB, b"no profile", srgb[:200], cmyk_by_name):
        luma = read_photo(saved(rgb, "TIFF", icc_profile=profile)).luma
        np.testing.assert_array_equal(luma, gray_of(rgb))
