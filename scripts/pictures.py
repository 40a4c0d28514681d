"""Make the pictures of README and the model card anew, after the bundled weights have changed.

python scripts/pictures.py

Needs scikit-image, which the extra `dev` has. Each picture has the gray photo on the left, what
the bundled weights make of it in the middle, and the true colors on the right.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

import flowercolor

IMAGES = Path(__file__).parents[1] / "docs" / "images"
GAP_PX = 6


def degraded(rgb: np.ndarray) -> np.ndarray:
    """Gray `uint8` `[H, W]` as in an old print: blind to red, soft, faded, and with grain."""
    film = rgb.astype(np.float32) / 255 @ np.array([0.1, 0.6, 0.3], np.float32)
    faded = 0.2 + 0.6 * cv2.GaussianBlur(film, (0, 0), 1.5)
    grain = np.random.default_rng(0).normal(0, 0.06, faded.shape)
    return (np.clip(faded + grain, 0, 1) * 255).round().astype(np.uint8)


def write(name: str, gray: np.ndarray, real: np.ndarray) -> None:
    """The three side by side, as a JPEG."""
    fake = flowercolor.colorize(gray, checkpoint="bundled", device="cpu")
    gap = np.full((len(gray), GAP_PX, 3), 255, np.uint8)
    strip = [cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), gap, fake, gap, real]
    Image.fromarray(np.concatenate(strip, axis=1)).save(IMAGES / name, quality=88)


dahlia = np.asarray(Image.open(IMAGES / "dahlia_color.jpg"))
write("dahlia.jpg", np.asarray(Image.open(IMAGES / "dahlia_gray.jpg")), dahlia)
write("dahlia_old.jpg", degraded(dahlia), dahlia)
cat = data.chelsea()  # type: ignore[no-untyped-call]
write("cat.jpg", cv2.cvtColor(cat, cv2.COLOR_RGB2GRAY), cat)
cup = data.coffee()  # type: ignore[no-untyped-call]
write("cup.jpg", cv2.cvtColor(cup, cv2.COLOR_RGB2GRAY), cup)
