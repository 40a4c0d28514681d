"""What the least certain part of a photo may have been colored, likeliest first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flowercolor.hints.hint import Hint, chroma_to_color, fitting_rgb
from flowercolor.hints.palette import HUES, WEAK, bins_of, probabilities
from flowercolor.hints.spreading import Array, Placed, Seen, likeness, spread

LEAST_APART_LEVELS = 15.0
"""Between any two proposals, the mean of the channels' differences in the region, of 255."""

_LEAST_LIKELY = 0.001
_FOLIAGE = 1 / 3  # of probability in greens; what is so is no petal, and not of any color
_LEAST_LIKELY_OF_FOLIAGE = 0.05
_LEAST_SHARE = 1 / 100  # of the picture
_INSIDE = 0.5
_STEP = 4  # in pixels of every second one, between the places that are tried
_GREENS = range(7, 11)  # of the hues, from yellowish green to teal: leaves have them, petals do not
_GREEN_BINS = [1 + hue + HUES * strong for strong in (0, 1) for hue in _GREENS]


def _middles() -> Array:
    """The chroma in the middle of each bin, [COLOR_CHANNELS, 2]."""
    angles = np.arange(HUES) * (2 * np.pi / HUES)
    angles[HUES // 2] -= np.pi / 18  # from greenish to pure yellow
    directions = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    colors = [strength * directions for strength in (WEAK, 0.24)]
    return np.concatenate([np.zeros((1, 2)), *colors]).astype(np.float32)


_MIDDLES = _middles()


@dataclass(frozen=True, eq=False)
class Proposals:
    """Colors to choose from for one place.

    Attributes:
        hints: One color of the place each, likeliest first.
        region: How far each pixel of the small copy belongs to it, 0 to 1, float32 [h, w].
    """

    hints: list[Hint]
    region: Array


def propose(
    seen: Seen,
    count: int,
    point: tuple[int, int] | None = None,
    *,
    settled: Sequence[tuple[int, int]] = (),
) -> Proposals:
    """Likely colors for a place, which differ from each other and from what the photo has there.

    They are those bins of chroma that the network holds likeliest of the region that a hint at
    the place would color. What it holds all but impossible is left out; of petals so are greens,
    and of foliage all that is not quite likely.

    Args:
        seen: The photo.
        count: How many at most.
        point: Row and column of the place; None for the region of which the network is least
            certain, weighed with its size.
        settled: Rows and columns of places whose color is known: what is like them is certain.
    """
    likely = probabilities(seen)
    at = point or _least_certain(seen, likely, settled)
    region = likeness(seen, at)
    weights = region / region.sum()
    share = (likely * weights).sum(axis=(1, 2))
    chromas = _bin_chromas(seen, region)
    height, width = seen.luma.shape
    x, y = f"{(at[1] + 0.5) / width:.1%}", f"{(at[0] + 0.5) / height:.1%}"
    shown = [seen.chroma]
    hints: list[Hint] = []
    is_foliage = share[_GREEN_BINS].sum() > _FOLIAGE
    least = _LEAST_LIKELY_OF_FOLIAGE if is_foliage else _LEAST_LIKELY
    for one in np.argsort(-share):
        if len(hints) == count or share[one] < least:
            break
        if one in _GREEN_BINS and not is_foliage:
            continue
        color = chroma_to_color(float(seen.luma[at]), *map(float, chromas[one]))
        hint = Hint(x, y, color)
        moved = spread(seen, Placed(np.array([at]), np.array([hint.chroma()], np.float32)))
        if all(_levels_apart(seen, region, moved, other) >= LEAST_APART_LEVELS for other in shown):
            shown.append(moved)
            hints.append(hint)
    return Proposals(hints, region)


def _least_certain(
    seen: Seen, likely: Array, settled: Sequence[tuple[int, int]]
) -> tuple[int, int]:
    """A pixel by which a hint would settle the most, with more weight in the middle.

    A pixel is uncertain by the standard deviation of its chroma, and not by the entropy: leaves
    may be many greens, and a petal one of few colors. What counts is the sum over all that the hint
    would color, so that a flower is found and not its eye; greens count for less.
    """
    means = np.einsum("ck,chw->khw", _MIDDLES, likely)
    variance = np.einsum("c,chw->hw", (_MIDDLES**2).sum(axis=1), likely) - (means**2).sum(axis=0)
    uncertain = np.sqrt(variance.clip(0))
    for place in settled:
        uncertain *= 1 - likeness(seen, place)
    height, width = seen.luma.shape
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    right = np.linspace(-1, 1, width, dtype=np.float32)
    uncertain *= np.exp(-(down**2 + right**2)) * (1 - likely[_GREEN_BINS].sum(axis=0)) ** 2

    # Every second pixel each way tells as much, in a quarter of the time.
    coarse = Seen(seen.luma[::2, ::2], seen.chroma[:, ::2, ::2], seen.features[:, ::2, ::2])
    room = coarse.luma * (1 - coarse.luma)  # black and white have no room for a color
    weight = uncertain[::2, ::2] * room
    found, most = (height // 2, width // 2), 0.0
    for y in range(min(2, height // 4), len(room), _STEP):
        for x in range(min(2, width // 4), room.shape[1], _STEP):
            alike = likeness(coarse, (y, x))
            settles = float((weight * alike).sum() * room[y, x])
            if settles > most and alike.mean() >= _LEAST_SHARE:
                found, most = (2 * y, 2 * x), settles
    return found


def _bin_chromas(seen: Seen, region: Array) -> Array:
    """What stands for each bin: the photo's own chroma of it in the region, or its middle."""
    chromas = _MIDDLES.copy()
    own = bins_of(np, seen.chroma[None])[0]
    for one in range(1, len(chromas)):
        inside = (own == one) & (region > _INSIDE)
        if inside.mean() > _LEAST_SHARE / 4:
            chromas[one] = seen.chroma[:, inside].mean(axis=1)
    return chromas


def _levels_apart(seen: Seen, region: Array, chroma: Array, other: Array) -> float:
    """The mean difference of the channels in the region, in levels of 255, as it is shown."""
    first, second = (fitting_rgb(seen.luma, planes) for planes in (chroma, other))
    difference = np.abs(first - second).mean(axis=0)
    return float(255 * (difference * region).sum() / region.sum())
