"""A sheet of renderings of one photo to choose from.

What differs honestly is the place on the vividness scale, and the size at which the network
sees the photo: small, it goes by the whole, large, by the parts. Each tile is labeled with the
options that give it at full size.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from flowercolor.checkpoint import read_info
from flowercolor.config import MAX_VARIANTS, BackendName
from flowercolor.errors import SettingError
from flowercolor.files import is_there
from flowercolor.inference.batch import Writing, remarks, target_is_free
from flowercolor.inference.colorizer import Colorizer
from flowercolor.photos.reader import read_photo
from flowercolor.photos.writer import write_photo
from flowercolor.progress import Progress
from flowercolor.runs import find_checkpoint

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


def load_variants(
    checkpoint: str | None,
    count: int,
    *,
    vividness: float | None = None,
    strength: float = 1.0,
    backend: BackendName = "auto",
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Colorizer]:
    """The colorizers for a sheet, by the options that choose them.

    Of a checkpoint with a vividness scale, those of its two ends, and of its middle where the
    sheet has room; but one alone where `vividness` says where.

    Args:
        checkpoint: As for `Colorizer.from_checkpoint`, and so are the others.
        count: How many renderings the sheet has.
        vividness: Where on the scale; None shows several.
        strength: Factor of the chroma.
        backend: What computes; see `backends.load_backend`.
        device: Where to compute.
        progress: Told where memory runs short.

    Raises:
        CheckpointError: There is no such checkpoint, it is damaged, or has no vividness scale.
        SettingError: A setting is out of range.
        DeviceError: The device is not there.
    """
    positions: tuple[float | None, ...] = (vividness,)
    if vividness is None and read_info(find_checkpoint(checkpoint)).vividness is not None:
        positions = (0, 0.5, 1) if count > 2 else (0, 1)
    colorizers = {}
    for position in positions:
        options = [] if position is None else [f"--vividness {position:g}"]
        options += [] if strength == 1 else [f"--strength {strength:g}"]
        colorizers[" ".join(options)] = Colorizer.from_checkpoint(
            checkpoint,
            vividness=position,
            strength=strength,
            backend=backend,
            device=device,
            progress=progress,
        )
    return colorizers


def write_variants(
    source: Path,
    sheet: Path,
    colorizers: Mapping[str, Colorizer],
    count: int,
    writing: Writing,
    *,
    max_pixels: int,
    progress: Progress,
) -> bool:
    """Write the sheet of a photo's `variants` to a file; False if one is there to be kept.

    Raises:
        SettingError: The sheet would replace the photo, or `count` is out of range.
        ImageError: The photo cannot be read, or what is to be written over is no result.
        StorageError: The file cannot be written.
    """
    if is_there(sheet) and sheet.samefile(source):
        raise SettingError(f"{sheet}: is the photo itself; choose another output")
    if not target_is_free(sheet, writing, progress):
        return False
    photo = read_photo(source, max_pixels=max_pixels)
    if remark := remarks(photo):
        progress.note(f"{source}: {remark}")
    rgb = variants(photo.luma, colorizers, count)
    write_photo(sheet, rgb, quality=writing.quality, subsampling=writing.subsampling)
    return True


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
