"""Degradations of gray photos as by age, film and copying, to train on.

A network trained on the gray of clean color photos alone leaves photos with grain, a soft focus
or faded blacks gray, or stains them. Several random degradations in a row, of strengths that are
no input of the network, are the way of blind restoration (Wang et al. 2021, Real-ESRGAN, section
3).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

GAMMA_OCTAVES = 0.8
FADED_TO = 0.25
CLIPPED_BY = 0.15
SHARPENED_BY = 0.5
GRAIN = 0.08
SCREEN = 0.3
SCREEN_PX = (2.0, 5.0)
JPEG_STEP = 0.12

NEUTRAL = {
    "degraded": 1.0,
    "mixed": 0.0,
    "red": 1.0,
    "green": 1.0,
    "blue": 1.0,
    "focus": SHARPENED_BY / (1 + SHARPENED_BY),
    "gamma": 0.5,
    "black": CLIPPED_BY / (FADED_TO + CLIPPED_BY),
    "white": CLIPPED_BY / (FADED_TO + CLIPPED_BY),
    "screen": 0.0,
    "period": 0.5,
    "angle": 0.5,
    "grain": 0.0,
    "clumped": 0.0,
    "jpeg": 0.0,
}
"""The random numbers of a photo, in this order, each with the value that changes nothing."""

DRAWS = len(NEUTRAL)

_SOFT_STD = 70 / 256  # of noise of variance 1, once `_soft` has blurred it


def degrade(gray: Tensor, rgb: Tensor, draws: Tensor, grain: Tensor) -> Tensor:
    """The gray pictures as an old photo or a scan of it might show them.

    In this order: another response to the three colors, as that of film or behind a filter;
    a softer focus, or sharpening by a scanner; another gamma; blacks and whites that have
    faded or are clipped; the screen of dots of a print; grain, fine or in clumps; the blocks of
    a strongly compressed JPEG. Of degraded photos half have no screen, and half no blocks.

    Args:
        gray: Float [B, 1, S, S] in 0 to 1.
        rgb: What it is the gray of, float RGB [B, 3, S, S] in 0 to 1.
        draws: Float [B, DRAWS], uniform in 0 to 1, in the order of `NEUTRAL`. Where the first of
            them is 0 the picture stays as it is.
        grain: Float [B, 1, S, S], normal noise of variance 1.

    Returns:
        Float [B, 1, S, S] in 0 to 1.
    """
    chance = draws[:, :, None, None, None].unbind(1)
    degraded, mixed, *film, focus, gamma, black, white = chance[:9]
    *screen, coarse, clumped, jpeg = chance[9:]
    # Minus the logarithms, over their sum, are spread evenly over all weights that add up to 1.
    weights = -torch.cat(film, dim=1).clamp(1e-6, 1 - 1e-6).log()
    response = (weights * rgb).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
    picture = torch.lerp(gray, response, mixed)
    picture = torch.lerp(picture, _soft(picture), (1 + SHARPENED_BY) * focus - SHARPENED_BY)
    picture = picture.clamp(0, 1) ** torch.exp2(GAMMA_OCTAVES * (2 * gamma - 1))
    low = (FADED_TO + CLIPPED_BY) * black - CLIPPED_BY
    high = 1 + CLIPPED_BY - (FADED_TO + CLIPPED_BY) * white
    picture = torch.lerp(low, high, picture)
    picture = _printed(picture, *screen)
    grain = torch.lerp(grain, _soft(grain) / _SOFT_STD, clumped)
    picture = (picture + GRAIN * coarse**2 * grain).clamp(0, 1)
    picture = _compressed(picture, (2 * jpeg - 1).clamp(min=0))
    return torch.where(degraded > 0, picture, gray)


def _soft(picture: Tensor) -> Tensor:
    """Blurred by the binomial filter of 5 pixels, in standard deviations one pixel."""
    soft = F.pad(picture, (2, 2, 2, 2), mode="replicate")
    for _ in range(4):  # no kernel, which a GPU would have to wait for
        soft = F.avg_pool2d(soft, 2, stride=1)
    return soft


def _printed(picture: Tensor, screen: Tensor, period: Tensor, angle: Tensor) -> Tensor:
    """With the dots of a print screen, which are strongest in the middle tones."""
    side = torch.arange(picture.shape[-1], device=picture.device)
    shortest_px, longest_px = SCREEN_PX
    wave = 2 * math.pi / (shortest_px + (longest_px - shortest_px) * period)
    turned = math.pi / 2 * angle
    across = side * turned.cos() + side[:, None] * turned.sin()
    along = side[:, None] * turned.cos() - side * turned.sin()
    dots = (wave * across).cos() * (wave * along).cos()
    strength = SCREEN * (2 * screen - 1).clamp(min=0)
    return (picture + strength * dots * 4 * picture * (1 - picture)).clamp(0, 1)


def _compressed(picture: Tensor, strength: Tensor) -> Tensor:
    """Rounded in blocks of 8x8 as JPEG does: coarser, the finer the detail."""
    place = torch.arange(8, device=picture.device)
    cosine = (math.pi / 8 * (place + 0.5) * place[:, None]).cos() / 2
    cosine = torch.where(place[:, None] == 0, cosine / math.sqrt(2), cosine)
    count, _, height, width = picture.shape
    blocks = picture.reshape(count, height // 8, 8, width // 8, 8).transpose(2, 3)
    detail = cosine @ (blocks - 0.5) @ cosine.T
    # The steps of the standard's table grow about so, from 16 to 99 of 255.
    step = JPEG_STEP * (1 + 0.4 * (place + place[:, None])) * strength[..., None]
    rounded = torch.where(step > 0, (detail / step.clamp(min=1e-6)).round() * step, detail)
    blocks = cosine.T @ rounded @ cosine + 0.5
    result = blocks.transpose(2, 3).reshape(picture.shape).clamp(0, 1)
    return torch.where(strength > 0, result, picture)
