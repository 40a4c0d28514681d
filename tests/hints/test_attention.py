import numpy as np
import pytest
import torch

from flowercolor.hints.attention import HINT_CHANNELS, KEY_CHANNELS, RANGES, SHARPNESS
from flowercolor.hints.spreading import Placed, spread
from flowercolor.networks.hints import apply_hints
from tests.hints.helpers import WIDTH, two_halves


def test_numpy_and_torch_agree() -> None:
    seen = two_halves(noise=0.5)
    points = np.array([[3, 4], [30, 40], [20, 20]])
    chroma = np.array([[0.1, 0.2], [-0.2, 0.1], [0, 0]], np.float32)
    parts = (seen.features, seen.chroma, seen.luma[None], points, chroma)
    features, *rest = (torch.from_numpy(part)[None] for part in parts)
    by_torch = apply_hints(features, *rest)
    assert np.allclose(spread(seen, Placed(points, chroma)), by_torch[0].numpy(), atol=1e-6)


def test_the_gradient_is_finite_whatever_the_features() -> None:
    features = (100 * torch.randn(1, 60, 8, 8)).requires_grad_()
    moved = apply_hints(
        features,
        torch.zeros(1, 2, 8, 8),
        torch.rand(1, 1, 8, 8),
        torch.tensor([[[1, 2], [1, 2]]]),
        torch.tensor([[[0.1, 0.2], [0.3, 0.1]]]),
    )
    moved.square().sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_a_pixel_follows_hints_more_sharply_than_by_their_weight() -> None:
    """So petals take a color whole, and what is hardly alike keeps its own."""
    seen = two_halves()
    for bias, sum_of_weights in ((2.0, 3 * np.exp(2)), (-2.5, 3 * np.exp(-2.5))):
        seen.features[KEY_CHANNELS : KEY_CHANNELS + len(RANGES)] = bias
        seen.features[HINT_CHANNELS - 1] = -10  # replaces
        moved = spread(seen, Placed(np.array([[16, 8]]), np.array([[0.3, -0.2]], np.float32)))
        share = (moved[0, 16, 15] - 0.05) / 0.25
        near = sum_of_weights * np.mean([np.exp(-decay * 49 / 1536) for decay in RANGES])
        followed = SHARPNESS * near**SHARPNESS
        assert share == pytest.approx(followed / (followed + 1), abs=0.01)


def test_a_hint_of_no_color_leaves_none_in_what_is_like_it() -> None:
    """Shifted by the place's own chroma, paler parts would turn to the opposite hue."""
    seen = two_halves()
    seen.features[HINT_CHANNELS - 1] = 10  # shifts where it may
    seen.chroma[:, :, : WIDTH // 2] = 0.05
    seen.chroma[:, 16, 8] = 0.2
    gray = spread(seen, Placed(np.array([[16, 8]]), np.zeros((1, 2), np.float32)))
    assert np.abs(gray[:, 10:20, 4:12]).max() < 0.002
    same = spread(seen, Placed(np.array([[16, 8]]), np.full((1, 2), 0.2, np.float32)))
    assert np.allclose(same, seen.chroma, atol=1e-3), "the hue that is there shifts by nothing"
