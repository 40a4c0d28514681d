"""Luma and chroma of pictures, in torch, which only who has tensors needs: it loads in 2 s.

The luma is the gray that OpenCV and JPEG make: Y' = 0.299 R' + 0.587 G' + 0.114 B' of the
gamma-encoded values (ITU-R BT.601-7, section 2.5.1). The chroma is the pair of color
differences Cb = (B' - Y') / 1.772 and Cr = (R' - Y') / 1.402, each within -0.5 to 0.5.
They are linear in RGB: any chroma can be put on any luma, and as long as no channel is
clipped the gray version of the result is that luma again.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
_WR, _WG, _WB = LUMA_WEIGHTS
CB_SCALE = 2 * (1 - _WB)  # 1.772
CR_SCALE = 2 * (1 - _WR)  # 1.402

# OpenCV's own fixed-point weights. Its 8-bit gray is reproduced bit for bit, so that the
# gray made on a GPU is the gray that OpenCV would have made.
_FIXED_POINT_BITS = 15
_FIXED_POINT = (9798, 19235, 3735)


def luma_u8(rgb: "Tensor") -> "Tensor":
    """The gray version, uint8 [..., 1, H, W], of uint8 RGB [..., 3, H, W].

    Equal at every pixel to OpenCV's `COLOR_RGB2GRAY`.
    """
    r, g, b = rgb.int().unbind(-3)
    wr, wg, wb = _FIXED_POINT
    half = 1 << (_FIXED_POINT_BITS - 1)
    gray = (r * wr + g * wg + b * wb + half) >> _FIXED_POINT_BITS
    return gray.byte().unsqueeze(-3)


def rgb_to_chroma(rgb: "Tensor") -> "Tensor":
    """The chroma [..., 2, H, W], Cb before Cr, of float RGB [..., 3, H, W] in 0 to 1."""
    import torch  # noqa: PLC0415

    return torch.stack(to_chroma(*rgb.unbind(-3)), dim=-3)


def to_chroma(r: Any, g: Any, b: Any) -> tuple[Any, Any]:
    """Cb and Cr of the channels, in 0 to 1: tensors, arrays of NumPy, or numbers."""
    luma = to_luma(r, g, b)
    return (b - luma) / CB_SCALE, (r - luma) / CR_SCALE


def to_luma(r: Any, g: Any, b: Any) -> Any:
    """The luma of the channels, likewise."""
    return _WR * r + _WG * g + _WB * b


def to_rgb(luma: "Tensor", chroma: "Tensor") -> "Tensor":
    """Float RGB [..., 3, H, W] of luma [..., 1, H, W] and chroma [..., 2, H, W].

    The result leaves 0 to 1 where the chroma is too strong for the luma; see `fit_gamut`.
    """
    return luma + _differences(chroma)


def fit_gamut(luma: "Tensor", chroma: "Tensor") -> "Tensor":
    """The chroma, weakened where needed so that `to_rgb` stays within 0 to 1.

    Each pixel's chroma is multiplied by the largest factor up to 1 that fits: luma and hue
    stay, only the saturation falls. Clipping the channels instead would change all three.

    Args:
        luma: [..., 1, H, W] in 0 to 1.
        chroma: [..., 2, H, W].
    """
    import torch  # noqa: PLC0415

    factor: Tensor = fitting_factor(torch, luma, _differences(chroma))
    return chroma * factor


def _differences(chroma: "Tensor") -> "Tensor":
    import torch  # noqa: PLC0415

    return torch.stack(color_differences(*chroma.unbind(-3)), dim=-3)


def color_differences(cb: Any, cr: Any) -> tuple[Any, Any, Any]:
    """R' - Y', G' - Y' and B' - Y' of a chroma: tensors, arrays of NumPy, or numbers."""
    red, blue = CR_SCALE * cr, CB_SCALE * cb
    return red, -(_WR * red + _WB * blue) / _WG, blue


def fitting_factor(xp: Any, luma: Any, differences: Any) -> Any:
    """The largest factor up to 1 of a chroma that keeps its colors within 0 to 1.

    Args:
        xp: `numpy` or `torch`, whichever the luma is for.
        luma: [..., 1, H, W] in 0 to 1.
        differences: [..., 3, H, W], what `color_differences` gives.

    Returns:
        [..., 1, H, W].
    """
    room = xp.where(differences > 0, 1 - luma, luma)
    # The bound below keeps 0 / 0 away; where a difference is that small it fits anyway.
    return xp.amin(room / abs(differences).clip(1e-6), axis=-3, keepdims=True).clip(max=1)
