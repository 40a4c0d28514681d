"""Which color space a photo is in, whichever way its format says so.

Mostly by an ICC profile. Cameras say AdobeRGB in EXIF (DCF 2.0, option files); EXIF, a TIFF (TIFF
6.0, section 20), a PNG (PNG 3, sections 11.3.2.1 to 11.3.2.6) and a BMP may name their primaries;
AVIF and HEIC have code points (ITU-T H.273). From all of those a profile is made here.
"""

import math
import struct
from collections.abc import Sequence
from itertools import takewhile
from typing import IO

import numpy as np
from PIL import ExifTags, Image

from flowercolor.errors import ImageError
from flowercolor.photos.icc import matrix_profile
from flowercolor.photos.integrity import png_chunks

_SENSIBLE_GAMMA = (1 / 4, 4)
_D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
_ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
_ADOBE_GAMMA = 563 / 256

# Primaries and white by the code points of ITU-T H.273, table 2. Number 1 is sRGB's.
_PRIMARIES = {
    4: (((0.67, 0.33), (0.21, 0.71), (0.14, 0.08)), _C),
    5: (((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)), _D65),
    6: (((0.63, 0.34), (0.31, 0.595), (0.155, 0.07)), _D65),
    7: (((0.63, 0.34), (0.31, 0.595), (0.155, 0.07)), _D65),
    9: (((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), _D65),
    11: (((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), (0.314, 0.351)),
    12: (((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), _D65),
}
_SRGB_PRIMARIES = (((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), _D65)
# Table 3; those that are not here count as sRGB's curve, as viewers take them.
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_PQ = 16

_BOXES_BYTES = 1 << 16  # of an AVIF or HEIC, ahead of its pixels


def profile_of(image: Image.Image, exif: Image.Exif, file: IO[bytes] | None) -> bytes | None:
    """The ICC profile of an opened photo, embedded or made; None where it is in sRGB.

    Args:
        file: Without it nothing is known of what Pillow leaves aside: code points, and BMP's.

    Raises:
        ImageError: It is in a space of high dynamic range.
    """
    if file and image.format == "BMP":
        return _of_bmp(file)
    if file and image.format == "PNG":
        head = takewhile(lambda chunk: chunk[0] != b"IDAT", png_chunks(file))
        if points := next((data for kind, data in head if kind == b"cICP"), b""):
            return _of_code_points(*points[:2])
    embedded: bytes | None = image.info.get("icc_profile")
    if embedded is not None or "srgb" in image.info:
        return embedded
    gamma = 1 / stated if (stated := image.info.get("gamma")) else None  # of a PNG, and its copies
    if made := _of_primaries(image.info.get("chromaticity") or (), gamma):
        return made
    if file and image.format in ("AVIF", "HEIF"):
        file.seek(0)
        _, colr, points = file.read(_BOXES_BYTES).partition(b"colrnclx")
        if colr and len(points) >= 4:
            return _of_code_points(*struct.unpack_from(">HH", points))
    return _of_exif(exif)


def _of_code_points(primaries: int, transfer: int) -> bytes | None:
    if transfer == _PQ:
        raise ImageError(
            "is of high dynamic range (PQ); expected a photo of standard range; save it so first"
        )
    gamma = _GAMMAS.get(transfer)
    if primaries not in _PRIMARIES and gamma is None:
        return None
    return matrix_profile(*_PRIMARIES.get(primaries, _SRGB_PRIMARIES), gamma)


def _of_primaries(points: Sequence[float], gamma: float | None) -> bytes | None:
    """The profile of a white point, red, green and blue, each as x and y; without those of sRGB's.

    A gamma of None is sRGB's curve. None where it is all sRGB, or makes no sense.
    """
    primaries, white = _SRGB_PRIMARIES
    if len(points) == 8:
        white, *colors = ((points[k], points[k + 1]) for k in range(0, 8, 2))
        primaries = (colors[0], colors[1], colors[2])
    of_srgb = np.allclose((white, *primaries), (_D65, *_SRGB_PRIMARIES[0]), atol=0.01)
    # Programs state 1 / 2.2 where they mean sRGB's curve.
    if of_srgb and (gamma is None or abs(gamma / 2.2 - 1) < 0.05):
        return None
    least, most = _SENSIBLE_GAMMA
    if gamma is not None and not least <= gamma <= most:
        return None
    try:
        return matrix_profile(primaries, white, gamma)
    except (ValueError, struct.error):  # a broken one counts as none
        return None


def _of_exif(exif: Image.Exif) -> bytes | None:
    """What EXIF says, whose first directory is that of a TIFF."""
    camera = exif.get_ifd(ExifTags.IFD.Exif)
    space = camera.get(ExifTags.Base.ColorSpace)
    if space == 1:
        return None
    try:
        index = exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
    except KeyError:  # of Pillow before 13, where there is no such directory
        index = None
    if space == 2 or str(index).startswith("R03"):  # the 2 is in no standard, and of some cameras
        return matrix_profile(_ADOBE, _D65, _ADOBE_GAMMA)
    try:
        primaries = [float(number) for number in exif[ExifTags.Base.PrimaryChromaticities]]
        white = [float(number) for number in exif.get(ExifTags.Base.WhitePoint, _D65)]
        gamma = float(camera.get(ExifTags.Base.Gamma, 0)) or _gamma_of(
            exif.get(ExifTags.Base.TransferFunction, ())
        )
        if gamma is None and np.allclose(primaries, np.ravel(_ADOBE), atol=0.01):
            gamma = _ADOBE_GAMMA
        return _of_primaries((*white, *primaries), gamma)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None


def _gamma_of(curve: Sequence[int]) -> float | None:
    """The exponent of a TIFF's transfer function, of 16 bits, by its value in the middle."""
    length = 2 ** int(math.log2(len(curve))) if curve else 0  # of red, where there are three
    middle = curve[length // 2] / 65535 if length > 2 else 0
    return math.log(middle) / math.log(length // 2 / (length - 1)) if 0 < middle < 1 else None


def _of_bmp(file: IO[bytes]) -> bytes | None:
    """What the header of a BMP says in its versions 4 and 5."""
    file.seek(14)
    head = file.read(124)
    if len(head) < 108 or struct.unpack_from("<I", head)[0] < 108:
        return None
    kind = head[56:60][::-1]
    if kind == b"MBED" and len(head) == 124:
        start, length = struct.unpack_from("<II", head, 112)
        file.seek(14 + start)
        return file.read(length) or None
    if kind != bytes(4):
        return None
    ends = np.array(struct.unpack_from("<9i", head, 60), float).reshape(3, 3)
    gamma = struct.unpack_from("<I", head, 100)[0] / 65536  # of green
    totals = [*ends, ends.sum(axis=0)]
    if min(sum(total) for total in totals) <= 0:
        return None
    red, green, blue, white = [tuple(total[:2] / sum(total)) for total in totals]
    return _of_primaries((*white, *red, *green, *blue), gamma or None)
