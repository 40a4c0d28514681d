"""A photo of two halves, seen by a network whose keys tell them apart."""

import numpy as np

from flowercolor.hints.attention import HEAD_CHANNELS, HINT_CHANNELS, KEY_CHANNELS, RANGES
from flowercolor.hints.palette import COLOR_CHANNELS
from flowercolor.hints.spreading import Seen

HEIGHT, WIDTH = 32, 48


def two_halves(*, bins: tuple[int, int] = (0, 0), noise: float = 0.0) -> Seen:
    """Left and right differ in every head's keys; `bins` is what each half is likeliest."""
    rng = np.random.default_rng(0)
    features = np.zeros((HINT_CHANNELS + COLOR_CHANNELS, HEIGHT, WIDTH), np.float32)
    features[0:KEY_CHANNELS:HEAD_CHANNELS, :, WIDTH // 2 :] = 6
    features[KEY_CHANNELS : KEY_CHANNELS + len(RANGES)] = 4
    for half, likeliest in enumerate(bins):
        features[HINT_CHANNELS + likeliest, :, half * WIDTH // 2 : (half + 1) * WIDTH // 2] = 5
    features += rng.normal(0, noise, features.shape).astype(np.float32) if noise else 0
    luma = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    chroma = np.full((2, HEIGHT, WIDTH), 0.05, np.float32)
    return Seen(luma, chroma, features)
