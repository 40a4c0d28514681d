"""Color profiles (ICC.1:2022): from a photo's own to sRGB, by way of Pillow's LittleCMS.

At 8 bits it converts colors itself. At 16 bits it converts grays alone, so there colors go by
their profile's tone curve and primaries.
"""

import io
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION

Pixels = NDArray[Any]
"""uint8 or uint16 [H, W] or [H, W, C]."""


def to_srgb(
    image: Image.Image, icc: bytes | None, mode: str, *, deep: bool
) -> tuple[Pixels | None, ImageCms.ImageCmsTransform | None]:
    """What takes the photo's color profile to sRGB: a tone curve, a transform, or neither.

    A broken profile counts as none.

    Args:
        mode: Pillow's mode that its pixels are wanted in.
        deep: They are wanted at 16 bits.

    Returns:
        The curve is an array to index by the pixels, uint8 [256], or uint16 [65536] if `deep`.
        The transform gives pixels in `mode`, of the photo's own where it is CMYK or Lab, else
        of such in `mode`.
    """
    try:
        if image.mode == "LAB":
            profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif icc:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        else:
            return None, None
        if deep or mode in ("L", "LA") or _is_gray(profile):
            return _tone_curve(profile, deep), None
        source_mode = image.mode if image.mode in ("CMYK", "LAB") else mode
        srgb = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
        transform = ImageCms.buildTransform(profile, srgb, source_mode, mode, _INTENT, _FLAGS)
        if source_mode == mode:
            # Most profiles are sRGB. Sparing those the detour keeps their pixels exact and
            # halves the time of reading.
            axis = np.arange(0, 256, 15, dtype=np.uint8)
            lattice = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(1, -1, 3)
            before = Image.fromarray(lattice).convert(mode)
            if _levels_apart(np.asarray(before), np.asarray(transform.apply(before))) <= 2:
                return None, None
        return None, transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None, None


def _is_gray(profile: ImageCms.ImageCmsProfile) -> bool:
    return profile.profile.xcolor_space.strip() == "GRAY"


def _levels_apart(a: Pixels, b: Pixels) -> int:
    return int(np.abs(a.astype(np.int32) - b).max())


def _tone_curve(profile: ImageCms.ImageCmsProfile, deep: bool) -> Pixels | None:
    """The sRGB value of every gray of `profile`, [256] or [65536]; None if it is the same."""
    mode = "L" if _is_gray(profile) else "RGB"
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None]).convert(mode)
    gray_srgb = ImageCms.ImageCmsProfile(io.BytesIO(_gray_srgb()))
    exact = ImageCms.Flags.NOOPTIMIZE | _FLAGS
    transform = ImageCms.buildTransform(profile, gray_srgb, mode, "I;16", _INTENT, exact)
    curve = np.asarray(transform.apply(ramp))[0]
    levels = np.arange(256) * 257
    if _levels_apart(curve, levels) <= 257:
        return None
    table: Pixels = np.interp(np.arange(65536), levels, curve) if deep else curve / 257
    return table.round().astype(np.uint16 if deep else np.uint8)


def primaries_to_srgb(icc: bytes | None) -> NDArray[np.float32] | None:
    """What takes linear RGB of a profile to linear sRGB, [3, 3]; None if nothing does.

    A profile of tables has no primaries, and sRGB needs no other ones.
    """

    def colorants(profile: ImageCms.ImageCmsProfile) -> NDArray[np.float64]:
        core = profile.profile
        columns = (core.red_colorant, core.green_colorant, core.blue_colorant)
        return np.array([column[0] for column in columns if column is not None]).T

    try:
        source = colorants(ImageCms.ImageCmsProfile(io.BytesIO(icc or b"")))
        srgb = colorants(ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile())))
        matrix = np.linalg.solve(srgb, source).astype(np.float32)
    except (KeyError, OSError, ValueError, TypeError, np.linalg.LinAlgError):
        return None
    return None if np.abs(matrix - np.eye(3)).max() < 0.005 else matrix


@cache
def _linear() -> NDArray[np.float32]:
    """The linear value, 0 to 1, of each of the 65,536 levels of sRGB."""
    encoded = np.arange(65536, dtype=np.float32) / 65535
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


def with_primaries(rgb: Pixels, matrix: NDArray[np.float32]) -> Pixels:
    """uint16 RGB with sRGB's tone curve and other primaries, in sRGB; clipped to its gamut."""
    mixed = cv2.transform(_linear()[rgb], matrix).clip(0, 1)
    curved = 1.055 * mixed ** np.float32(1 / 2.4) - np.float32(0.055)
    np.multiply(mixed, 12.92, out=curved, where=mixed <= 0.0031308)
    return (curved * 65535 + 0.5).astype(np.uint16)


@cache
def srgb_profile() -> bytes:
    """The sRGB profile that files are given."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # A fixed date in place of today's, so that equal photos make equal files.
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]


@cache
def _gray_srgb() -> bytes:
    """A gray profile with sRGB's tone curve: Pillow's one way to 16-bit output."""
    return _profile(b"GRAY", {b"kTRC": _SRGB_CURVE, b"wtpt": _xyz(_D50)})


def matrix_profile(
    primaries: Sequence[tuple[float, float]], white: tuple[float, float], gamma: float | None
) -> bytes:
    """An RGB profile of these chromaticities (CIE 1931 x, y).

    Args:
        white: The white point, adapted to D50 by the Bradford transform.
        gamma: The exponent of the tone curve; None is sRGB's curve.

    Raises:
        ValueError: They span no colors.
    """

    def xyz(x: float, y: float) -> NDArray[np.float64]:
        if not (0 <= x <= 1 and 0 < y <= 1):
            raise ValueError("no chromaticity")
        return np.array([x / y, 1, (1 - x - y) / y])

    try:
        columns = np.stack([xyz(*primary) for primary in primaries], axis=1)
        luminances = np.linalg.solve(columns, xyz(*white))
        if not (luminances > 0).all():
            raise ValueError("a white that is outside of the primaries")
        columns = columns * luminances
    except np.linalg.LinAlgError as error:
        raise ValueError("primaries on one line") from error
    cones = _BRADFORD @ np.array(_D50) / (_BRADFORD @ xyz(*white))
    columns = np.linalg.solve(_BRADFORD, cones[:, None] * (_BRADFORD @ columns))
    curve = _SRGB_CURVE if gamma is None else _parametric(0, gamma)
    tags = {b"wtpt": _xyz(_D50)}
    for letter, column in zip((b"r", b"g", b"b"), columns.T, strict=True):
        tags |= {letter + b"XYZ": _xyz(column), letter + b"TRC": curve}
    return _profile(b"RGB ", tags)


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content
    head = struct.pack(">I4xI4s4s4s", start + len(body), 0x0400_0000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + _fixed(*_D50)
    return head.ljust(128, b"\0") + table + body


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _xyz(values: Sequence[float] | NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _parametric(kind: int, *values: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + _fixed(*values)


_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_SRGB_CURVE = _parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
