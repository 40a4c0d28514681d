"""Putting a small chroma on a full-size luma.

The network colours a small copy of the photo; the photo keeps its own luma at every pixel.
Between the two, plain interpolation would smear colour over the edges of petals. Here each
colour difference is written as a * luma + b, the slope a fitted around every pixel of the
small copy (the guided filter of He et al. 2013, section 3) and b what remains, and a and b
are what is enlarged (as in the fast guided filter, He and Sun 2015): edges then come from
the full-size luma itself. Unlike the filter's own b, the remainder is not smoothed, so that
reduced again the result is the small chroma that went in.

The full-size work goes in strips that fit the processor's cache, so that it needs no
full-size copy but the result.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from flowercolor.color import LUMA_WEIGHTS

__all__ = ["render", "shrink"]

Array = npt.NDArray[Any]
Float = npt.NDArray[np.float32]

RADIUS_PX = 1
EPSILON = 1e-2

_WR, _WG, _WB = LUMA_WEIGHTS
_STRIP_PIXELS = 1 << 17
_STRIP_SMALL_ROWS = 4  # each row of a strip is weighed from all the small rows beside it


def shrink(luma: Array, height_px: int, width_px: int) -> Float:
    """The luma at another size, float32 [height_px, width_px] in 0 to 1.

    Args:
        luma: uint8 or uint16 [H, W].
        height_px: Rows wanted.
        width_px: Columns wanted.
    """
    smaller = height_px * width_px < luma.size
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    small = cv2.resize(luma, (width_px, height_px), interpolation=method)
    return small.astype(np.float32) / np.float32(np.iinfo(luma.dtype).max)


def render(
    luma: Array, small: Float, chroma: Float, *, strength: float = 1.0, guided: bool = True
) -> Array:
    """The coloured photo, RGB [H, W, 3] of the luma's dtype.

    Its grey version (OpenCV's `COLOR_RGB2GRAY`) equals `luma` within one level at every
    pixel: where a colour does not fit between black and white at that luma, its chroma is
    lowered at constant luma and hue, and nothing is clipped.

    Args:
        luma: uint8 or uint16 [H, W].
        small: float32 [h, w] in 0 to 1, the copy that the network saw.
        chroma: float32 [2, h, w], Cb before Cr, as in `flowercolor.color`.
        strength: Factor of the chroma; 0 gives grey.
        guided: False enlarges the chroma by plain bilinear interpolation instead.
    """
    red = (chroma[1] * (2 * (1 - _WR) * strength)).astype(np.float32)
    blue = (chroma[0] * (2 * (1 - _WB) * strength)).astype(np.float32)
    maps = np.stack([*_fit(small, red, guided), *_fit(small, blue, guided)])
    height, width = luma.shape
    wide = np.stack([_enlarge_columns(one, width) for one in maps])
    rgb = np.empty((height, width, 3), luma.dtype)
    rows = max(1, min(_STRIP_PIXELS // width, _STRIP_SMALL_ROWS * height // len(small)))

    def strip(top: int) -> None:
        bottom = min(top + rows, height)
        rgb[top:bottom] = _color_strip(luma[top:bottom], _rows(wide, top, bottom, height))

    _for_each(strip, range(0, height, rows))
    return rgb


def _fit(small: Float, difference: Float, guided: bool) -> tuple[Float, Float]:
    """The maps a and b with difference = a * luma + b, a fitted around each pixel."""
    if not guided:
        return np.zeros_like(difference), difference
    mean_luma, mean_difference = _mean(small), _mean(difference)
    covariance = _mean(small * difference) - mean_luma * mean_difference
    variance = _mean(small * small) - mean_luma * mean_luma
    a = _mean((covariance / (variance + EPSILON)).astype(np.float32))
    return a, difference - a * small


def _mean(values: Float) -> Float:
    side = 2 * RADIUS_PX + 1
    return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)


def _enlarge_columns(values: Float, width: int) -> Float:
    wide = cv2.resize(values, (width, values.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(wide, np.float32)


def _rows(wide: Float, top: int, bottom: int, height: int) -> Float:
    """Rows `top` to `bottom` of the maps [n, h, W] enlarged to `height` rows, bilinearly."""
    small_height = wide.shape[1]
    # Pixel centres meet, as in cv2.resize.
    centre = (np.arange(top, bottom) + 0.5) * (small_height / height) - 0.5
    centre = centre.clip(0, small_height - 1)
    above = np.floor(centre).astype(int).clip(0, max(0, small_height - 2))
    first, last = above[0], min(above[-1] + 2, small_height)
    weights = np.zeros((bottom - top, last - first), np.float32)
    lines = np.arange(bottom - top)
    weights[lines, above - first] = 1 - (centre - above)
    if small_height > 1:
        weights[lines, above - first + 1] = centre - above
    # Not by matmul: its own threads and those of the strips would wait for each other, which
    # takes five times as long as all the rest.
    rows: Float = np.einsum("nk,ckw->cnw", weights, wide[:, first:last])
    return rows


def _color_strip(luma: Array, maps: Float) -> Array:
    top = np.float32(np.iinfo(luma.dtype).max)
    y = luma.astype(np.float32)
    y /= top
    red_a, red_b, blue_a, blue_b = maps
    red = np.multiply(red_a, y, out=red_a)
    red += red_b
    blue = np.multiply(blue_a, y, out=blue_a)
    blue += blue_b
    green = np.multiply(red, np.float32(-_WR / _WG), out=red_b)
    green -= np.multiply(blue, np.float32(_WB / _WG), out=blue_b)

    # The differences' weighted sum is 0, so the largest is never below it nor the smallest
    # above: two bounds are enough. The tiny terms keep 0 / 0 away.
    largest = np.maximum(red, green)
    np.maximum(largest, blue, out=largest)
    smallest = np.minimum(red, green)
    np.minimum(smallest, blue, out=smallest)
    largest += np.float32(1e-6)
    smallest -= np.float32(1e-6)
    factor = np.subtract(np.float32(1), y)
    factor /= largest
    np.negative(smallest, out=smallest)
    np.minimum(factor, np.divide(y, smallest, out=smallest), out=factor)
    np.minimum(factor, np.float32(1), out=factor)

    planes = []
    for difference in (red, green, blue):
        channel = np.multiply(difference, factor, out=difference)
        channel += y
        channel *= top
        planes.append(np.rint(channel, out=channel).astype(luma.dtype))
    merged: Array = cv2.merge(planes)
    return merged


def _for_each(work: Callable[[int], None], items: range) -> None:
    # NumPy and OpenCV leave the interpreter's lock while they compute.
    workers = min(os.cpu_count() or 1, len(items))
    if workers == 1:
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(work, items):
            pass
