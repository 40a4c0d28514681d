"""How much of the color is left when the gray photo is an old one.

    python benchmarks/old_photos.py ARCHIVE CHECKPOINT...

Photos of the validation part at 128 px, worn in one way at a time, from which each checkpoint
makes the chroma. It is put on the photo's own luma and compared with the truth: L1 and mean
colorfulness. The last ways are none of those that `train --degrade` shows.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flowercolor.checkpoint import load_generator
from flowercolor.color import fit_gamut, rgb_to_chroma, to_rgb
from flowercolor.data.dataset import get_data, split_validation
from flowercolor.data.degradation import DRAWS, NEUTRAL, degrade
from flowercolor.evaluation.metrics import colorfulness_per_image, l1_per_image
from flowercolor.evaluation.scoring import generate
from flowercolor.runs import find_checkpoint

SIZE_PX = 128
TOGETHER = 32

Picture = npt.NDArray[Any]
Wear = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def drawn(**changed: float) -> Wear:
    """One of the degradations that training has, at this strength."""
    draws = torch.tensor([list({**NEUTRAL, **changed}.values())])
    return lambda gray, rgb, rng: degrade(
        gray, rgb, draws.expand(len(gray), -1), torch.randn(gray.shape, generator=rng)
    )


def all_of_them(gray: Tensor, rgb: Tensor, rng: torch.Generator) -> Tensor:
    """As `train --degrade 1` shows photos."""
    draws = torch.rand(len(gray), DRAWS, generator=rng)
    return degrade(gray, rgb, draws, torch.randn(gray.shape, generator=rng))


def each(change: Callable[[Picture], Picture]) -> Wear:
    """The same done to each picture, uint8 [S, S]."""

    def wear(gray: Tensor, rgb: Tensor, rng: torch.Generator) -> Tensor:
        pictures = (gray[:, 0] * 255).round().to(torch.uint8).numpy()
        changed = np.stack([change(picture) for picture in pictures])
        return torch.from_numpy(changed)[:, None].float() / 255

    return wear


def jpeg(picture: Picture) -> Picture:
    _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 15])
    unpacked = cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE)
    assert unpacked is not None  # it was just packed
    return unpacked


def large_grain(gray: Tensor, rgb: Tensor, rng: torch.Generator) -> Tensor:
    noise = torch.randn(len(gray), 1, SIZE_PX // 2, SIZE_PX // 2, generator=rng)
    large = torch.nn.functional.interpolate(noise, scale_factor=2, mode="bilinear")
    return (gray + 0.06 * large).clamp(0, 1)


def vignette(gray: Tensor, rgb: Tensor, rng: torch.Generator) -> Tensor:
    place = torch.linspace(-1, 1, SIZE_PX)
    return gray * (1 - 0.35 * (place[:, None] ** 2 + place**2))


WAYS: dict[str, Wear] = {
    "as it is": lambda gray, rgb, rng: gray,
    "grain of 0.04": drawn(grain=0.5**0.5),
    "grain of 0.08": drawn(grain=1),
    "clumped grain of 0.08": drawn(grain=1, clumped=1),
    "soft": drawn(focus=1),
    "sharpened": drawn(focus=0),
    "lighter": drawn(gamma=0),
    "darker": drawn(gamma=1),
    "faded": drawn(black=1, white=1),
    "hard": drawn(black=0, white=0),
    "film blind to red": drawn(mixed=1, red=0.99, green=0.5, blue=0.5),
    "red filter": drawn(mixed=1, red=0.2, green=0.99, blue=0.99),
    "all at random": all_of_them,
    "JPEG of quality 15": each(jpeg),
    "grain of 0.06, 2 px large": large_grain,
    "dark corners": vignette,
    "a far softer focus": each(lambda picture: cv2.GaussianBlur(picture, (0, 0), 2)),
}


def main(archive: Path, checkpoints: list[str]) -> None:
    """Print the table."""
    whole, _ = get_data(archive, SIZE_PX)
    _, photos = split_validation(whole)
    generators = [load_generator(find_checkpoint(name))[0] for name in checkpoints]
    sys.stdout.write(f"| the gray photo | {' | '.join(checkpoints)} |\n")
    sys.stdout.write(f"|---|{'---|' * len(checkpoints)}\n")
    for name, wear in WAYS.items():
        cells = []
        for generator in generators:
            rng = torch.Generator().manual_seed(0)
            scores = []
            for positions in torch.arange(len(photos)).split(TOGETHER):
                gray, real = photos.batch(positions)
                chroma = rgb_to_chroma(generate(generator, wear(gray, real, rng)))
                fake = to_rgb(gray, fit_gamut(gray, chroma)).clamp(0, 1)
                scores.append(torch.stack((l1_per_image(fake, real), colorfulness_per_image(fake))))
            l1, colorfulness = torch.cat(scores, dim=1).mean(dim=1).tolist()
            cells.append(f"{l1:.4f}, {colorfulness:.1f}")
        sys.stdout.write(f"| {name} | {' | '.join(cells)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
