"""A sheet of renderings of one photo to choose from.

They differ where the network is unsure: in the color of that part of the photo, usually the flower,
of which it is least certain. Each tile is labeled with the options that give it at full size.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from flowercolor.config import MAX_VARIANTS, in_range
from flowercolor.errors import ImageError
from flowercolor.hints.guidance import Guidance
from flowercolor.hints.hint import Hint
from flowercolor.hints.proposals import propose
from flowercolor.hints.spreading import small_point
from flowercolor.inference.colorizer import Colorizer
from flowercolor.inference.upsampling import render, without_grays
from flowercolor.photos.formats import with_depth
from flowercolor.photos.pictures import luma_of
from flowercolor.progress import Progress

TILE_PX = 480

_LABEL_PX = 28
_LABEL_TEXT_PX = 18


def variants(
    luma: npt.NDArray[Any],
    colorizer: Colorizer,
    count: int,
    guidance: Guidance | Sequence[Hint] | None = None,
    *,
    progress: Progress | None = None,
) -> npt.NDArray[np.uint8]:
    """The sheet, uint8 RGB [H, W, 3]: the photo as it is colored, and in likely other colors.

    Args:
        luma: uint8 or uint16 [H, W].
        count: How many tiles, 2 to 12; there are fewer where fewer colors are likely.
        progress: Told where there are fewer.

    Raises:
        ImageError: `luma` is another array, or has no room for color, which a sheet would show.
        SettingError: `count` is out of range.
        CheckpointError: The network has no branch for hints.
    """
    count = in_range("variants", count, int, 2, MAX_VARIANTS)
    guidance = Guidance.of(guidance)
    luma, _ = luma_of(luma, "luma")
    if extreme := without_grays(luma):  # between them the tiles, reduced, have grays
        raise ImageError(f"luma: is {extreme}")
    scale = min(1.0, TILE_PX / max(luma.shape))
    size = (max(1, round(luma.shape[1] * scale)), max(1, round(luma.shape[0] * scale)))
    reduced = with_depth(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)
    seen = colorizer.see(luma)
    photo_px = luma.shape[0], luma.shape[1]
    colored = guidance.colored(photo_px, seen)
    if colored is not None:
        colored = cv2.resize(colored, size, interpolation=cv2.INTER_AREA).astype(np.uint8)

    def tile(*hints: Hint) -> npt.NDArray[np.uint8]:
        led = replace(guidance, hints=[*guidance.hints, *hints])
        return render(reduced, seen.luma, led.chroma(seen, photo_px), colored=colored)

    led = seen._replace(chroma=guidance.chroma(seen, photo_px))
    settled = [small_point(hint, photo_px, seen.luma.shape) for hint in guidance.hints]
    proposals = propose(led, count - 1, settled=settled)
    shown = [(tile(), "automatic, as without --variants")]
    shown += [(tile(hint), f"--hint {hint}") for hint in proposals.hints]
    if progress and len(shown) < count:
        progress.note(f"Variants: {len(shown)} of {count}, for no other color is likely there")
    return _sheet(shown, math.ceil(math.sqrt(len(shown))))


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
    return np.array(sheet, np.uint8)
