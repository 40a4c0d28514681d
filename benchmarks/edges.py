"""How far color bleeds over edges: guided enlargement against bilinear, on true photos.

    python benchmarks/edges.py FOLDER_OF_COLOR_PHOTOS

The photos' own chroma is reduced to the working size and enlarged again, both ways. The
figure is the mean distance to the true chroma, in levels of 255, within 3 px of the luma's
edges (Canny) and over the whole photo.
"""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from flowercolor.color import rgb_to_chroma
from flowercolor.inference.upsampling import render, shrink

SIZES_PX = (96, 128, 160, 192, 256)

Array = npt.NDArray[Any]


def chroma_of(rgb: Array) -> Array:
    """float32 [2, H, W] of uint8 RGB [H, W, 3]."""
    tensor = torch.from_numpy(rgb).permute(2, 0, 1).float() / 255
    return np.ascontiguousarray(rgb_to_chroma(tensor).numpy())


def errors(rgb: Array, size_px: int, *, guided: bool) -> tuple[float, float]:
    """The mean chroma error near edges and everywhere, in levels of 255."""
    luma, chroma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), chroma_of(rgb)
    scale = size_px / luma.size**0.5
    height, width = (round(side * scale) for side in luma.shape)
    reduced = np.stack(
        [cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA) for one in chroma]
    )
    small = shrink(luma, height, width) if guided else np.zeros((height, width), np.float32)
    again = chroma_of(render(luma, small, reduced))
    error = 255 * np.hypot(*(again - chroma))
    edges = cv2.Canny(cv2.GaussianBlur(luma, (0, 0), 1), 50, 120)
    within_3_px = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    near = cv2.dilate(edges, within_3_px) > 0
    return float(error[near].mean()), float(error.mean())


def main(folder: Path) -> None:
    """Print a line for each working size."""
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.jpg"))]
    for size_px in SIZES_PX:
        guided, bilinear = (
            np.mean([errors(rgb, size_px, guided=way) for rgb in photos], axis=0)
            for way in (True, False)
        )
        sys.stdout.write(
            f"{len(photos)} photos at {size_px} px: near edges {guided[0]:.3f} guided, "
            f"{bilinear[0]:.3f} bilinear, ratio {guided[0] / bilinear[0]:.3f}; "
            f"everywhere {guided[1]:.3f}, {bilinear[1]:.3f}\n"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
