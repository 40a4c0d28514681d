"""A sheet of renderings of one photo to choose from.

What differs honestly is the size at which the network sees the photo: small, it goes by the
whole, large, by the parts, and the colours come out otherwise. Each tile is labelled with
the option that gives it at full size.
"""

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from flowercolor.colorizer import Colorizer
from flowercolor.config import STRIDE
from flowercolor.errors import SettingError

__all__ = ["MAX_VARIANTS", "variants"]

MAX_VARIANTS = 12
SMALLEST_PX = 64
LARGEST_PX = 384
TILE_PX = 480

_LABEL_PX = 28
_LABEL_TEXT_PX = 18


def variants(luma: npt.NDArray[Any], colorizer: Colorizer, count: int) -> npt.NDArray[np.uint8]:
    """The sheet, uint8 RGB [H, W, 3]: the photo in `count` renderings, each labelled.

    Args:
        luma: uint8 or uint16 [H, W].
        colorizer: The network and its settings; its own working size is not used.
        count: How many, 2 to 12.

    Raises:
        SettingError: `count` is out of range.
    """
    if not 2 <= count <= MAX_VARIANTS:
        raise SettingError(f"variants is {count}; expected 2 to {MAX_VARIANTS}")
    scale = min(1.0, TILE_PX / max(luma.shape))
    size = (max(1, round(luma.shape[1] * scale)), max(1, round(luma.shape[0] * scale)))
    reduced = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    if reduced.dtype == np.uint16:
        reduced = (reduced // 257).astype(np.uint8)
    tiles = []
    own_size_px = colorizer.render_size_px
    try:
        for size_px in _sizes_px(count):
            colorizer.render_size_px = size_px
            tiles.append(_labelled(colorizer.render(reduced), f"--render-size {size_px}"))
    finally:
        colorizer.render_size_px = own_size_px
    columns = math.ceil(math.sqrt(count))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-count % columns)
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    return np.vstack(rows)


def _sizes_px(count: int) -> list[int]:
    """Evenly spread in ratio from the smallest to the largest, as multiples of the stride."""
    sizes = np.geomspace(SMALLEST_PX, LARGEST_PX, count) / STRIDE
    return [int(size) * STRIDE for size in sizes.round()]


def _labelled(rgb: npt.NDArray[np.uint8], label: str) -> npt.NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    tile = Image.new("RGB", (width, height + _LABEL_PX), "white")
    tile.paste(Image.fromarray(rgb))
    font = ImageFont.load_default(_LABEL_TEXT_PX)
    ImageDraw.Draw(tile).text((6, height + 2), label, fill="black", font=font)
    return np.asarray(tile)
