"""Scores of generated pictures against the true ones, one number per picture.

Each `…_per_image` takes float RGB [B, 3, H, W] in 0 to 1 and gives float32 [B]. What was
generated is clamped to 0 to 1 first, since nothing else can be shown.
"""

import math
from functools import partial

import torch
from torch import Tensor

PSNR_LIMIT_DB = 100.0
SATURATED_CHROMA = 40.0
STAIN_CHROMA = 20.0

_SSIM_SIGMA_PX = 1.5
_SSIM_RADIUS_PX = 5
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2

_RGB_TO_XYZ = (
    (0.4124, 0.3576, 0.1805),
    (0.2126, 0.7152, 0.0722),
    (0.0193, 0.1192, 0.9505),
)


def l1_per_image(fake: Tensor, real: Tensor) -> Tensor:
    """The mean absolute difference of each picture."""
    return (fake.float().clamp(0, 1) - real.float()).abs().mean(dim=(1, 2, 3))


def psnr_per_image(fake: Tensor, real: Tensor) -> Tensor:
    """The peak signal-to-noise ratio in dB, at most `PSNR_LIMIT_DB`.

    Two equal pictures would have an infinite one, and any mean with it.
    """
    mse = (fake.float().clamp(0, 1) - real.float()).square().mean(dim=(1, 2, 3))
    return -10 * mse.clamp_min(10 ** (-PSNR_LIMIT_DB / 10)).log10()


def ssim_per_image(fake: Tensor, real: Tensor) -> Tensor:
    """The structural similarity, mean over the channels (Wang et al. 2004).

    Gaussian window of 11x11, sigma 1.5, population statistics, K1 = 0.01, K2 = 0.03; only
    where the window lies within the picture, which is 11x11 or larger.
    """
    x, y = fake.float().clamp(0, 1), real.float()
    rows, columns = (_window(size, x) for size in x.shape[-2:])
    # As products with a band matrix: a GPU may round convolutions to 10 bits, these not.
    mean_x, mean_y, xx, yy, xy = (
        rows @ channel @ columns.T for channel in (x, y, x * x, y * y, x * y)
    )
    squares = mean_x.square() + mean_y.square()
    product = mean_x * mean_y
    similar = (2 * product + _SSIM_C1) * (2 * (xy - product) + _SSIM_C2)
    possible = (squares + _SSIM_C1) * (xx + yy - squares + _SSIM_C2)
    return (similar / possible).mean(dim=(1, 2, 3))


def _window(size_px: int, like: Tensor) -> Tensor:
    """[size_px - 10, size_px]: each row weighs 11 neighbors by the Gaussian."""
    offsets = torch.arange(-_SSIM_RADIUS_PX, _SSIM_RADIUS_PX + 1).to(like)
    weights = (-0.5 * (offsets / _SSIM_SIGMA_PX) ** 2).exp()
    band = like.new_zeros(size_px - 2 * _SSIM_RADIUS_PX, size_px)
    for shift, weight in enumerate(weights / weights.sum()):
        band.diagonal(shift).fill_(weight)
    return band


def colorfulness_per_image(rgb: Tensor) -> Tensor:
    """The colorfulness of RGB in 0 to 255 (Hasler and Süsstrunk 2003, section 7).

    sigma + 0.3 mu, the lengths of the deviations and of the means of the opponent colors
    R - G and (R + G) / 2 - B. These are signed, as published; much code takes their size.
    Can be learned from: the gradient is finite for gray pictures too, and 0.
    """
    r, g, b = (255 * rgb.float().clamp(0, 1)).flatten(2).unbind(1)
    opponents = torch.stack((r - g, (r + g) / 2 - b))
    mean = opponents.mean(dim=2, keepdim=True)
    # Not `std` and `hypot`, whose gradients are no numbers where all is 0.
    length = partial(torch.linalg.vector_norm, dim=(0, 2))
    colorfulness: Tensor = length(opponents - mean) / r.shape[1] ** 0.5 + 0.3 * length(mean)
    return colorfulness


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """CIELAB [B, 3, H, W] under D65 of sRGB in 0 to 1 (IEC 61966-2-1, CIE 15:2004)."""
    rgb = rgb.float()
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    matrix = rgb.new_tensor(_RGB_TO_XYZ)
    # Divided by its sums, which are the white point: gray gets no chroma at all.
    matrix /= matrix.sum(dim=1, keepdim=True)
    t = torch.einsum("ij,bjhw->bihw", matrix, linear)
    x, y, z = torch.where(
        t > (6 / 29) ** 3, t.clamp_min(1e-6) ** (1 / 3), t / (3 * (6 / 29) ** 2) + 4 / 29
    ).unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)


def ciede2000(lab1: Tensor, lab2: Tensor) -> Tensor:
    """The difference CIEDE2000 (Sharma, Wu and Dalal 2005), [B, H, W], of CIELAB [B, 3, H, W]."""
    (l1, a1, b1), (l2, a2, b2) = lab1.unbind(1), lab2.unbind(1)
    c7 = ((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * (c7 / (c7 + 25**7)).sqrt()
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = (torch.atan2(b, a) % math.tau for a, b in ((a1, b1), (a2, b2)))

    # A color without chroma has no hue: the difference is 0, the mean is the other's hue.
    has_hues = c1 * c2 > 0
    turn = h2 - h1
    far = has_hues & (turn.abs() > math.pi)
    turn = torch.where(far, turn - turn.sign() * math.tau, turn) * has_hues
    total = h1 + h2
    opposite = torch.where(total < math.tau, total + math.tau, total - math.tau)
    hue = torch.where(far, opposite, total) / torch.where(has_hues, 2, 1)

    delta_l, delta_c = l2 - l1, c2 - c1
    delta_h = 2 * (c1 * c2).sqrt() * (turn / 2).sin()
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * (hue - math.radians(30)).cos()
        + 0.24 * (2 * hue).cos()
        + 0.32 * (3 * hue + math.radians(6)).cos()
        - 0.20 * (4 * hue - math.radians(63)).cos()
    )
    off = (lightness - 50).square()
    from_l = delta_l / (1 + 0.015 * off / (20 + off).sqrt())
    from_c = delta_c / (1 + 0.045 * chroma)
    from_h = delta_h / (1 + 0.015 * chroma * t)
    c7 = chroma**7
    angle = math.radians(60) * (-(((hue.rad2deg() - 275) / 25) ** 2)).exp()
    rotation = -2 * (c7 / (c7 + 25**7)).sqrt() * angle.sin()
    squared = from_l**2 + from_c**2 + from_h**2 + rotation * from_c * from_h
    # Rounding may take the difference of equal colors below 0.
    return squared.clamp_min(0).sqrt()


def measure(fake: Tensor, real: Tensor) -> dict[str, Tensor]:
    """Every score of each picture, by name; the design's own, the L1, first.

    `saturated_l1` is the L1 over the pixels that are `saturated` in the truth, NaN where
    there are none. `ciede2000` is the mean over the pixels, `colorfulness_difference` that
    of the generated picture less that of the true one, `stain` the share of the pixels that
    are `stained`.
    """
    fake = fake.float().clamp(0, 1)
    fake_lab, real_lab = rgb_to_lab(fake), rgb_to_lab(real)
    strong = saturated(real_lab)
    error = (fake - real).abs().mean(dim=1)
    colorfulness = colorfulness_per_image(fake)
    return {
        "l1": l1_per_image(fake, real),
        "saturated_l1": (error * strong).sum(dim=(1, 2)) / strong.sum(dim=(1, 2)),
        "psnr": psnr_per_image(fake, real),
        "ssim": ssim_per_image(fake, real),
        "ciede2000": ciede2000(fake_lab, real_lab).mean(dim=(1, 2)),
        "colorfulness": colorfulness,
        "colorfulness_difference": colorfulness - colorfulness_per_image(real),
        "stain": stained(fake_lab, real_lab).float().mean(dim=(1, 2)),
    }


def saturated(lab: Tensor) -> Tensor:
    """Whether the chroma of CIELAB [B, 3, H, W] is above `SATURATED_CHROMA`, bool [B, H, W]."""
    return torch.hypot(lab[:, 1], lab[:, 2]).gt(SATURATED_CHROMA)


def stained(fake_lab: Tensor, real_lab: Tensor) -> Tensor:
    """Whether a strong color is more than 90 degrees of hue from the true one, bool [B, H, W].

    Such as magenta in foliage. Strong is a chroma above `STAIN_CHROMA`; where the truth is
    without any chroma at all there is no hue to be far from. Both are CIELAB [B, 3, H, W].
    """
    chroma = torch.hypot(fake_lab[:, 1], fake_lab[:, 2])
    cosine_sign = (fake_lab[:, 1:] * real_lab[:, 1:]).sum(dim=1)
    return chroma.gt(STAIN_CHROMA) & cosine_sign.lt(0)
