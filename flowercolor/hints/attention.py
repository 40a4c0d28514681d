"""How the color of a few hinted pixels spreads over the picture.

Every pixel attends to the hinted ones (Vaswani et al. 2017, section 3.2): the weight of a hint is
the larger the more alike the learned keys of the two pixels are and the nearer they lie, summed
over three heads, and a further weight stands for leaving the pixel as it is. Edits that
spread by such an affinity are those of An and Pellacini 2008 (AppProp); here the affinity is
learned, from simulated hints (Zhang et al. 2017, section 3.1). Without a hint there is that weight
alone, and the chroma stays what it was, bit for bit.

Written with what arrays of NumPy and tensors of torch have in common, so that training and
coloring share it.
"""

from collections.abc import Callable, Sequence
from typing import Any

RANGES = (3.0, 30.0, 300.0)
"""How fast a weight falls with the squared distance, in units of the picture's area, of each head:
one sees what is alike anywhere, one what is near, one what lies beside the hint."""
HEAD_CHANNELS = 8
KEY_CHANNELS = HEAD_CHANNELS * len(RANGES)
HINT_CHANNELS = KEY_CHANNELS + len(RANGES) + 1
"""The keys of the heads, the bias of each, and the logit of the blend."""
PIN = 8.0
"""Added to a logit at the hinted pixel itself, falling off within some 2 pixels: what was said of
a place holds there."""
SHARPNESS = 1.5
"""Of the hints' weights, whose sum is S, a pixel follows them by S' / (S' + 1), where S' is this
times S to the power of this. 1 has some 0.1 dB more with true colors; above it, what is mostly like
a hint takes a color whole that the network would not have guessed."""
GAMMA = 0.2
"""Chroma follows shading, but weakly: it goes with (luma + 0.1) to this power."""


def propagate(
    exp: Callable[[Any], Any],
    picture: Sequence[Any],
    at_hints: Sequence[Any],
    distance2: Any,
    area_px: int,
) -> Any:
    """The chroma where hints lead it.

    Args:
        exp: `numpy.exp` or `torch.exp`, whichever the arrays are for.
        picture: Of N of its pixels, features [B, C, N], chroma [B, 2, N] and luma [B, 1, N] in 0
            to 1. The first `HINT_CHANNELS` features are the keys of the heads, the bias of each,
            and the logit of the blend between shifting the chroma of the picture and replacing it.
        at_hints: The same three at the K hinted pixels, and the chroma that those are to have,
            [B, 2, K].
        distance2: [B, K, N], squared distances in pixels.
        area_px: Pixels of the whole picture.

    Returns:
        Chroma [B, 2, N]; it may leave the gamut.
    """
    features, chroma, luma = picture
    weights = exp(PIN * exp(-0.5 * distance2)) - 1
    for head, decay in enumerate(RANGES):
        part = slice(head * HEAD_CHANNELS, (head + 1) * HEAD_CHANNELS)
        keys, hint_keys = (values[:, part] for values in (features, at_hints[0]))
        products = hint_keys.swapaxes(1, 2) @ keys
        key_distance2 = _norm2(hint_keys).swapaxes(1, 2) + _norm2(keys) - 2 * products
        # Bounded, so that the exponential is finite.
        bias = features[:, KEY_CHANNELS + head].clip(-10, 10)[:, None]
        weights = weights + exp(bias - key_distance2 - (decay / area_px) * distance2)
    total = weights.sum(1)[:, None]
    followed = SHARPNESS * total**SHARPNESS
    factor = followed / (total * (followed + 1) + 1e-12)
    weights, moved = weights * factor, total * factor

    shading, hint_shading = ((values + 0.1) ** GAMMA for values in (luma, at_hints[2]))
    own, asked = at_hints[1], at_hints[3]
    hinted = (asked / hint_shading) @ weights * shading
    # Where a hint asks for the hue that is there, the chroma is shifted, and its variation stays.
    # Another hue, or none, replaces it: shifted by that far, what is unlike the place overshoots.
    of_asked, of_own = _norm2(asked) ** 0.5, _norm2(own) ** 0.5
    larger = (of_asked + of_own + abs(of_asked - of_own)) / 2
    agreement = ((asked * own).sum(1)[:, None] / (of_own * larger + 1e-8)).clip(0, 1)
    shifted = (own * agreement / hint_shading) @ weights * shading
    blend = features[:, HINT_CHANNELS - 1].clip(-10, 10)[:, None]
    share = 1 / (1 + exp(-blend))
    return chroma + hinted - share * shifted - (moved - share * (agreement @ weights)) * chroma


def _norm2(keys: Any) -> Any:
    return (keys * keys).sum(1)[:, None]
