"""How the size at which the network sees a photo changes the picture, on true photos.

    python benchmarks/render_size.py FOLDER_OF_COLOR_PHOTOS

The bundled weights color each photo from its luma, at its full size; L1 to the photo and
colorfulness, means over the photos.
"""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from flowercolor.evaluation.metrics import colorfulness_per_image, l1_per_image
from flowercolor.inference.colorizer import Colorizer

SIZES_PX = (64, 96, 128, 160, 192, 224, 256, 320)


def as_batch(rgb: npt.NDArray[Any]) -> torch.Tensor:
    """Float RGB [1, 3, H, W] in 0 to 1 of uint8 RGB [H, W, 3]."""
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def report(label: str, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Print the means over pairs of made and true picture."""
    l1 = np.mean([l1_per_image(fake, real).item() for fake, real in pairs])
    colorfulness = np.mean([colorfulness_per_image(fake).item() for fake, _ in pairs])
    sys.stdout.write(f"{label}: L1 {l1:.4f}, colorfulness {colorfulness:.1f}\n")


def main(folder: Path) -> None:
    """Print a line for the true photos, the gray ones, and each size."""
    photos = [np.array(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.jpg"))]
    lumas = [cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in photos]
    truth = [as_batch(rgb) for rgb in photos]
    grays = [as_batch(np.dstack([luma] * 3)) for luma in lumas]
    report(f"{len(photos)} true photos", list(zip(truth, truth, strict=True)))
    report("gray", list(zip(grays, truth, strict=True)))
    colorizer = Colorizer.from_checkpoint("bundled")
    for size_px in SIZES_PX:
        colorizer.render_size_px = size_px
        made = [as_batch(colorizer.render(luma)) for luma in lumas]
        report(f"{size_px} px", list(zip(made, truth, strict=True)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
