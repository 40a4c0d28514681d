"""Hints on the small copy of a photo that the network saw."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flowercolor.hints.attention import propagate
from flowercolor.hints.hint import Hint, Leave

Array = npt.NDArray[np.float32]

CHUNK_ELEMENTS = 1 << 22


class Seen(NamedTuple):
    """A photo as the network saw it, and what it made of it.

    Attributes:
        luma: float32 [h, w] in 0 to 1.
        chroma: float32 [2, h, w], Cb before Cr.
        features: float32 [C, h, w], of the branch for hints.
    """

    luma: Array
    chroma: Array
    features: Array


class Placed(NamedTuple):
    """Hints on the small copy.

    Attributes:
        points: int64 [K, 2], rows and columns.
        chroma: float32 [K, 2], Cb before Cr.
    """

    points: npt.NDArray[np.int64]
    chroma: Array


def placed(hints: Sequence[Hint], photo_px: tuple[int, int], small_px: tuple[int, int]) -> Placed:
    """The hints where they lie on the small copy.

    Args:
        hints: K hints for the photo.
        photo_px: Height and width of the photo.
        small_px: Height and width of the small copy.

    Raises:
        SettingError: A hint lies outside of the photo.
    """
    points = np.array([small_point(hint, photo_px, small_px) for hint in hints], np.int64)
    chroma = np.array([hint.chroma() for hint in hints], np.float32)
    return Placed(points.reshape(-1, 2), chroma.reshape(-1, 2))


def small_point(
    place: Hint | Leave, photo_px: tuple[int, int], small_px: tuple[int, int]
) -> tuple[int, int]:
    """Row and column on the small copy.

    Raises:
        SettingError: It lies outside of the photo.
    """
    (height, width), (small_height, small_width) = photo_px, small_px
    x, y = place.place(width, height)
    return int(y * small_height / height), int(x * small_width / width)


@np.errstate(under="ignore")  # weights of 0 are meant, whatever a caller has set
def spread(seen: Seen, hints: Placed, *, chunk_elements: int = CHUNK_ELEMENTS) -> Array:
    """The chroma where hints lead it, float32 [2, h, w]; it may leave the gamut.

    Args:
        chunk_elements: Most weights, one for each hint and pixel, in memory at a time.
    """
    if not len(hints.points):
        return seen.chroma
    height, width = seen.luma.shape
    pixels = height * width
    rows, columns = hints.points.T
    flat = [values.reshape(-1, pixels) for values in (seen.features, seen.chroma, seen.luma[None])]
    at_hints = [values[None, :, rows * width + columns] for values in flat]
    at_hints.append(hints.chroma.T[None])
    moved = np.empty((2, pixels), np.float32)
    step = max(1, chunk_elements // len(rows))
    for start in range(0, pixels, step):
        part = slice(start, min(start + step, pixels))
        down, right = np.divmod(np.arange(part.start, part.stop), width)
        distance2 = (rows[:, None] - down) ** 2 + (columns[:, None] - right) ** 2
        moved[:, part] = propagate(
            np.exp,
            [values[None, :, part] for values in flat],
            at_hints,
            distance2[None].astype(np.float32),
            pixels,
        )[0]
    return moved.reshape(seen.chroma.shape)


def likeness(seen: Seen, point: tuple[int, int]) -> Array:
    """How far a hint at that row and column would move each pixel, 0 to 1, float32 [h, w]."""
    # A chroma of 1 put on one of 0, where shading does not matter.
    blank = Seen(np.ones_like(seen.luma), np.zeros_like(seen.chroma), seen.features)
    one = Placed(np.array([point]), np.ones((1, 2), np.float32))
    reached: Array = np.clip(spread(blank, one)[0], 0, 1)
    return reached
