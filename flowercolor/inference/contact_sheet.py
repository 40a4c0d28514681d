"""A sheet of renderings of one photo to choose from.

What differs honestly is where a dial stands between its ends, and the size at which the network
sees the photo: small, it goes by the whole, large, by the parts. Each tile is labeled with the
options that give it at full size.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import islice, product
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from flowercolor.config import MAX_VARIANTS
from flowercolor.errors import SettingError
from flowercolor.inference.colorizer import Colorizer

SMALLEST_PX = 96
LARGEST_PX = 192
TILE_PX = 480

_LABEL_PX = 28
_LABEL_TEXT_PX = 18


def variants(
    luma: npt.NDArray[Any], colorizers: Mapping[str, Colorizer], count: int
) -> npt.NDArray[np.uint8]:
    """The sheet, uint8 RGB [H, W, 3]: the photo in `count` renderings, each labeled.

    Several colorizers stand beside each other, a row for each working size. One alone fills
    the rows with its sizes.

    Args:
        luma: uint8 or uint16 [H, W].
        colorizers: Networks and their settings, by the option that chose them, such as
            "--vividness 1"; their own working sizes are used where a row is enough for all.
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
        reduced = cv2.convertScaleAbs(reduced, alpha=1 / 257)
    shown = []
    sizes_px = _sizes_px(math.ceil(count / len(colorizers)))
    for size_px, (option, colorizer) in islice(product(sizes_px, colorizers.items()), count):
        label = f"{option} --render-size {size_px or colorizer.render_size_px}".strip()
        shown.append((colorizer.render(reduced, render_size_px=size_px), label))
    columns = min(count, len(colorizers)) if len(colorizers) > 1 else math.ceil(math.sqrt(count))
    return _sheet(shown, columns)


def _sizes_px(count: int) -> list[int | None]:
    """Evenly spread in ratio from the smallest to the largest; one alone is None, for the own."""
    if count == 1:
        return [None]
    return [round(size) for size in np.geomspace(SMALLEST_PX, LARGEST_PX, count)]


def _sheet(
    shown: Sequence[tuple[npt.NDArray[np.uint8], str]], columns: int
) -> npt.NDArray[np.uint8]:
    """Pictures of one size in rows, each with its label below it."""
    font = ImageFont.load_default(_LABEL_TEXT_PX)
    height, width = shown[0][0].shape[:2]
    tile_width = max(width, *(math.ceil(font.getlength(label)) + 12 for _, label in shown))
    tile_height = height + _LABEL_PX
    size = (columns * tile_width, math.ceil(len(shown) / columns) * tile_height)
    sheet = Image.new("RGB", size, "white")
    for number, (rgb, label) in enumerate(shown):
        left, top = number % columns * tile_width, number // columns * tile_height
        sheet.paste(Image.fromarray(rgb), (left, top))
        ImageDraw.Draw(sheet).text((left + 6, top + height + 2), label, fill="black", font=font)
    return np.asarray(sheet, np.uint8)
