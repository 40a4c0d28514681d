"""Make the pictures of README and the model card anew, after the bundled weights have changed.

python scripts/pictures.py

Needs scikit-image, which the extra `dev` has. Each picture has the gray photo on the left, what
the bundled weights make of it in the middle, and the true colors on the right; those of hints have
what they make without and with them on the left and in the middle.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

import flowercolor
from flowercolor.inference.contact_sheet import variants

IMAGES = Path(__file__).parents[1] / "docs" / "images"
GAP_PX = 6


def degraded(rgb: np.ndarray) -> np.ndarray:
    """Gray `uint8` `[H, W]` as in an old print: blind to red, soft, faded, and with grain."""
    film = rgb.astype(np.float32) / 255 @ np.array([0.1, 0.6, 0.3], np.float32)
    faded = 0.2 + 0.6 * cv2.GaussianBlur(film, (0, 0), 1.5)
    grain = np.random.default_rng(0).normal(0, 0.06, faded.shape)
    return (np.clip(faded + grain, 0, 1) * 255).round().astype(np.uint8)


def write(name: str, gray: np.ndarray, real: np.ndarray, hints: list[flowercolor.Hint]) -> None:
    """The three side by side, as a JPEG; with hints, in place of the gray photo what they make."""
    colorizer = flowercolor.Colorizer.from_checkpoint("bundled", device="cpu")
    gap = np.full((len(gray), GAP_PX, 3), 255, np.uint8)
    shown = [colorizer(gray), colorizer(gray, hints=hints)]
    first, second = shown if hints else (cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), shown[0])
    strip = [first, gap, second, gap, real]
    Image.fromarray(np.concatenate(strip, axis=1)).save(IMAGES / name, quality=88)


dahlia = np.asarray(Image.open(IMAGES / "dahlia_color.jpg"))
gray_dahlia = np.asarray(Image.open(IMAGES / "dahlia_gray.jpg"))
write("dahlia.jpg", gray_dahlia, dahlia, [])
write("dahlia_hint.jpg", gray_dahlia, dahlia, [flowercolor.Hint("62%", "38%", "lightsalmon")])
sheet = variants(gray_dahlia, flowercolor.Colorizer.from_checkpoint("bundled", device="cpu"), 6)
Image.fromarray(sheet).save(IMAGES / "dahlia_variants.jpg", quality=85)
write("dahlia_old.jpg", degraded(dahlia), dahlia, [])
cat = data.chelsea()  # type: ignore[no-untyped-call]
write("cat.jpg", cv2.cvtColor(cat, cv2.COLOR_RGB2GRAY), cat, [])
cup = data.coffee()  # type: ignore[no-untyped-call]
gray_cup = cv2.cvtColor(cup, cv2.COLOR_RGB2GRAY)
write("cup.jpg", gray_cup, cup, [])
said = ["27%,70%=#8a1c0c", "92%,20%=#b4522c", "47%,50%=#b0601c", "8%,50%=#b4522c"]
write("cup_hint.jpg", gray_cup, cup, [flowercolor.Hint.parse(text) for text in said])
