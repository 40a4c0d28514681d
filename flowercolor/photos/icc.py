"""Color profiles (ICC.1:2022): from a photo's own to sRGB, by way of Pillow's LittleCMS.

At 8 bits it converts colors itself. At 16 bits it converts grays alone, so there colors go by
their profile's tone curve and primaries.
"""

import io
import struct
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
    image: Image.Image, mode: str, *, deep: bool
) -> tuple[Pixels | None, ImageCms.ImageCmsTransform | None]:
    """What takes the photo's color profile to sRGB: a tone curve, a transform, or neither.

    A broken profile counts as none.

    Args:
        image: The photo.
        mode: Pillow's mode that its pixels are wanted in.
        deep: They are wanted at 16 bits.

    Returns:
        The curve is an array to index by the pixels, uint8 [256], or uint16 [65536] if `deep`.
        The transform gives pixels in `mode`, of the photo's own where it is CMYK or Lab, else
        of such in `mode`.
    """
    icc = image.info.get("icc_profile")
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


def primaries_to_srgb(image: Image.Image) -> NDArray[np.float32] | None:
    """What takes linear RGB of the photo's profile to linear sRGB, [3, 3]; None if nothing does.

    A profile of tables has no primaries, and sRGB needs no other ones.
    """

    def colorants(profile: ImageCms.ImageCmsProfile) -> NDArray[np.float64]:
        core = profile.profile
        columns = (core.red_colorant, core.green_colorant, core.blue_colorant)
        return np.array([column[0] for column in columns if column is not None]).T

    try:
        source = colorants(ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"])))
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
    """A gray profile (ICC.1:2022) with sRGB's tone curve: Pillow's one way to 16-bit output."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    d50 = fixed(0.9642, 1.0, 0.8249)
    white = b"XYZ " + bytes(4) + d50
    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0)
    curve += fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    start = 128 + 4 + 2 * 12
    tags = struct.pack(">I4sII", 2, b"kTRC", start, len(curve))
    tags += struct.pack(">4sII", b"wtpt", start + len(curve), len(white))
    size = start + len(curve) + len(white)
    head = struct.pack(">I4xI4s4s4s", size, 0x0400_0000, b"mntr", b"GRAY", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + d50
    return head.ljust(128, b"\0") + tags + curve + white
