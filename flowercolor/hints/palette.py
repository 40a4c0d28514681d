"""Chroma in a few bins: what the network says how likely each is, and what a palette holds.

A bin for what is nearly gray, and 12 hues in two strengths. Coloring as a choice among bins of
chroma is that of Zhang et al. 2016 (section 2.1), with fewer of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from flowercolor.color import to_chroma, to_luma
from flowercolor.hints.attention import HINT_CHANNELS
from flowercolor.hints.hint import Color, rgb_of
from flowercolor.hints.spreading import Placed, Seen, likeness, spread

Array = npt.NDArray[np.float32]

HUES = 12
WEAKEST = 0.035
STRONG = 0.13
WEAK = (WEAKEST + STRONG) / 2
COLOR_CHANNELS = 1 + 2 * HUES

REGIONS = 16
"""Most regions of a photo that a palette gives a color each."""

_COVERED = 0.5
_SMALLEST = 1 / 400  # of the picture; what is smaller keeps the color of what it lies in
_SAMPLE_PIXELS = 100_000
_SMOOTHING = 0.01  # of what the network says, and of what a palette holds
_LEAST_LIKELY = 0.02  # of the likeliest hue: below it no color of the palette is forced on a region
_LUMA_DEVIATION = 0.3
_NEAR = 0.16  # in chroma: colors of one hue, which are mixed


def bins_of(xp: Any, chroma: Any) -> Any:
    """The bin of each pixel, 0 to `COLOR_CHANNELS` - 1: gray, the hues weak, the hues strong.

    Args:
        xp: `numpy` or `torch`, whichever the chroma is for.
        chroma: [B, 2, ...], Cb before Cr.

    Returns:
        [B, ...], whole numbers of a floating-point type.
    """
    cb, cr = chroma[:, 0], chroma[:, 1]
    strength = xp.hypot(cb, cr)
    hue = xp.round(xp.arctan2(cr, cb) * (HUES / (2 * math.pi))) % HUES
    return xp.where(strength < WEAKEST, 0 * hue, 1 + hue + HUES * (strength >= STRONG))


def probabilities(seen: Seen) -> Array:
    """How likely the network holds each bin at each pixel, float32 [COLOR_CHANNELS, h, w]."""
    logits = seen.features[HINT_CHANNELS:]
    exponentials = np.exp(logits - logits.max(axis=0))
    likely: Array = exponentials / exponentials.sum(axis=0)
    return likely


def regions(seen: Seen) -> list[tuple[tuple[int, int], Array]]:
    """The parts of a photo that a hint would color as one, the largest first.

    Returns:
        Of each, `REGIONS` at most, a pixel to hint at, row and column, and how far each pixel
        belongs to it, 0 to 1, float32 [h, w].
    """
    left = np.ones_like(seen.luma)
    found = []
    for _ in range(REGIONS):
        # The middle of the largest part that no region has yet.
        depth = cv2.distanceTransform((left > _COVERED).astype(np.uint8), cv2.DIST_L2, 3)
        row, column = (int(i) for i in np.unravel_index(depth.argmax(), depth.shape))
        if depth[row, column] < 2:
            break
        alike = likeness(seen, (row, column))
        member = np.minimum(alike, left)
        left = np.minimum(left, 1 - alike)
        left[row, column] = 0
        if member.mean() >= _SMALLEST:
            found.append(((row, column), member))
        left[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 0
    return sorted(found, key=lambda region: -float(region[1].sum()))


@dataclass(frozen=True)
class Palette:
    """Colors that are to lead a photo's, each with its share.

    Attributes:
        chroma: float32 [K, 2], Cb before Cr.
        luma: float32 [K] in 0 to 1: yellow is rarely as dark as leaves.
        shares: float32 [K], their sum 1.
    """

    chroma: Array
    luma: Array
    shares: Array

    @classmethod
    def of_colors(cls, colors: Sequence[Color]) -> Self:
        """Colors named by hand, of one share each; strong ones also stand for their weak kind.

        Who says green means leaves, which are seldom as strong as the color of that name.

        Raises:
            SettingError: One is no color.
        """
        named = (color.strip() if isinstance(color, str) else color for color in colors)
        levels = np.array([rgb_of(color, "palette") for color in named], np.float32)
        values = np.divide(levels.T, 255, dtype=np.float32)
        chroma, luma = np.stack(to_chroma(*values), axis=1), to_luma(*values)
        strength = np.hypot(*chroma.T)
        strong = strength >= STRONG
        weak = chroma[strong] * (WEAK / strength[strong])[:, None]
        count = len(chroma) + len(weak)
        return cls(
            np.concatenate((chroma, weak)),
            np.concatenate((luma, luma[strong])),
            np.full(count, 1 / count, np.float32),
        )

    @classmethod
    def of_pixels(cls, rgb: npt.NDArray[Any]) -> Self:
        """The chroma of a photo's pixels, uint8 or uint16 RGB [..., 3], bin by bin."""
        pixels = rgb.reshape(-1, 3)[:: max(1, rgb.size // (3 * _SAMPLE_PIXELS))]
        values = np.divide(pixels.T, np.iinfo(rgb.dtype).max, dtype=np.float32)
        planes = np.stack((*to_chroma(*values), to_luma(*values)))
        bins = bins_of(np, planes[None])[0].astype(np.int64)
        counts = np.bincount(bins, minlength=COLOR_CHANNELS)
        there = np.flatnonzero(counts)
        means = np.array([planes[:, bins == one].mean(axis=1) for one in there], np.float32)
        return cls(means[:, :2], means[:, 2], (counts[there] / counts.sum()).astype(np.float32))

    def hints(self, seen: Seen) -> Placed:
        """A hint for each region of a photo: the palette's color that is likeliest there.

        What the network holds likely of the region, summed over its pixels, times what the
        palette holds of it: Bayes' rule with the palette for the prior, and times how near their
        lumas are. Colors near the likeliest are mixed by their scores, so that near copies of a
        photo do not end in different bins. A region of which no color of the palette is likely
        keeps its own.
        """
        likely = probabilities(seen)
        bins = bins_of(np, self.chroma.T[None])[0].astype(np.int64)
        points, chromas = [], []
        for point, member in regions(seen):
            weights = member / member.sum()
            hue, strength = _factored(
                (likely * weights).sum(axis=(1, 2)) + _SMOOTHING / COLOR_CHANNELS
            )
            off_luma = self.luma - (seen.luma * weights).sum()
            fit = np.exp(-0.5 * (off_luma / _LUMA_DEVIATION) ** 2)
            score = (hue * strength)[bins] * (self.shares + _SMOOTHING) * fit
            own = (seen.chroma * weights).sum(axis=(1, 2))
            best = int(score.argmax())
            is_likely = hue[bins[best]] >= _LEAST_LIKELY * hue.max()
            near = np.hypot(*(self.chroma - self.chroma[best]).T) < _NEAR
            mixed = np.average(self.chroma[near], axis=0, weights=score[near])
            points.append(point)
            chromas.append(mixed if is_likely else own)
        return Placed(
            np.array(points, np.int64).reshape(-1, 2), np.array(chromas, np.float32).reshape(-1, 2)
        )


def _factored(share: Array) -> tuple[Array, Array]:
    """The probability of each bin in two factors: of its hue or the next ones, and its strength.

    A pink lily that is said to be yellow is then as strong as it would be in pink.
    """
    colored = share[1:].reshape(2, HUES)
    hue = colored.sum(axis=0)
    near = hue / 2 + (np.roll(hue, 1) + np.roll(hue, -1)) / 4
    strength = colored.sum(axis=1) / hue.sum()
    return np.append(share[0], np.tile(near, 2)), np.append(1, np.repeat(strength, HUES))


def with_palette(seen: Seen, palette: Palette, hints: Placed) -> Placed:
    """The hints, and those of a palette where they do not reach."""
    led = palette.hints(Seen(seen.luma, spread(seen, hints), seen.features))
    if len(hints.points):
        reached = np.max([likeness(seen, (int(y), int(x))) for y, x in hints.points], axis=0)
        kept = [reached[row, column] < _COVERED for row, column in led.points]
        led = Placed(led.points[kept], led.chroma[kept])
    return Placed(
        np.concatenate((hints.points, led.points)), np.concatenate((hints.chroma, led.chroma))
    )
