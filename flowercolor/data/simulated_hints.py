"""Hints as a person would give them, taken from the true photos, to learn and to judge by."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

MOST_HINTS = 64
SIDES_PX = (1, 3, 5, 7, 9)
CENTERED, COLORFUL = 1 / 3, 2 / 3
"""Shares of the hints up to which each kind of place goes; the rest lie anywhere."""


class HintDraws(NamedTuple):
    """The random choices of K hints for each of B photos.

    Attributes:
        kind: float32 [B, K] in 0 to 1, which decides on the kind of place.
        uniform: float32 [B, K, 2] in 0 to 1.
        normal: float32 [B, K, 2].
        side_px: Of the square whose mean chroma is the hint's.
    """

    kind: Tensor
    uniform: Tensor
    normal: Tensor
    side_px: int

    def rows(self, part: slice) -> "HintDraws":
        """Those of some of the photos."""
        return HintDraws(self.kind[part], self.uniform[part], self.normal[part], self.side_px)

    def to(self, device: torch.device) -> "HintDraws":
        """The same, on that device."""
        return HintDraws._make(v.to(device) if isinstance(v, Tensor) else v for v in self)


class SimulatedHints(NamedTuple):
    """K hints for each of B photos.

    Attributes:
        points: int64 [B, K, 2], rows and columns.
        chroma: float32 [B, K, 2], Cb before Cr.
    """

    points: Tensor
    chroma: Tensor


def draw_hints(
    photos: int, rng: torch.Generator, *, count: int | None = None, side_px: int | None = None
) -> HintDraws:
    """Draw hints for so many photos.

    Args:
        rng: On the CPU, so that the same hints are drawn wherever the network is.
        count: K; by default 1 to `MOST_HINTS`, their logarithm uniform: mostly few, as people
            give them.
        side_px: Odd; by default one of `SIDES_PX`.
    """
    if count is None:
        count = round(math.exp(math.log(MOST_HINTS) * torch.rand((), generator=rng).item()))
    if side_px is None:
        side_px = SIDES_PX[int(torch.randint(len(SIDES_PX), (), generator=rng))]
    shape = (photos, count)
    return HintDraws(
        torch.rand(shape, generator=rng),
        torch.rand(*shape, 2, generator=rng),
        torch.randn(*shape, 2, generator=rng),
        side_px,
    )


def place_hints(real_chroma: Tensor, draws: HintDraws, *, anywhere: bool = False) -> SimulatedHints:
    """The hints of those draws, with the colors of the true photos.

    Zhang et al. 2017 (section 3.1) place them around the center, with a quarter of the side as
    deviation, and give them the mean color of a square of 1 to 9 px. Here a third lies so, a third
    where there is much color, as a person clicks on petals, and a third anywhere.

    Args:
        real_chroma: float32 [B, 2, H, W].
    """
    height, width = real_chroma.shape[-2:]
    draws = draws.to(real_chroma.device)
    kind = (draws.kind + anywhere)[..., None]
    strength = real_chroma.square().sum(1).sqrt().flatten(1) + 1e-3
    share = strength.cumsum(1) / strength.sum(1, keepdim=True)
    index = torch.searchsorted(share, draws.uniform[..., 0].contiguous())
    index = index.clamp(max=height * width - 1)
    pixel = torch.stack((index // width, index % width), dim=-1)
    sides = torch.tensor((height, width), device=real_chroma.device)
    place = torch.where(kind < CENTERED, draws.normal / 4 + 0.5, draws.uniform)
    place = (place.clamp(0, 1) * sides).long().clamp(max=sides - 1)
    points = torch.where((kind >= CENTERED) & (kind < COLORFUL), pixel, place)
    return SimulatedHints(points, mean_chroma_at(real_chroma, points, draws.side_px))


def mean_chroma_at(chroma: Tensor, points: Tensor, side_px: int) -> Tensor:
    """The mean of a square of that odd side around each point, float32 [B, K, 2].

    Args:
        chroma: float32 [B, 2, H, W].
        points: int64 [B, K, 2], rows and columns.
        side_px: Odd.
    """
    mean = F.avg_pool2d(F.pad(chroma, (side_px // 2,) * 4, mode="replicate"), side_px, stride=1)
    index = (points[..., 0] * chroma.shape[-1] + points[..., 1])[:, None].expand(-1, 2, -1)
    return mean.flatten(2).gather(2, index).swapaxes(1, 2)
