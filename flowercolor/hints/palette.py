"""Chroma in a few bins: what the network says how likely each is, and what a palette holds.

A bin for what is nearly gray, and 12 hues in two strengths. Coloring as a choice among bins of
chroma is that of Zhang et al. 2016 (section 2.1), with fewer of them.
"""

import math
from typing import Any

HUES = 12
WEAKEST = 0.035
STRONG = 0.13
COLOR_CHANNELS = 1 + 2 * HUES


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
