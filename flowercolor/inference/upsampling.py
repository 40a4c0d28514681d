"""Putting a small chroma on a full-size luma.

The network colors a small copy of the photo; the photo keeps its own luma at every pixel.
Between the two, plain interpolation would smear color over the edges of petals. Here each
color difference is written as a * luma + b, the slope a fitted around every pixel of the
small copy (the guided filter of He et al. 2013, section 3) and b what remains, and a and b
are what is enlarged (as in the fast guided filter, He and Sun 2015): edges then come from
the full-size luma itself. Unlike the filter's own b, the remainder is not smoothed, so that
reduced again the result is the small chroma that went in.

The full-size work goes in strips that fit the processor's cache, so that it needs no
full-size copy but the result.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from flowercolor.color import CB_SCALE, CR_SCALE, LUMA_WEIGHTS
from flowercolor.config import MAX_STRENGTH, in_range
from flowercolor.errors import ImageError
from flowercolor.photos.formats import with_depth
from flowercolor.photos.pictures import in_unit, luma_of

Array = npt.NDArray[Any]
Float = npt.NDArray[np.float32]

RADIUS_PX = 1
EPSILON = 1e-2

_NEARLY_BLACK = 16
"""Levels of 255. Of 1,364 photos of flowers none has more than 81 % so near to black or white."""
_SAMPLE_SIDE_PX = 512

_WR, _WG, _WB = LUMA_WEIGHTS
STRIP_PIXELS = 1 << 17
_WORKER_PIXELS = 1 << 20  # with less to do, a thread costs more than it saves


def without_grays(luma: Array) -> str:
    """What to say where nearly all of it is black or white, but for what JPEG makes of 1 bit.

    Args:
        luma: uint8 or uint16 [H, W].
    """
    # A part of it will do, and takes no memory to speak of.
    step = max(1, min(luma.shape) // _SAMPLE_SIDE_PX)
    levels = with_depth(luma[::step, ::step], np.uint8)
    between = (levels > _NEARLY_BLACK) & (levels < 255 - _NEARLY_BLACK)
    if between.mean() >= 0.01:
        return ""
    if levels.max() <= _NEARLY_BLACK:  # such as the 12 bits of a camera, stored in 16
        return "nearly black all over, which leaves no room for color; brighten it first"
    return "only black and white, which leaves no room for color; scan it as gray"


def shrink(luma: Array, height_px: int, width_px: int) -> Float:
    """The luma at another size, float32 [height_px, width_px] in 0 to 1.

    Args:
        luma: uint8 or uint16 [H, W].
    """
    smaller = height_px * width_px < luma.size
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    small = cv2.resize(luma, (width_px, height_px), interpolation=method)
    return small.astype(np.float32) / np.float32(np.iinfo(luma.dtype).max)


def render(
    luma: Array,
    small: Float,
    chroma: Float,
    *,
    strength: float = 1.0,
    colored: npt.NDArray[np.uint8] | None = None,
    strip_pixels: int = STRIP_PIXELS,
) -> Array:
    """The colored photo, RGB [H, W, 3] of the luma's dtype.

    Its gray version (OpenCV's `COLOR_RGB2GRAY`) equals `luma` within one level at every
    pixel: where a color does not fit between black and white at that luma, its chroma is
    lowered at constant luma and hue, and nothing is clipped.

    Args:
        luma: uint8 or uint16 [H, W].
        small: float32 [h, w] in 0 to 1, the copy that the network saw; where it is flat, the
            chroma is enlarged by plain bilinear interpolation.
        chroma: float32 [2, h, w], Cb before Cr, as in `flowercolor.color`.
        strength: Factor of the chroma; 0 gives gray.
        colored: uint8 [H, W], how far each pixel is colored, 0 for gray; None for all fully.
        strip_pixels: At a time, which should fit the processor's cache; at least one row.

    Raises:
        ImageError: An array is of another kind or size, or a chroma is no finite number.
        SettingError: `strength` is not within 0 to 1.5.
    """
    luma, _ = luma_of(luma, "luma")
    in_range("strength", strength, float, 0, MAX_STRENGTH)
    check_small("small", small, np.shape(small))
    _check("chroma", chroma, "float [2, h, w], of the size of `small`", "f", (2, *small.shape))
    if colored is not None:
        _check("colored", colored, "uint8 [H, W], of the size of `luma`", "u", luma.shape)
    red = (chroma[1] * (CR_SCALE * strength)).astype(np.float32)
    blue = (chroma[0] * (CB_SCALE * strength)).astype(np.float32)
    maps = np.stack([*_fit(small, red), *_fit(small, blue)])
    maps[1::2] *= np.iinfo(luma.dtype).max  # b in levels, as a * luma is
    height, width = luma.shape
    wide = np.stack([cv2.resize(plane, (width, len(plane))) for plane in maps])  # bilinearly
    steps = np.diff(wide, axis=1, append=wide[:, -1:])
    rgb = np.empty((height, width, 3), luma.dtype)
    rows = max(1, strip_pixels // width)

    def strip(top: int) -> None:
        bottom = min(top + rows, height)
        maps = _rows(wide, steps, top, bottom, height)
        factor = None if colored is None else colored[top:bottom] * np.float32(1 / 255)
        _color_strip(luma[top:bottom], maps, rgb[top:bottom], factor)

    tops = range(0, height, rows)
    workers = min(os.cpu_count() or 1, len(tops), luma.size // _WORKER_PIXELS)
    if workers <= 1:
        for top in tops:
            strip(top)
    else:  # NumPy and OpenCV leave the interpreter's lock while they compute
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(strip, tops))
    return rgb


def check_small(name: str, small: Array, shape: tuple[int, ...]) -> None:
    """Refuse what is no small luma of that shape, as `shrink` gives it.

    Raises:
        ImageError: It is another array.
    """
    expected = "float [h, w] in 0 to 1, of one size, as `shrink` gives it"
    _check(name, small, expected, "f", shape if len(shape) == 2 else ())
    if not in_unit(np.asarray(small)):
        found = f"{np.min(small):g} to {np.max(small):g}"
        raise ImageError(f"{name}: has values from {found}; expected {expected}")


def _check(name: str, array: Array, expected: str, kind: str, shape: tuple[int, ...]) -> None:
    array = np.asarray(array)
    if array.dtype.kind != kind or array.shape != shape or not array.size:
        raise ImageError(f"{name}: is {array.dtype} of shape {array.shape}; expected {expected}")
    if kind == "f" and not np.isfinite(array).all():
        raise ImageError(f"{name}: has values that are NaN or infinite; expected {expected}")


def _fit(small: Float, difference: Float) -> tuple[Float, Float]:
    """The maps a and b with difference = a * luma + b, a fitted around each pixel."""
    mean_luma, mean_difference = _mean(small), _mean(difference)
    covariance = _mean(small * difference) - mean_luma * mean_difference
    variance = _mean(small * small) - mean_luma * mean_luma
    a = _mean((covariance / (variance + EPSILON)).astype(np.float32))
    return a, difference - a * small


def _mean(values: Float) -> Float:
    side = 2 * RADIUS_PX + 1
    return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)


def _rows(wide: Float, steps: Float, top: int, bottom: int, height: int) -> Float:
    """Rows `top` to `bottom` of the maps [n, h, W] enlarged to `height` rows, bilinearly.

    `steps` holds what each row of the maps lacks to the next one.
    """
    small_height = wide.shape[1]
    # Pixel centers meet, as in cv2.resize.
    center = (np.arange(top, bottom) + 0.5) * (small_height / height) - 0.5
    center = center.clip(0, small_height - 1)
    above = center.astype(int)
    # `take`, because indexing would give planes whose rows lie apart: all the rest takes twice
    # as long on those.
    rows: Float = steps.take(above, axis=1)
    rows *= (center - above).astype(np.float32)[:, None]
    rows += wide.take(above, axis=1)
    return rows


def _color_strip(luma: Array, maps: Float, rgb: Array, colored: Float | None) -> None:
    """Fill `rgb` [n, W, 3]; the maps [4, n, W], in levels, are used up."""
    white = np.float32(np.iinfo(luma.dtype).max)
    y = luma.astype(np.float32)
    red_a, red_b, blue_a, blue_b = maps
    red = np.multiply(red_a, y, out=red_a)
    red += red_b
    blue = np.multiply(blue_a, y, out=blue_a)
    blue += blue_b
    if colored is not None:
        red *= colored
        blue *= colored
    green = np.multiply(red, np.float32(-_WR / _WG), out=red_b)
    green -= np.multiply(blue, np.float32(_WB / _WG), out=blue_b)

    # The differences' weighted sum is 0, so the largest is never below it nor the smallest
    # above: two bounds are enough. The tiny terms keep 0 / 0 away.
    largest = np.maximum(red, green)
    np.maximum(largest, blue, out=largest)
    largest += white * np.float32(1e-6)
    smallest = np.minimum(red, green, out=blue_b)
    np.minimum(smallest, blue, out=smallest)
    np.subtract(white * np.float32(1e-6), smallest, out=smallest)
    factor = np.subtract(white, y)
    factor /= largest
    np.minimum(factor, np.divide(y, smallest, out=smallest), out=factor)
    np.minimum(factor, np.float32(1), out=factor)

    y += np.float32(0.5)  # whole numbers are taken below: this rounds
    planes = []
    for difference in (red, green, blue):
        channel = np.multiply(difference, factor, out=difference)
        channel += y
        planes.append(channel.astype(luma.dtype))
    cv2.merge(planes, rgb)
